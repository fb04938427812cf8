"""The picture of a run can be drawn for every kind of sample."""

import numpy as np
import pytest
from PIL import Image

from mmfeat.cli.quickstart.picture import ShownSample, draw_picture

ACCURACIES = {"image only": 0.5, "fused": 1.0}


def make_sample(folder, *, image=True, text="red $1 shape", prediction="red", weight=0.3):
    path = folder / "image.png"
    Image.new("L", (8, 8), 99).save(path)
    weights = {"image": weight, "text": 1 - weight}
    return ShownSample(path if image else None, text, "red", prediction, 0.9, weights)


@pytest.mark.parametrize(
    "options",
    [{}, {"image": False}, {"text": ""}, {"prediction": "blue"}, {"weight": 0.0}, {"weight": 1.0}],
)
def test_a_sample_changes_the_picture(tmp_path, options):
    usual, other = make_sample(tmp_path, weight=0.5), make_sample(tmp_path, **options)
    for name, sample in (("usual", usual), ("other", other)):
        draw_picture(tmp_path / f"{name}.png", {"a": [usual], "b": [sample]}, ACCURACIES)
    pixels = [np.asarray(Image.open(tmp_path / f"{name}.png")) for name in ("usual", "other")]
    assert pixels[0].shape == pixels[1].shape
    assert (pixels[0] != pixels[1]).any()


@pytest.mark.parametrize("counts", [(0,), (2, 1), (1, 0, 3)])
def test_groups_may_have_any_number_of_samples(tmp_path, counts):
    groups = {f"group {n}": [make_sample(tmp_path)] * count for n, count in enumerate(counts)}
    draw_picture(tmp_path / "picture.png", groups, ACCURACIES)
    with Image.open(tmp_path / "picture.png") as image:
        assert image.width > 800
        assert image.getpixel((0, 0))[:3] == (255, 255, 255)
