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
    assert not any(predicted.problems)


def test_features_give_the_same_as_raw_inputs(stores):
    model, features = mmfeat.open(stores / "model"), mmfeat.open(stores / "features")
    record = features["p008"]
    by_features = model.predict({name: array[None] for name, array in record.features.items()})
    members = mmfeat.open(stores / "shards")["p008"].members
    by_inputs = model.predict(image=members["image"], text=members["text"])
    np.testing.assert_array_equal(by_features.scores, by_inputs.scores)


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
    assert model.predict(text="a small cat sleeps").labels == ["cat"]
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
    with pytest.raises(MmfeatError, match="does not name the encoder of text"):
        model.predict(text="a small cat sleeps")
    named = model.predict(text="a small cat sleeps", encoders={"text": "builtin:text"})
    assert named.labels == ["cat"]
