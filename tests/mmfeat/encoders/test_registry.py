import pytest

from mmfeat.encoders import ENCODERS, EncoderSpec, builtin_for
from mmfeat.errors import MmfeatError
from mmfeat.modalities import MODALITIES


@pytest.mark.parametrize("name", ENCODERS)
def test_every_encoder_loads_and_knows_its_modality_and_identity(name):
    encoder = EncoderSpec("column", name).load()
    assert encoder.modality in MODALITIES
    assert encoder.dim > 0
    assert encoder.identity()["name"] == name
    assert encoder.identity() == EncoderSpec("column", name).load().identity()


def test_a_flag_is_parsed_into_column_name_and_options():
    spec = EncoderSpec.parse("my-col=builtin:text?dim=64&a=b")
    assert (spec.column, spec.name) == ("my-col", "builtin:text")
    assert spec.options == (("dim", "64"), ("a", "b"))


@pytest.mark.parametrize("text", ["", "=builtin:text", "../x=builtin:text", "a/b=builtin:text"])
def test_a_column_name_cannot_leave_the_output_directory(text):
    with pytest.raises(MmfeatError, match="COLUMN=SCHEME:NAME"):
        EncoderSpec.parse(text)


def test_a_modality_without_a_built_in_encoder_has_none():
    assert builtin_for("smell") is None
    assert builtin_for("text") == EncoderSpec("text", "builtin:text")
