import pytest

from mmfeat.encoders import SCHEMES, EncoderSpec, builtin_for
from mmfeat.encoders.builtin.load import BUILTIN
from mmfeat.errors import MmfeatError
from mmfeat.records.modalities import MODALITIES


@pytest.mark.parametrize("name", BUILTIN)
def test_builtin_encoders_have_modality_and_identity(name):
    spec = EncoderSpec.parse(f"column=builtin:{name}")
    encoder = spec.load()
    assert encoder.modality == spec.modality == BUILTIN[name]
    assert encoder.modality in MODALITIES
    assert encoder.dim > 0
    assert encoder.identity()["name"] == f"builtin:{name}"
    assert encoder.identity() == spec.load().identity()


def test_flag_has_column_name_and_options():
    spec = EncoderSpec.parse("my-col=builtin:text?dim=64&a=b&dtype=float32&normalize=1")
    assert (spec.column, spec.modality) == ("my-col", "text")
    assert (spec.scheme, spec.name) == ("builtin", "text")
    assert spec.options == (("dim", "64"), ("a", "b"))
    assert (spec.dtype, spec.normalize) == ("float32", True)


def test_modality_comes_from_column_or_flag():
    assert EncoderSpec.parse("image=hf:org/model@main").modality == "image"
    spec = EncoderSpec.parse("caption:text=hf:org/model")
    assert (spec.column, spec.modality, spec.name) == ("caption", "text", "org/model")
    with pytest.raises(MmfeatError, match="Write it as in caption:text=hf:org/model"):
        EncoderSpec.parse("caption=hf:org/model")
    with pytest.raises(MmfeatError, match="must name the modality of column 'x'"):
        EncoderSpec.parse("x:smell=hf:org/model")


@pytest.mark.parametrize("text", ["", "=builtin:text", "../x=builtin:text", "a/b=builtin:text"])
def test_column_name_cannot_leave_the_output_directory(text):
    with pytest.raises(MmfeatError, match="COLUMN=SCHEME:NAME"):
        EncoderSpec.parse(text)


@pytest.mark.parametrize("text", ["image=clip", "clip", "image:clip", "text=st:", "image=hf"])
def test_an_encoder_without_a_scheme_is_shown_the_schemes_and_an_example(text):
    with pytest.raises(MmfeatError) as caught:
        EncoderSpec.parse(text)
    assert ", ".join(f"{scheme}:" for scheme in SCHEMES) in str(caught.value)
    assert "image=builtin:image" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("text=builtn:text", "Did you mean builtin:"),
        ("text=ftp:x", f"Schemes: {', '.join(f'{scheme}:' for scheme in SCHEMES)}"),
        ("text=builtin:text?dtype=int8", "dtype must be one of float16, float32; got 'int8'"),
        ("text=builtin:text?normalize=yes", "normalize must be one of 0, 1"),
    ],
)
def test_wrong_flag_is_one_line(text, message):
    with pytest.raises(MmfeatError) as caught:
        EncoderSpec.parse(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("text=builtin:texd", "Did you mean builtin:text?"),
        (
            "text=builtin:image",
            "builtin:image encodes image; got 'text'. Choose an encoder of text",
        ),
        ("text=builtin:text?dmi=3", "Did you mean 'dim'?"),
        ("text=builtin:text?dim=x", "dim must be a number from 64"),
    ],
)
def test_wrong_encoder_is_one_line(text, message):
    with pytest.raises(MmfeatError) as caught:
        EncoderSpec.parse(text).load()
    assert message in str(caught.value)


MY_MODULE = """
from mmfeat.errors import MmfeatError


def broken(name, modality, options, settings):
    raise ValueError("oh no")


def refusing(name, modality, options, settings):
    raise MmfeatError("no such size")


def load(name, modality, options, settings):
    return name
"""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("my_encoders:broken", "--encoder text=my_encoders:broken: ValueError: oh no. Repair it"),
        ("my_encoders:refusing", "no such size"),
        ("my_encoders:load", "must return an mmfeat.encoders.Encoder; got 'str'"),
        ("my_encoders:laod", "the module my_encoders has no 'laod'. Did you mean 'load'?"),
        ("my_encodres:load", "If my_encodres is a module of yours, add its folder to PYTHONPATH"),
    ],
)
def test_an_error_of_a_users_function_is_one_line(name, message, tmp_path, monkeypatch):
    (tmp_path / "my_encoders.py").write_text(MY_MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MmfeatError) as caught:
        EncoderSpec.parse(f"text={name}").load()
    assert message in str(caught.value)


def test_modality_without_builtin_encoder():
    assert builtin_for("smell") is None
    assert builtin_for("text") == EncoderSpec("text", "text", "builtin", "text")
