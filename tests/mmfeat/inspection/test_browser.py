"""The page of `mmfeat preview` in a browser: filters, order, sounds, hostile texts."""

import csv
import io
import re
from pathlib import Path

import mmfeat as api
from mmfeat.inspection.config import PreviewConfig
from mmfeat.inspection.write_preview import write_preview
from tests.mmfeat.inspection.conftest import FORMULA, IMAGE, SCRIPT, write_sound, write_table

SHOWN = "return [...document.querySelectorAll('.card:not([hidden])')].map((c) => c.dataset.{})"
CSV = """
const done = arguments[0], make = URL.createObjectURL;
URL.createObjectURL = (blob) => { blob.text().then(done); return make(blob); };
HTMLAnchorElement.prototype.click = () => {};
document.querySelector("button[name=csv]").click();
"""


def shown(driver, name="key"):
    return driver.execute_script(SHOWN.format(name))


def choose(driver, name, value):
    driver.execute_script(
        "const control = document.querySelector('form.tools').elements[arguments[0]];"
        "control.value = arguments[1];"
        "control.dispatchEvent(new Event('input', {bubbles: true}));",
        name,
        value,
    )


def test_filters_and_order(browser, stores, tmp_path):
    path = write_preview(PreviewConfig(str(stores / "predictions"), str(tmp_path / "page.html")))
    driver = browser.open(path)
    rows = api.open(stores / "predictions").to_arrow().to_pylist()
    scored = [row for row in rows if row["prediction"]]
    labels = {r["__key__"]: r["label"] for r in api.open(stores / "shards").to_arrow().to_pylist()}
    assert shown(driver) == [row["__key__"] for row in rows]
    choose(driver, "outcome", "wrong")
    wrong = [row for row in scored if row["prediction"] != labels[row["__key__"]]]
    assert shown(driver) == [row["__key__"] for row in wrong]
    assert f"{len(wrong)} of {len(rows)} shown" in driver.find_element("css selector", "form").text
    choose(driver, "sort", "confidence:down")
    ordered = sorted(wrong, key=lambda row: -row["probability"])
    assert shown(driver) == [row["__key__"] for row in ordered]
    choose(driver, "outcome", "")
    choose(driver, "label", "cat")
    choose(driver, "predicted", "dog")
    assert set(shown(driver, "label") + shown(driver, "predicted")) <= {"cat", "dog"}
    assert len(shown(driver)) == sum(
        labels[row["__key__"]] == "cat" and row["prediction"] == "dog" for row in scored
    )
    choose(driver, "predicted", "")
    choose(driver, "label", "")
    choose(driver, "status", "failed")
    assert shown(driver) == ["k023"]
    choose(driver, "search", "no such text")
    assert shown(driver) == []
    driver.find_element("css selector", ".nothing button").click()
    assert len(shown(driver)) == 60
    assert browser.console_messages() == []
    assert browser.requests() == [Path(path).as_uri()]


def test_pictures_open(browser, stores, tmp_path):
    path = write_preview(PreviewConfig(str(stores / "shards"), str(tmp_path / "page.html")))
    driver = browser.open(path)
    driver.find_element("css selector", "button.open").click()
    image = driver.find_element("css selector", "#viewer img")
    assert image.is_displayed()
    assert image.size["width"] > 300
    driver.find_element("css selector", "#viewer button").click()
    assert not image.is_displayed()


def test_hostile_texts_stay_texts(browser, hostile_shards):
    path = Path(write_preview(PreviewConfig(str(hostile_shards))))
    # Escaping must be enough without the content security policy.
    source, replaced = re.subn(
        r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", path.read_text("utf-8")
    )
    assert replaced == 1
    path.write_text(source, "utf-8")
    driver = browser.open(str(path))
    assert driver.execute_script("return window.hacked ?? null") is None
    assert driver.execute_script("return document.scripts.length") == 1
    assert driver.find_elements("css selector", "[onerror], [onload], img[src^=http]") == []
    labels = set(shown(driver, "label"))
    assert {SCRIPT, IMAGE, FORMULA} <= labels
    for label in (SCRIPT, IMAGE):
        choose(driver, "label", label)
        assert shown(driver, "label") == [label]
        [text] = driver.find_elements("css selector", ".card:not([hidden]) q")
        assert text.text == label
    choose(driver, "label", "")
    assert driver.execute_script("return window.hacked ?? null") is None
    assert browser.console_messages() == []
    assert browser.requests() == [path.as_uri()]


def test_what_is_shown_is_saved_as_csv_without_formulas(browser, hostile_shards):
    driver = browser.open(write_preview(PreviewConfig(str(hostile_shards))))
    rows = list(csv.DictReader(io.StringIO(driver.execute_async_script(CSV))))
    assert [row["key"] for row in rows] == shown(driver)
    labels = {row["label"] for row in rows}
    assert {SCRIPT, IMAGE, "'" + FORMULA, "'-1+1", 'plain, "quoted"'} == labels


def test_sounds_can_be_played(browser, tmp_path):
    table = write_table(tmp_path / "raw", [{"id": "a", "audio": "a.wav"}])
    write_sound(tmp_path / "raw" / "a.wav", seconds=2)
    api.shard(table, tmp_path / "shards")
    driver = browser.open(write_preview(PreviewConfig(str(tmp_path / "shards"))))
    seconds = driver.execute_async_script(
        "const done = arguments[0], sound = document.querySelector('audio');"
        "sound.onloadedmetadata = () => done(sound.duration);"
        "sound.onerror = () => done(sound.error.message); sound.load();"
    )
    assert 1.9 < seconds < 2.2
    assert browser.console_messages() == []


def test_the_page_fits_a_laptop_and_a_phone(browser, stores, tmp_path):
    path = write_preview(PreviewConfig(str(stores / "predictions"), str(tmp_path / "page.html")))
    driver = browser.open(path)
    for width in (1400, 390):
        driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
        )
        assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
