"""One record with all that a store knows of it."""

import html
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from mmfeat.api.display import facts_html, facts_text
from mmfeat.errors import RecordError
from mmfeat.records import modality_of_slot

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, repr=False)
class Record:
    """One record.

    Attributes:
        key: its `__key__`.
        values: column → value of the samples table or of the predictions, `status` and `reason`
            included.
        members: slot → the bytes of its image, text or sound; empty if the store has none.
        features: column → float16 or float32, shape (dim,), or (tokens, dim); None if it has none.
    """

    key: str
    values: Mapping[str, Any] = field(default_factory=dict)
    members: Mapping[str, bytes] = field(default_factory=dict)
    features: Mapping[str, np.ndarray | None] = field(default_factory=dict)

    @property
    def status(self) -> str:
        """`ok`, `partial` or `failed`."""
        return str(self.values["status"])

    @property
    def reason(self) -> str | None:
        """Why the record lacks a part, or None."""
        return self.values.get("reason")

    @property
    def texts(self) -> dict[str, str]:
        """Slot → text."""
        return {
            slot: content.decode("utf-8", "replace")
            for slot, content in self.members.items()
            if modality_of_slot(slot) == "text"
        }

    @property
    def image(self) -> "Image | None":
        """The image of the slot `image`, upright, or None. `image_of` decodes other slots.

        Raises:
            RecordError: it cannot be decoded.
        """
        return self.image_of("image")

    def image_of(self, slot: str) -> "Image | None":
        """Return the image of a slot such as `image.back`, upright, or None.

        Raises:
            RecordError: it cannot be decoded.
        """
        from mmfeat.media import load_image

        content = self.members.get(slot)
        return None if content is None else load_image(content)

    def __getitem__(self, name: str) -> Any:
        """Return a value by its column."""
        return self.values[name]

    @property
    def _facts(self) -> dict[str, Any]:
        shapes = {
            f"feature {name}": "none" if array is None else f"{array.shape} {array.dtype}"
            for name, array in self.features.items()
        }
        sizes = {
            slot: f"{len(content):,} bytes"
            for slot, content in self.members.items()
            if modality_of_slot(slot) != "text"
        }
        values = {name: value for name, value in self.values.items() if name != "__key__"}
        return {**values, **self.texts, **sizes, **shapes}

    def __repr__(self) -> str:
        return facts_text(f"record {self.key}", self._facts)

    def _repr_html_(self) -> str:
        return self._thumbnail() + facts_html(f"record {self.key}", self._facts)

    def _thumbnail(self) -> str:
        import base64

        try:
            image = self.image
        except RecordError as error:
            return f"<p>{html.escape(str(error))}</p>"
        if image is None:
            return ""
        buffer = io.BytesIO()
        image.convert("RGB").resize(_fit(image.size)).save(buffer, "JPEG", quality=85)
        content = base64.b64encode(buffer.getvalue()).decode()
        return f'<img alt="" src="data:image/jpeg;base64,{content}">'


def _fit(size: tuple[int, int], side: int = 240) -> tuple[int, int]:
    """Return the size of an image whose longer side is at most `side` pixels."""
    scale = min(1.0, side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
