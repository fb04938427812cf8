import json

import pytest
from PIL import Image

from mmfeat.store.manifest import read_manifest


@pytest.mark.slow
def test_only_both_modalities_answer_the_quickstart(mmfeat, tmp_path):
    output = tmp_path / "quickstart"
    result = mmfeat("quickstart", "--output", output)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("the splits leak") == 1
    accuracy = read_manifest(str(output), "quickstart")["accuracy"]
    assert accuracy["fused (gmu)"] >= 0.95
    assert accuracy["image only"] <= 0.60
    assert accuracy["text only"] <= 0.35
    for folder in ("shards", "features", "model_image_text", "predictions"):
        facts = json.loads(mmfeat("info", output / folder, "--json").stdout)
        assert facts["finished"]
    with Image.open(output / "picture.png") as picture:
        assert picture.width > 800
    again = mmfeat("quickstart", "--output", output)
    assert again.stdout.count("nothing to do") >= 3
