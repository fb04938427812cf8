"""Decode images whose pixels alone count, without their tags. Common JPEGs skip Pillow's plugin.

The plugin reads the header in Python, which holds the lock of the interpreter for longer than all
else: threads that decode wait for each other. The decoder below it, libjpeg, does not.
"""

from PIL import Image

from mmfeat.media.images.decode import MAX_PIXELS, load_plain_image
from mmfeat.media.images.image_size import read_jpeg_frame

_SCALES = (8, 4, 2)
"""Divisors of the size that libjpeg decodes to, as in Pillow's draft mode."""


def load_pixels(data: bytes, *, draft: int | None = None) -> Image.Image:
    """Return the image that `load_plain_image` returns, without its tags; arguments as there.

    Raises:
        RecordError: `undecodable` or `too_large`.
    """
    image = _decode_common_jpeg(data, draft)
    return load_plain_image(data, draft=draft) if image is None else image


def _decode_common_jpeg(data: bytes, draft: int | None) -> Image.Image | None:
    """Return the pixels of a JPEG without EXIF or color tables; None for any other file.

    Also None if the decoder complains: Pillow then says what is wrong.
    """
    frame = read_jpeg_frame(data)
    if frame is None or frame.width * frame.height > MAX_PIXELS:
        return None
    scale = 1
    if draft:
        largest = min(frame.width // draft, frame.height // draft)
        scale = next((scale for scale in _SCALES if scale <= largest), 1)
    size = (-(-frame.width // scale), -(-frame.height // scale))
    mode = "L" if frame.channels == 1 else "RGB"
    try:
        return Image.frombytes(mode, size, data, "jpeg", mode, "", scale, 0)
    except Exception:  # incomplete or damaged
        return None
