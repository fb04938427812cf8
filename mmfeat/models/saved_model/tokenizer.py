"""The tokens of a model that describes: MODEL/tokenizer.json.

The file may be damaged or hostile: its size is checked before it is read, then its digest, and
`read_bpe` accepts nothing but a byte-level BPE.
"""

import hashlib
from typing import Any

from mmfeat.errors import DamagedFileError
from mmfeat.models.architecture import Architecture
from mmfeat.models.decoder.text_codec import (
    MAX_TOKENIZER_BYTES,
    TOKENIZER,
    TextCodec,
    read_bpe,
    read_pretrained,
)
from mmfeat.models.tasks import Describe
from mmfeat.storage import files
from mmfeat.store import RecordedFile

_CURE = "Copy the model again, or remove its directory and train again"


def save_tokenizer(folder: str, codec: TextCodec) -> RecordedFile:
    """Write tokenizer.json and return its size and digests."""
    with files.create(files.join(folder, TOKENIZER)) as output:
        output.write(codec.document)
    return output.info()


def read_tokenizer(
    folder: str, info: RecordedFile, task: Describe, architecture: Architecture
) -> Describe:
    """Return the task with the tokens of the model.

    Args:
        folder: where tokenizer.json is.
        info: bytes and sha256 that it must have, as the manifest records them.
        task: the task, which has its sha256, too.
        architecture: the layers, which have its number of tokens.

    Raises:
        DamagedFileError: the file is missing, too large, has other bytes, or does not fit.
    """
    path = files.join(folder, TOKENIZER)
    size = files.size(path)
    if size is None or size != info["bytes"] or size > MAX_TOKENIZER_BYTES:
        rule = f"{path} must have the {info['bytes']:,} bytes of its manifest"
        raise _damaged(f"{rule}, at most {MAX_TOKENIZER_BYTES:,}", size)
    with files.open_input(path) as file:
        data = file.read(MAX_TOKENIZER_BYTES + 1)
    digest = hashlib.sha256(data).hexdigest()
    if digest != info["sha256"] or digest != task.tokenizer:
        raise _damaged(f"{path} must have the sha256 {task.tokenizer[:12]}…", f"{digest[:12]}…")
    decoder = architecture.decoder
    if decoder is None or architecture.outputs != task.outputs:
        raise _damaged(f"the model of {path} must have a decoder", None)
    if decoder.max_length != task.max_length:
        raise _damaged("the decoder must have the maximum length of its task", decoder.max_length)
    special = {name: getattr(decoder, name) for name in ("pad", "bos", "eos")}
    is_own = decoder.language_model is None
    codec = read_bpe(data, path) if is_own else read_pretrained(data, special, path)
    needed = {name: getattr(codec, name) for name in special}
    if special != needed or codec.size > decoder.vocabulary:
        raise _damaged(f"the decoder must have the {codec.size:,} tokens of {path}", special)
    return task.with_codec(codec)


def _damaged(rule: str, got: Any) -> DamagedFileError:
    return DamagedFileError(rule, got=got, cure=_CURE)
