"""Leave out members that kill the process that encodes them, before an encoder is tuned with them.

Autotuning runs in the main process. If a run died in it, the next one tries each member in a worker
process first.
"""

from collections.abc import Sequence
from contextlib import suppress

from mmfeat.encoders import Encoder, EncoderSpec, Settings
from mmfeat.system import WorkerDiedError, WorkerPool, worker_pool

_TRIES = 2
"""Deaths after which a member is left out."""

_encoders: list[Encoder] = []
"""In a worker process: the encoder."""


def drop_deadly_members(
    spec: EncoderSpec, settings: Settings, members: Sequence[bytes]
) -> list[bytes]:
    """Return the members that can be encoded without the death of the process.

    Args:
        spec: the encoder.
        settings: its settings.
        members: media bytes.
    """
    with worker_pool(
        1, preload=[__name__], initializer=_load_encoder, initargs=(spec, settings)
    ) as pool:
        return [member for member in members if not _is_deadly(pool, member)]


def _is_deadly(pool: WorkerPool, member: bytes) -> bool:
    for _ in range(_TRIES):
        try:
            pool.submit(_encode, member).result()
        except WorkerDiedError:
            continue
        return False
    return True


def _load_encoder(spec: EncoderSpec, settings: Settings) -> None:
    _encoders.append(spec.load(settings))


def _encode(member: bytes) -> None:
    with suppress(Exception):  # extraction reports it
        _encoders[0].encode([_encoders[0].decode(member)])
