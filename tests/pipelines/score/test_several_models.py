"""Several models in one pass, and the names of their columns."""

import pyarrow.dataset as ds
import pytest

from mmfeat.api import open_store
from mmfeat.api import score as score_in_python
from mmfeat.errors import MmfeatError
from mmfeat.scoring.predicting import find_prefixes
from pipelines.score import name_more_models
from tests.faults import assert_one_error
from tests.pipelines.score.conftest import read, run


@pytest.fixture(scope="session")
def second_model(scored):
    """A model of the text alone."""
    train = ("--target", "label", "--modalities", "text", "--fusion", "concat", "--epochs", "1")
    flags = ("--hidden", "8", "--lr", "0.003")
    model = scored / "by-text"
    run("train", scored / "features", model, *train, *flags)
    return model


def test_several_models_score_in_one_pass(scored, second_model, mmfeat, tmp_path):
    paths = (scored / "model", second_model, scored / "features")
    result = mmfeat("score", *paths, tmp_path / "out", "--columns", "label")
    assert result.returncode == 0, result.stderr
    both, first = read(tmp_path / "out"), read(scored / "predictions")
    assert mmfeat("score", second_model, scored / "features", tmp_path / "b").returncode == 0
    second = read(tmp_path / "b")
    assert both.column_names[:3] == ["__key__", "status", "reason"]
    for prefix, alone in (("model_", first), ("by-text_", second)):
        for name in alone.column_names[3:]:
            assert both[f"{prefix}{name}"].equals(alone[name]), name
    states = both["status"].to_pylist()
    expected = zip(first["status"].to_pylist(), second["status"].to_pylist(), strict=True)
    words = {("ok", "ok"): "ok", ("failed", "failed"): "failed"}
    assert states == [words.get(pair, "partial") for pair in expected]
    failed = both.filter(ds.field("status") != "ok").to_pylist()
    assert {row["__key__"] for row in failed} == {"K-7", "K-20"}
    reasons = {row["reason"] for row in failed}
    assert reasons == {"model: image:not_found, text:missing; by-text: text:missing"}
    manifest = open_store(str(tmp_path / "out")).manifest
    assert [model["name"] for model in manifest["models"]] == ["model", "by-text"]
    assert {*manifest["monitoring"]["models"]} == {"model", "by-text"}
    refused = mmfeat("score", second_model, *paths[::2], tmp_path / "out", "--columns", "label")
    assert assert_one_error(refused)


def test_models_of_the_same_name_are_refused(scored, mmfeat, tmp_path):
    model = scored / "model"
    result = mmfeat("score", model, model, scored / "features", tmp_path / "out")
    assert "different names" in assert_one_error(result)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("m i o", "m i o"),
        ("a b i o", "a i o --more-models=b"),
        ("a b c i o --explain", "a i o --explain --more-models=b --more-models=c"),
        ("a --top-k 2 b i o", "a --top-k 2 i o --more-models=b"),
        ("a --explain b i o", "a --explain i o --more-models=b"),
        ("a i o --runner PrismRunner", "a i o --runner PrismRunner"),
        ("a b i o --runner PrismRunner", "a i o --runner PrismRunner --more-models=b"),
        ("--runner=x a b i o", "--runner=x a i o --more-models=b"),
        ("--help", "--help"),
    ],
)
def test_more_models_may_be_written_before_the_input(words, named):
    assert name_more_models(words.split()) == named.split()


def test_scores_in_python_are_those_of_the_command(scored, second_model, tmp_path):
    models = [scored / "model", second_model]
    store = score_in_python(models, scored / "shards", tmp_path / "out", explain=True)
    names = store.column_names
    assert {"model_prediction", "by-text_prediction", "by-text_without_text"} <= {*names}


@pytest.mark.parametrize(("first", "second"), [("m", "m_p"), ("m_w_text", "m"), ("a", "a_without")])
def test_models_whose_columns_could_have_the_same_names(first, second):
    with pytest.raises(MmfeatError, match="must not have the same names"):
        find_prefixes([first, second])


def test_models_whose_names_only_look_alike():
    assert find_prefixes(["m", "m_2", "m_price"]) == ["m_", "m_2_", "m_price_"]
