"""Programs of torch.export, and archives that would be unpickled."""

import io
import json
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

from mmfeat.encoders import EncoderSpec, Settings
from mmfeat.errors import MmfeatError
from tests.mmfeat.encoders.checks import Rogue, features
from tests.mmfeat.samples import sound_bytes

PICTURE = {"modality": "image", "picture": {"size": 16, "resize": 16, "mean": [0.5, 0.4, 0.3]}}


class Pixels(nn.Module):
    """A small CNN: one vector, or one a place."""

    def __init__(self, tokens=False):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 8, stride=8)
        self.tokens = tokens

    def forward(self, x):
        grid = self.conv(x).flatten(2).transpose(1, 2)
        return grid if self.tokens else grid.mean(dim=1)


def export(path, module, shape, facts):
    torch.manual_seed(0)
    batch = torch.export.Dim("batch", min=1, max=1024)
    program = torch.export.export(
        module.eval(), (torch.zeros(2, *shape),), dynamic_shapes=({0: batch},)
    )
    torch.export.save(program, path)
    path.with_suffix(".json").write_text(json.dumps(facts))


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    path = tmp_path_factory.mktemp("program") / "cnn.pt2"
    torch.manual_seed(1)
    export(path, Pixels(), (3, 16, 16), PICTURE)
    return path


def test_a_program_encodes_pictures_as_it_would_outside(program, picture):
    encoder = EncoderSpec.parse(f"image=torch:{program}").load()
    assert (encoder.modality, encoder.dim) == ("image", 4)
    inputs = [encoder.decode(picture(colour, size=30)) for colour in ((9, 80, 200), (200, 1, 2))]
    together = encoder.encode(inputs)
    pixels = torch.from_numpy(np.stack(inputs)).float() / 255
    mean = torch.tensor([0.5, 0.4, 0.3]).reshape(3, 1, 1)
    expected = torch.export.load(program).module()((pixels - mean) / 0.5)
    np.testing.assert_allclose(together, expected.detach(), atol=1e-5)
    np.testing.assert_allclose(encoder.encode(inputs[:1])[0], together[0], atol=1e-5)


def test_a_program_of_tokens_gives_as_many_as_are_asked_for(tmp_path, picture):
    export(tmp_path / "t.pt2", Pixels(tokens=True), (3, 16, 16), PICTURE)
    encoder = EncoderSpec.parse(
        f"image=torch:{tmp_path / 't.pt2'}?output=tokens&max_tokens=3"
    ).load()
    found = encoder.encode([encoder.decode(picture())])
    assert [tokens.shape for tokens in found] == [(3, 4)]


def test_a_program_encodes_sounds_filled_up_to_their_length(tmp_path):
    class Energy(nn.Module):
        def forward(self, x):
            return torch.stack([x.abs().mean(dim=1), x.square().mean(dim=1)], dim=1)

    facts = {"modality": "audio", "rate": 8000, "seconds": 0.5}
    export(tmp_path / "s.pt2", Energy(), (4000,), facts)
    encoder = EncoderSpec.parse(f"audio=torch:{tmp_path / 's.pt2'}").load()
    (found,) = features(encoder, [sound_bytes(np.full(2000, 0.5, np.float32), 8000)])
    np.testing.assert_allclose(found, [0.25, 0.125], atol=1e-3)


@pytest.mark.parametrize("name", ["sample_inputs/model.pt", "weights"])
def test_an_archive_that_would_be_unpickled_is_refused(program, tmp_path, name):
    path = tmp_path / "trap.pt2"
    with zipfile.ZipFile(program) as source, zipfile.ZipFile(path, "w") as target:
        for member in source.namelist():
            content = source.read(member)
            if member.endswith(name):
                buffer = io.BytesIO()
                torch.save(Rogue(), buffer)
                content = buffer.getvalue()
            if name == "weights" and member.endswith("model_weights_config.json"):
                content = content.replace(b'"use_pickle": false', b'"use_pickle": true')
                assert b"true" in content
            target.writestr(member, content)
    path.with_suffix(".json").write_text(json.dumps(PICTURE))
    with pytest.raises(MmfeatError, match="to read a pickle is to run it"):
        EncoderSpec.parse(f"image=torch:{path}").load()


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        (None, "needs a JSON of its preprocessing"),
        ({"modality": "image"}, "needs a picture with size and resize"),
        ({"modality": "image", "picture": {"size": 4, "resize": 4, "zoom": 2}}, "needs a picture"),
        ({"modality": "audio", "rate": 0, "seconds": 1}, "a sound needs a rate"),
    ],
)
def test_a_json_that_says_too_little_is_one_clear_line(program, tmp_path, facts, says):
    path = tmp_path / "p.pt2"
    path.write_bytes(program.read_bytes())
    if facts is not None:
        path.with_suffix(".json").write_text(json.dumps(facts))
    modality = (facts or {}).get("modality", "image")
    with pytest.raises(MmfeatError, match=says):
        EncoderSpec.parse(f"{modality}=torch:{path}").load()


def test_a_program_keeps_its_own_precision(program):
    with pytest.raises(MmfeatError, match="the precision it was exported in"):
        EncoderSpec.parse(f"image=torch:{program}").load(Settings(precision="bfloat16"))
