"""`torch:` runs programs of torch.export, and rejects archives with pickles."""

import io
import json
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

from mmfeat.encoders import EncoderSpec, Settings
from mmfeat.errors import MmfeatError
from tests.mmfeat.encoders.checks import MaliciousPickle, encode_all
from tests.mmfeat.samples import audio_bytes

CONFIG = {"modality": "image", "picture": {"size": 16, "resize": 16, "mean": [0.5, 0.4, 0.3]}}


class SmallCnn(nn.Module):
    """A CNN with one vector per image, or one per position."""

    def __init__(self, tokens=False):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 8, stride=8)
        self.tokens = tokens

    def forward(self, x):
        grid = self.conv(x).flatten(2).transpose(1, 2)
        return grid if self.tokens else grid.mean(dim=1)


def export(path, module, shape, config):
    torch.manual_seed(0)
    batch = torch.export.Dim("batch", min=1, max=1024)
    program = torch.export.export(
        module.eval(), (torch.zeros(2, *shape),), dynamic_shapes=({0: batch},)
    )
    torch.export.save(program, path)
    path.with_suffix(".json").write_text(json.dumps(config))


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    path = tmp_path_factory.mktemp("program") / "cnn.pt2"
    torch.manual_seed(1)
    export(path, SmallCnn(), (3, 16, 16), CONFIG)
    return path


def test_image_features_equal_the_program(program, picture):
    encoder = EncoderSpec.parse(f"image=torch:{program}").load()
    assert (encoder.modality, encoder.dim) == ("image", 4)
    inputs = [encoder.decode(picture(colour, size=30)) for colour in ((9, 80, 200), (200, 1, 2))]
    together = encoder.encode(inputs)
    pixels = torch.from_numpy(np.stack(inputs)).float() / 255
    mean = torch.tensor([0.5, 0.4, 0.3]).reshape(3, 1, 1)
    expected = torch.export.load(program).module()((pixels - mean) / 0.5)
    np.testing.assert_allclose(together, expected.detach(), atol=1e-5)
    np.testing.assert_allclose(encoder.encode(inputs[:1])[0], together[0], atol=1e-5)


def test_max_tokens_limits_the_tokens(tmp_path, picture):
    export(tmp_path / "t.pt2", SmallCnn(tokens=True), (3, 16, 16), CONFIG)
    encoder = EncoderSpec.parse(
        f"image=torch:{tmp_path / 't.pt2'}?output=tokens&max_tokens=3"
    ).load()
    features = encoder.encode([encoder.decode(picture())])
    assert [tokens.shape for tokens in features] == [(3, 4)]


def test_short_audio_is_zero_padded(tmp_path):
    class Energy(nn.Module):
        def forward(self, x):
            return torch.stack([x.abs().mean(dim=1), x.square().mean(dim=1)], dim=1)

    config = {"modality": "audio", "rate": 8000, "seconds": 0.5}
    export(tmp_path / "s.pt2", Energy(), (4000,), config)
    encoder = EncoderSpec.parse(f"audio=torch:{tmp_path / 's.pt2'}").load()
    (feature,) = encode_all(encoder, [audio_bytes(np.full(2000, 0.5, np.float32), 8000)])
    np.testing.assert_allclose(feature, [0.25, 0.125], atol=1e-3)


@pytest.mark.parametrize("name", ["sample_inputs/model.pt", "weights"])
def test_archive_with_a_pickle_is_an_error(program, tmp_path, name):
    path = tmp_path / "malicious.pt2"
    with zipfile.ZipFile(program) as source, zipfile.ZipFile(path, "w") as target:
        for member in source.namelist():
            content = source.read(member)
            if member.endswith(name):
                buffer = io.BytesIO()
                torch.save(MaliciousPickle(), buffer)
                content = buffer.getvalue()
            if name == "weights" and member.endswith("model_weights_config.json"):
                content = content.replace(b'"use_pickle": false', b'"use_pickle": true')
                assert b"true" in content
            target.writestr(member, content)
    path.with_suffix(".json").write_text(json.dumps(CONFIG))
    with pytest.raises(MmfeatError, match="contains pickled objects"):
        EncoderSpec.parse(f"image=torch:{path}").load()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (None, "needs a JSON file of its preprocessing"),
        ({"modality": "image"}, "needs a picture with size and resize"),
        ({"modality": "image", "picture": {"size": 4, "resize": 4, "zoom": 2}}, "needs a picture"),
        ({"modality": "audio", "rate": 0, "seconds": 1}, "audio needs a rate"),
    ],
)
def test_incomplete_json_is_an_error(program, tmp_path, config, message):
    path = tmp_path / "p.pt2"
    path.write_bytes(program.read_bytes())
    if config is not None:
        path.with_suffix(".json").write_text(json.dumps(config))
    modality = (config or {}).get("modality", "image")
    with pytest.raises(MmfeatError, match=message):
        EncoderSpec.parse(f"{modality}=torch:{path}").load()


def test_precision_of_a_program_is_fixed(program):
    with pytest.raises(MmfeatError, match="the precision it was exported in"):
        EncoderSpec.parse(f"image=torch:{program}").load(Settings(precision="bfloat16"))
