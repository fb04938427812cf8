"""The page of predictions: hostile texts stay text, and empty parts are left out."""

from mmfeat.scoring.report_page import REPORT, write_report

SCRIPT = "<script>alert(1)</script>"


def manifest(**monitoring):
    numbers = {"records": 3, "missing": {SCRIPT: 0.5}, "models": {}, "drift": {}}
    return {
        "totals": {"records": 3, "out": 2, "rejected": {SCRIPT: 1}, "problems": {}},
        "input": {"path": SCRIPT, "kind": "features", "hash": "0" * 64},
        "models": [
            {"name": SCRIPT, "path": SCRIPT, "sha256": "0" * 64, "task": "x", "target": SCRIPT}
        ],
        "versions": {"torch": SCRIPT},
        "monitoring": numbers | monitoring,
    }


def test_texts_of_data_are_escaped(tmp_path):
    counts = {"scored": 2, "classes": {SCRIPT: 2, "b": 0}, "confidence": [0] * 20}
    drift = {"psi": 0.3, "max_psi": 1.0, "cosine": 0.5, "training_cosine": 0.6, "missing": 0.0,
             "training_missing": 0.0, "rows": 600}  # fmt: skip
    write_report(str(tmp_path), manifest(models={SCRIPT: counts}, drift={SCRIPT: drift}))
    page = (tmp_path / REPORT).read_text("utf-8")
    assert "<script" not in page
    assert page.count("alert(1)") >= 6
    assert ">much<" in page
    assert 'style="--v:1.000"' in page
    assert "<h1>Predictions by &lt;" in page
    assert tmp_path.name not in page
    drift["rows"] = 499
    write_report(str(tmp_path), manifest(drift={SCRIPT: drift}))
    page = (tmp_path / REPORT).read_text("utf-8")
    assert ">much<" not in page
    assert ">too few records<" in page


def test_without_statistics_the_page_says_that_drift_is_unknown(tmp_path):
    write_report(str(tmp_path), manifest())
    page = (tmp_path / REPORT).read_text("utf-8")
    assert 'id="no-drift"' in page
    assert 'id="drift"' not in page
    assert "Predicted classes" not in page
