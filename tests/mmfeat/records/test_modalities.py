import io

import pytest
import soundfile
from PIL import Image

from mmfeat.media.audio import check_audio
from mmfeat.media.images.decode import FORMATS
from mmfeat.records.modalities import MODALITIES, modality_of_extension, slot_of_extension

HEADERLESS = {"RAW", "SD2"}
ANY_DATA = {"MAT4", "MAT5"}


def test_each_extension_of_a_decoded_image_format_is_an_image():
    Image.init()
    extensions = {
        extension.removeprefix(".")
        for extension, format in Image.EXTENSION.items()
        if format in FORMATS
    }
    assert {"jfif", "jpe", "mpo", "psd", "apng", "qoi"} <= extensions
    others = {extension for extension in extensions if modality_of_extension(extension) != "image"}
    assert others == set()
    # Pillow opens MPO as JPEG.
    assert FORMATS - Image.OPEN.keys() == {"MPO"}


@pytest.mark.parametrize("format", sorted(soundfile.available_formats()))
def test_each_audio_format_that_is_decoded_has_an_extension(format):
    if format in HEADERLESS | ANY_DATA:
        assert format not in MODALITIES["audio"].formats
        return
    file = io.BytesIO()
    rate = 8000 if format == "WVE" else 44_100
    subtype = {"HTK": "PCM_16", "WVE": "ALAW", "XI": "DPCM_16"}.get(format)
    soundfile.write(file, [0.0] * 3000, rate, format=format, subtype=subtype)
    assert modality_of_extension(check_audio(file.getvalue(), decode=True).extension) == "audio"


def test_no_extension_has_two_modalities():
    extensions = [e for modality in MODALITIES.values() for e in {*modality.extensions}]
    assert len(extensions) == len(set(extensions))
    assert all(extension == extension.lower() for extension in extensions)


def test_a_format_gives_its_usual_extension():
    image = MODALITIES["image"]
    assert [image.extension_of(f) for f in ("JPEG", "JPEG2000", "")] == ["jpeg", "jp2", "img"]
    assert slot_of_extension("left.jfif") == "image.left"
