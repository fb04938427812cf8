import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image

import mmfeat
from mmfeat.errors import MmfeatError


def test_raw_inputs_give_the_predictions_of_score(stores):
    model = mmfeat.open(stores / "model")
    shards, predictions = mmfeat.open(stores / "shards"), mmfeat.open(stores / "predictions")
    records = list(shards)
    inputs = {
        slot: [record.members.get(slot) or None for record in records] for slot in shards.slots
    }
    predicted = model.predict(**inputs)
    scored = predictions.to_arrow()
    assert predicted.labels == scored["prediction"].to_pylist()
    np.testing.assert_array_equal(predicted.scores[:, 0], scored["p_cat"].to_numpy())
    missing = [{"text": "missing"} if record.key == "p007" else {} for record in records]
    assert list(predicted.problems) == missing


def test_features_give_the_same_as_raw_inputs(stores):
    model, features = mmfeat.open(stores / "model"), mmfeat.open(stores / "features")
    record = features["p008"]
    by_features = model.predict({name: array[None] for name, array in record.features.items()})
    members = mmfeat.open(stores / "shards")["p008"].members
    by_inputs = model.predict(image=members["image"], text=members["text"])
    np.testing.assert_array_equal(by_features.scores, by_inputs.scores)


def test_a_store_is_not_an_array(stores):
    model, features = mmfeat.open(stores / "model"), mmfeat.open(stores / "features")
    with pytest.raises(
        MmfeatError, match=r"a mapping from columns to arrays; got 'Features'\. Score"
    ):
        model.predict(features)


def test_an_image_may_be_a_path_bytes_an_image_or_an_array(stores, picture_of, tmp_path):
    content = picture_of("cat")
    (tmp_path / "photo.png").write_bytes(content)
    image = Image.open(io.BytesIO(content))
    forms = [tmp_path / "photo.png", str(tmp_path / "photo.png"), content, image, np.array(image)]
    predicted = mmfeat.open(stores / "model").predict(image=forms)
    assert predicted.labels == ["cat"] * 5
    assert np.ptp(predicted.scores, axis=0).max() == 0
    assert len(predicted.to_pandas()) == 5


def test_one_modality_is_enough_and_none_is_no_prediction(stores):
    model = mmfeat.open(stores / "model")
    predicted = model.predict(text="a small cat sleeps")
    assert (predicted.labels, predicted.problems) == (["cat"], [{"image": "missing"}])
    predicted = model.predict(text=["the big dog barks", None])
    assert predicted.labels == ["dog", None]
    assert np.isnan(predicted.scores[1]).all()


def test_a_bad_input_is_a_problem_of_its_record(stores, picture_of):
    predicted = mmfeat.open(stores / "model").predict(
        image=[picture_of("dog"), b"no picture"], text=["the big dog barks", None]
    )
    assert predicted.labels == ["dog", None]
    assert not predicted.problems[0]
    assert "image" in predicted.problems[1]


def test_inputs_that_are_none_cost_their_record_only(stores, picture_of):
    inputs = ["no such file.png", np.zeros((0, 0, 3), np.uint8), np.zeros((2, 2, 7), np.uint8)]
    predicted = mmfeat.open(stores / "model").predict(image=[picture_of("dog"), *inputs])
    assert predicted.labels[0]
    assert predicted.labels[1:] == [None] * 3
    reasons = [problems["image"].partition(":")[0] for problems in predicted.problems[1:]]
    assert reasons == ["not_found", "undecodable", "undecodable"]
    predicted = mmfeat.open(stores / "model").predict(text=["the big dog barks", "\ud800"])
    assert predicted.labels == ["dog", None]


def test_a_place_named_by_the_model_is_not_read(stores, tmp_path):
    """The model may be a stranger's."""
    shutil.copytree(stores / "model", tmp_path / "model")
    path = tmp_path / "model" / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["checksum"]
    (tmp_path / "vectors.txt").write_text("cat 1 2\n")
    manifest["encoder_flags"]["text"] = f"text=embedding:{tmp_path}/vectors.txt"
    path.write_text(json.dumps(manifest))
    with pytest.raises(MmfeatError, match=r"must be named.*encoders=.*embedding:"):
        mmfeat.open(tmp_path / "model").predict(text="a cat")


def test_a_text_is_never_read_as_a_path(stores, tmp_path):
    """A stranger's model may name another modality for its column."""
    shutil.copytree(stores / "model", tmp_path / "model")
    path = tmp_path / "model" / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["checksum"]
    for column in manifest["config"]["columns"]:
        column["encoder"]["slot"] = column["modality"]
        column["modality"] = "zzz"
    path.write_text(json.dumps(manifest))
    with pytest.raises(MmfeatError, match="must be the one of the training"):
        mmfeat.open(tmp_path / "model").predict(text="a cat")


def test_wrong_inputs_are_refused(stores):
    model = mmfeat.open(stores / "model")
    for inputs, message in [
        ({}, "needs inputs of the columns"),
        ({"sound": "x"}, "needs inputs of the columns image, text"),
        ({"text": ["a", "b"], "image": [None]}, "one value per record"),
        ({"text": 5}, "an input of text must be a str or bytes"),
    ]:
        with pytest.raises(MmfeatError, match=message):
            model.predict(**inputs)
    dim = model.columns["text"].dim
    with pytest.raises(MmfeatError, match="must be floating-point numbers"):
        model.predict({"text": np.full((1, dim), "x")})


def test_another_encoder_is_refused_by_its_fingerprint(stores):
    model = mmfeat.open(stores / "model")
    with pytest.raises(MmfeatError, match="must be the one of the training"):
        model.predict(text="a cat", encoders={"text": "builtin:text?dtype=float32"})


def test_a_model_without_encoder_flags_asks_for_them(stores, tmp_path):
    shutil.copytree(stores / "model", tmp_path / "model")
    path = tmp_path / "model" / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["encoder_flags"], manifest["checksum"]
    path.write_text(json.dumps(manifest))
    model = mmfeat.open(tmp_path / "model")
    with pytest.raises(MmfeatError, match="the encoder of text must be named"):
        model.predict(text="a small cat sleeps")
    named = model.predict(text="a small cat sleeps", encoders={"text": "builtin:text"})
    assert named.labels == ["cat"]
