import json

import pyarrow.dataset as ds
import pytest
from PIL import Image

from mmfeat.store.manifest import read_manifest


@pytest.mark.slow
def test_only_both_modalities_answer_the_quickstart(mmfeat, tmp_path):
    output = tmp_path / "quickstart"
    result = mmfeat("quickstart", "--output", output)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("the splits leak") == 2  # of the text alone, and of both
    accuracy = read_manifest(str(output), "quickstart")["accuracy"]
    assert accuracy["fused (gmu)"] >= 0.95
    assert accuracy["image only"] <= 0.70
    assert accuracy["text only"] <= 0.55
    assert_weights_follow_what_tells_the_colour(output / "predictions" / "data")
    for folder in ("shards", "features", "model_image_text", "predictions"):
        facts = json.loads(mmfeat("info", output / folder, "--json").stdout)
        assert facts["finished"]
    with Image.open(output / "picture.png") as picture:
        assert picture.width > 800
    again = mmfeat("quickstart", "--output", output)
    assert again.stdout.count("nothing to do") >= 3


def assert_weights_follow_what_tells_the_colour(folder):
    columns = ds.dataset(folder, format="parquet").to_table(["split", "told_by", "w_text"])
    means = {
        group["told_by"]: group["w_text_mean"]
        for group in columns.filter(ds.field("split") == "test")
        .group_by("told_by")
        .aggregate([("w_text", "mean")])
        .to_pylist()
    }
    assert means["no text"] == 0
    assert means["no image"] == 1
    assert means["text"] > max(means["both"], means["image"]) + 0.05
