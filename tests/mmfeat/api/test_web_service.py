"""The web service of docs/python.md; its packages are those of the extra `docs`."""

import re

import pytest

import mmfeat
from tests.conftest import REPOSITORY


@pytest.fixture
def client(stores):
    for module in ("fastapi", "httpx", "python_multipart"):
        pytest.importorskip(module, reason="needs the extra docs: make docs")
    from fastapi.testclient import TestClient

    page = (REPOSITORY / "docs" / "python.md").read_text("utf-8")
    [code] = [block for block in re.findall(r"```py\n(.*?)```", page, re.S) if "FastAPI" in block]
    assert len([line for line in code.splitlines() if line.strip()]) <= 21
    names = {}
    exec(code.replace("run/model", str(stores / "model")), names)
    return TestClient(names["app"])


def test_the_service_predicts_a_text_an_image_or_both(client, stores, picture_of):
    text = client.post("/predict", data={"text": "a small cat sleeps"}).json()
    assert text["label"] == "cat"
    assert text["problems"] == {"image": "missing"}
    assert sum(text["scores"].values()) == pytest.approx(1)
    image = {"image": ("photo.png", picture_of("dog"))}
    expected = mmfeat.open(stores / "model").predict(image=picture_of("dog"))
    alone = client.post("/predict", files=image).json()
    assert alone["label"] == expected.labels[0]
    assert [*alone["scores"].values()] == pytest.approx(expected.scores[0].tolist())
    both = client.post("/predict", data={"text": "the big dog barks"}, files=image)
    assert both.json()["label"] == "dog"


def test_the_service_refuses_a_request_without_inputs_and_names_a_bad_image(client):
    assert client.post("/predict").status_code == 422
    bad = client.post("/predict", data={"text": "a small cat"}, files={"image": ("a", b"no")})
    assert "undecodable" in bad.json()["problems"]["image"]
