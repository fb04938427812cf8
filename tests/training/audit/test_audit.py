import csv

import numpy as np
import pyarrow.parquet as pq
import pytest

import mmfeat
from mmfeat.errors import MmfeatError
from mmfeat.storage import files
from mmfeat.verification import verify_store
from tests.browser import browser, driver  # noqa: F401 - fixtures
from tests.training.stores import Records, write_store
from training.audit import audit_store as module
from training.audit.outliers import find_outliers

ROWS, DIM = 300, 12
WRONG = (10, 57, 123, 200, 201)
"""Rows whose label is not that of their features."""
FAR = 250
COPIES = (30, 31)
"""Rows with equal features and different labels."""


@pytest.fixture
def store(tmp_path):
    rng = np.random.default_rng(0)
    classes = np.arange(ROWS) % 3
    features = rng.normal(size=(ROWS, DIM)) * 0.4 + 3 * np.eye(DIM)[classes]
    features[FAR] = -3 * np.eye(DIM)[7]
    features[COPIES[1]] = features[COPIES[0]]
    labels = [f"<b>class {c}" for c in classes]
    for row in WRONG:
        labels[row] = f"<b>class {(classes[row] + 1) % 3}"
    labels[5] = None
    present = np.arange(ROWS) != 8
    records = Records({"image": features.astype(np.float16)}, {"label": labels}, {"image": present})
    folder = write_store(str(tmp_path / "features"), records, 3)
    run = {"format": 2, "kind": "features", "config": {}, "hash": "0" * 64}
    files.write_json(str(tmp_path / "features" / "config.json"), run)
    return folder


def audit(store, output, **options):
    return mmfeat.audit(store, output, target="label", threshold=0.9999, **options)


def rows_of(table, kind):
    return [row for row in table.to_pylist() if row["issue"] == kind]


def test_wrong_labels_copies_and_strangers_are_found(store, tmp_path):
    made = audit(store, tmp_path / "out")
    table = made.to_arrow()
    errors = rows_of(table, "label")
    assert {row["__key__"] for row in errors[:5]} <= {f"key-{row:06d}" for row in (*WRONG, *COPIES)}
    assert {f"key-{row:06d}" for row in WRONG} <= {row["__key__"] for row in errors}
    assert [row["rank"] for row in errors] == [*range(1, len(errors) + 1)]
    first = errors[0]
    assert first["p_suggested"] > first["p_label"]
    assert first["suggested"] != first["label"]
    conflicts = rows_of(table, "conflict")
    assert {row["__key__"] for row in conflicts} == {f"key-{row:06d}" for row in COPIES}
    assert {row["group"] for row in conflicts} == {"key-000030"}
    outliers = rows_of(table, "outlier")
    assert outliers[0]["__key__"] == f"key-{FAR:06d}"
    facts = made.facts
    assert (facts["records"], facts["judged"]) == (ROWS, ROWS - 2)
    assert facts["accuracy"] > 0.95
    assert facts["conflict"] == 2
    assert not verify_store(str(tmp_path / "out")).all_damages
    assert isinstance(mmfeat.open(tmp_path / "out"), type(made))


def test_an_audit_ends_with_the_same_bytes_after_a_kill(store, tmp_path, monkeypatch):
    audit(store, tmp_path / "whole")
    for name in ("find_groups", "predict_out_of_fold", "write_audit_page", "write_manifest"):
        with monkeypatch.context() as patch:

            def die(*arguments, **entries):
                raise KeyboardInterrupt

            patch.setattr(module, name, die)
            with pytest.raises(KeyboardInterrupt):
                audit(store, tmp_path / "out")
        assert not (tmp_path / "out" / "manifest.json").exists()
    audit(store, tmp_path / "out")
    for name in ("issues.parquet", "manifest.json", "report.html"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_finished_audit_is_kept_and_another_one_is_refused(store, tmp_path, capsys):
    audit(store, tmp_path / "out")
    audit(store, tmp_path / "out")
    assert "nothing to do" in capsys.readouterr().out
    for name in ("folds", "shown"):
        with pytest.raises(MmfeatError, match=rf"another configuration.*{name}"):
            audit(store, tmp_path / "out", **{name: 3})


def test_lists_are_limited_and_all_issues_are_counted(store, tmp_path):
    made = audit(store, tmp_path / "out", most=2)
    assert len(rows_of(made.to_arrow(), "label")) == 2
    assert made.manifest["totals"]["label"] >= len(WRONG)
    assert made.manifest["totals"]["listed"]["label"] == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "labl"}, r"Did you mean 'label'"),
        ({"target": "label", "modalities": "imgae"}, r"Did you mean 'image'"),
        ({"target": "label", "folds": 1}, r"--folds must be from 2 to 50"),
        ({"target": "label", "threshold": 0}, r"--threshold"),
        ({"target": "label", "shown": 1000}, r"--shown"),
    ],
)
def test_a_wrong_option_is_an_error_before_anything_is_written(store, tmp_path, options, message):
    with pytest.raises(MmfeatError, match=message):
        mmfeat.audit(store, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_the_page_shows_the_first_issues_and_hostile_labels_stay_text(
    store,
    tmp_path,
    browser,  # noqa: F811
):
    audit(store, tmp_path / "out", shown=3)
    page = browser.open(str(tmp_path / "out" / "report.html"))
    cards = page.find_elements("css selector", "#label .record")
    assert len(cards) == 3
    assert "<b>class" in cards[0].text
    assert len(page.find_elements("css selector", "#conflict .record")) == 2
    assert len(page.find_elements("css selector", "#no-shards")) == 1
    assert browser.console_messages() == []
    assert browser.requests() == [(tmp_path / "out" / "report.html").as_uri()]


def test_few_records_have_no_outliers():
    assert len(find_outliers(np.array([0.1, 0.1, 5.0]))) == 0
    scores = np.r_[np.linspace(0.1, 0.2, 50), 5.0, 9.0]
    assert find_outliers(scores).tolist() == [51, 50]


@pytest.mark.slow
def test_flipped_labels_of_products_are_found(mmfeat, real_data, tmp_path):
    """Most of forty exchanged labels are listed, and hardly any other one."""
    folder = real_data("products")
    rows = list(csv.DictReader((folder / "metadata.csv").open(encoding="utf-8")))
    labelled = [row for row in rows if row["gender"] in ("Men", "Women")]
    chosen = np.random.default_rng(0).permutation(len(labelled))[:40]
    for number in chosen.tolist():
        row = labelled[number]
        row["gender"] = "Women" if row["gender"] == "Men" else "Men"
    for row in rows:
        row["file_name"] = str(folder / row["file_name"])
    table = tmp_path / "table.csv"
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    for arguments in (
        ("shard", table, tmp_path / "shards", "--allow-outside"),
        ("extract", tmp_path / "shards", tmp_path / "features"),
        ("audit", tmp_path / "features", tmp_path / "audit", "--target", "gender"),
    ):
        result = mmfeat(*arguments)
        assert result.returncode == 0, result.stderr
    issues = pq.read_table(tmp_path / "audit" / "issues.parquet").to_pylist()
    listed = [row["__key__"] for row in issues if row["issue"] == "label"]
    flipped = {labelled[n]["file_name"].rpartition("/")[2].removesuffix(".jpg") for n in chosen}
    hits = [key in flipped for key in listed]
    assert sum(hits) >= 28
    assert sum(hits) >= 0.8 * len(hits)
    assert (tmp_path / "audit" / "report.html").read_text("utf-8").count("data:image/jpeg") >= 24
