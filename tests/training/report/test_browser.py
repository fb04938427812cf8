"""The pages in a browser: content, behavior, and no requests."""

import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from training.report import write_compare_report, write_model_report

HOSTILE = (
    "<script>window.hacked = 1</script>",
    '"><img src="https://evil.invalid/x.png" onerror="window.hacked = 2">',
    "</title></style><svg onload='window.hacked = 3'>",
)
KEY = "<img src=x onerror=hacked=4>"


def test_page_shows_the_metrics_and_requests_nothing(browser, make_model) -> None:
    model = make_model(rows=300)
    path = write_model_report(model)
    driver = browser.open(path)
    metrics = json.loads(Path(model, "metrics.json").read_text())
    tile = driver.find_element("css selector", "#headline .tile.first b").text
    assert tile == f"{metrics['test']['accuracy']:.3f}"
    cells = driver.find_elements("css selector", "#confusion table.matrix tbody tr:first-child td")
    assert [int(cell.text) for cell in cells] == metrics["test"]["confusion_matrix"][0]
    charts = driver.find_elements("css selector", "svg.chart")
    assert len(charts) == 3
    assert all(chart.size["height"] > 100 for chart in charts)
    assert browser.console_messages() == []
    assert browser.requests() == [Path(path).as_uri()]


def test_hostile_data_is_never_executed(browser, make_model, make_shards) -> None:
    model = make_model(classes=HOSTILE, keys=[KEY] * 60, columns=HOSTILE[:2])
    text = HOSTILE[0].encode()
    path = Path(write_model_report(model, shards=make_shards({KEY: {"png": text, "txt": text}})))
    # Escaping must be enough without the content security policy.
    source, replaced = re.subn(
        r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", path.read_text("utf-8")
    )
    assert replaced == 1
    path.write_text(source, "utf-8")
    driver = browser.open(str(path))
    assert driver.execute_script("return window.hacked ?? null") is None
    assert driver.execute_script("return document.scripts.length") == 1
    assert driver.find_elements("css selector", "img, [onerror], [onload]") == []
    rows = driver.find_elements("css selector", "#classes tbody th")
    assert {row.text for row in rows} <= {
        name if len(name) <= 60 else name[:59] + "…" for name in HOSTILE
    }
    assert driver.find_element("css selector", ".card .key").text.startswith(KEY)
    assert driver.find_element("css selector", ".card q").get_attribute("textContent") == HOSTILE[0]
    assert browser.console_messages() == []
    assert browser.requests() == [path.as_uri()]


def test_comparison_table_sorts_by_heading(browser, tmp_path: Path) -> None:
    rows = [
        {"name": name, "mean": mean, "parameters": size, "flops": size, "picked": name == "b",
         "tied": True, "pareto": True, "low": mean - 0.1, "high": mean + 0.1}
        for name, mean, size in (("a", 0.9, 10), ("b", 0.8, 900), (HOSTILE[0], 0.7, 50))
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "leaderboard.parquet")
    path = write_compare_report(str(tmp_path))
    driver = browser.open(path)

    def names() -> list[str]:
        headings = driver.find_elements("css selector", "#cost-table tbody th")
        return [
            heading.text.split("\n")[0].split(" picked")[0].split(" front")[0]
            for heading in headings
        ]

    assert names() == ["a", "b", HOSTILE[0]]
    button = next(
        b
        for b in driver.find_elements("css selector", "#cost-table thead button")
        if b.text == "parameters"
    )
    driver.execute_script("arguments[0].click()", button)
    assert names() == ["b", HOSTILE[0], "a"]
    driver.execute_script("arguments[0].click()", button)
    assert names() == ["a", HOSTILE[0], "b"]
    assert driver.execute_script("return window.hacked ?? null") is None
    assert driver.find_element("css selector", "#verdict").text.startswith("Picked: b,")
    assert browser.console_messages() == []
    assert browser.requests() == [Path(path).as_uri()]


def test_comparison_fits_a_laptop_and_a_phone(browser, tmp_path: Path) -> None:
    names = ("image logistic", "fusion_transformer", "late_stacked", "seed_sigmoid")
    rows = [
        {"name": f"{name} + bilinear", "fusion": name, "combination": "bilinear",
         "modalities": "image,text", "mean": 0.9 - number / 99, "low": 0.811, "high": 0.912,
         "sd": 0.012, "val_mean": 0.913, "difference": -0.012, "p_value": 0.0001, "seeds": 1,
         "emap": 0.887, "emap_full": 0.899, "uses_interaction": True, "parameters": 1_234_567,
         "flops": 1e6 + number, "train_rows_per_second": 123456.0, "lr": 0.0003,
         "score_rows_per_second": 123456.0, "peak_memory_mb": 1234.5, "tied": True,
         "pareto": True, "picked": number == 1}
        for number, name in enumerate(names)
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "leaderboard.parquet")
    driver = browser.open(write_compare_report(str(tmp_path)))
    hidden = (
        "return [...document.querySelectorAll('.scroll')].map(e => e.scrollWidth - e.clientWidth)"
    )
    before = driver.get_window_size()
    try:
        driver.set_window_size(1400, 900)
        assert max(driver.execute_script(hidden)) <= 0
        driver.set_window_size(500, 900)  # the narrowest window of Chromium
        assert driver.execute_script("return document.documentElement.scrollWidth") <= 500
        shown = driver.find_element("css selector", "#leaderboard tbody td").rect
        assert shown["x"] + shown["width"] <= 400
    finally:
        driver.set_window_size(before["width"], before["height"])


def test_a_cell_of_the_confusion_shows_its_records(browser, make_model) -> None:
    model = make_model(rows=300)
    path = write_model_report(model, worst=4)
    driver = browser.open(path)
    shown = "return [...document.querySelectorAll('.card:not([hidden])')].map((c) => c.dataset.{})"
    assert len(driver.execute_script(shown.format("key"))) == 4
    button = driver.find_element("css selector", "#confusion td:not(.right) button")
    driver.execute_script("arguments[0].click()", button)
    true, predicted = (button.get_attribute(f"data-{name}") for name in ("label", "predicted"))
    found = driver.execute_script(shown.format("label"))
    assert found
    assert {*found} == {true}
    assert {*driver.execute_script(shown.format("predicted"))} == {predicted}
    cells = driver.find_elements("css selector", "#confusion table.matrix tbody td")
    assert all(cell.is_displayed() for cell in cells)
    driver.execute_script(
        "const tools = document.querySelector('form.tools'); tools.elements.label.value = '';"
        "tools.elements.predicted.value = ''; tools.elements.subset.value = 'text';"
        "tools.elements.subset.dispatchEvent(new Event('input', {bubbles: true}));"
    )
    assert {*driver.execute_script(shown.format("subset"))} == {"text"}
    assert browser.console_messages() == []
    assert browser.requests() == [Path(path).as_uri()]


def test_a_report_fits_a_laptop_and_a_phone(browser, make_model) -> None:
    driver = browser.open(write_model_report(make_model(rows=300)))
    for width in (1400, 390):
        driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
        )
        assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_tables_of_a_comparison_are_saved_as_csv(browser, tmp_path: Path) -> None:
    rows = [
        {"name": name, "mean": mean, "parameters": 123456, "flops": 10, "picked": False,
         "tied": True, "pareto": True, "low": mean - 0.1, "high": mean + 0.1}
        for name, mean in (("=SUM(A1)", 0.9125), ("b", 0.8))
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "leaderboard.parquet")
    driver = browser.open(write_compare_report(str(tmp_path)))
    content = driver.execute_async_script(
        "const done = arguments[0], make = URL.createObjectURL;"
        "URL.createObjectURL = (blob) => { blob.text().then(done); return make(blob); };"
        "HTMLAnchorElement.prototype.click = () => {};"
        "document.querySelector('button[data-csv=cost-table]').click();"
    )
    lines = content.splitlines()
    assert lines[0].startswith("model,parameters,FLOPs per record,")
    assert [line.split(",")[:3] for line in lines[1:]] == [
        ["'=SUM(A1)", "123456", "10"],
        ["b", "123456", "10"],
    ]
    assert browser.console_messages() == []
