"""The page of a model that describes: generated texts beside references."""

import json
from pathlib import Path

import pytest

from mmfeat.errors import DamagedFileError
from tests.training.report.conftest import Page
from tests.training.scenes import describe_flags, scene_records
from tests.training.stores import write_store
from training.report import write_model_report
from training.report.text_examples import TextExample
from training.train import main

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ config }} {% raw %}",
    "a\u202egnp.exe\0\x1b[31m",
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has learned little: some of its texts are right, some are not."""
    folder = tmp_path_factory.mktemp("texts")
    records = scene_records(120, missing=0.1)
    texts = list(records.metadata["caption"])
    records.metadata["caption"] = [
        [text, HOSTILE[row % 4]] if row % 5 else [HOSTILE[row % 4]]
        for row, text in enumerate(texts)
    ]
    store = write_store(str(folder / "features"), records)
    main([store, str(folder / "model"), *describe_flags(4), "--lr", "0.003"])
    return folder / "model"


@pytest.fixture(scope="module")
def page(model: Path) -> Page:
    return Page((model / "report.html").read_text("utf-8"))


def test_best_and_worst_texts_stand_beside_their_references(page):
    assert "Best texts" in page.text
    assert "Worst texts" in page.text
    assert page.text.count("reference") > 20
    assert "Largest losses" not in page.text
    assert "features of the model are no longer in" in page.text


def test_baselines_copies_and_subsets_are_shown(model, page):
    test = json.loads((model / "metrics.json").read_text())["test"]
    table = page.tables["baselines"]
    assert [row[0] for row in table[1:]] == [
        "this model",
        "most frequent text",
        "text of the nearest training record",
    ]
    assert table[0][1:] == ["BLEU", "chrF", "exact match", "CIDEr"]
    assert f"{test['baselines']['metrics']['model']['cider']:.3f}" in table[1]
    assert f"{test['copies']['rows']} generated texts" in page.text
    assert {row[0] for row in page.tables["subsets"][1:]} == set(test["per_subset"])
    assert "CIDEr" in page.text


def test_hostile_texts_stay_text(page):
    for text in HOSTILE[:3]:
        assert text in page.text
    assert "<script>alert" not in page.source
    assert "<img src=x" not in page.source
    assert not {"\u202e", "\0", "\x1b"} & set(page.source)


def test_damaged_baselines_are_named(model, tmp_path):
    path = model / "metrics.json"
    intact = path.read_text()
    for place, value in (("rows", -1), ("metrics", {}), ("most_frequent_text", None)):
        document = json.loads(intact)
        document["test"]["baselines"][place] = value
        path.write_text(json.dumps(document))
        with pytest.raises(DamagedFileError, match=r"metrics\.json is damaged: test"):
            write_model_report(str(model))
    path.write_text(intact)


def test_a_text_is_exact_but_for_spaces():
    example = TextExample("k", "s", ["a red  square"], " a red square", 0.1, None, [])
    assert example.is_exact
    assert not TextExample("k", "s", ["a red square."], "a red square", 0.1, None, []).is_exact
