"""Remember the settings that autotuning chose, so that the next store does not measure again.

The folder `mmfeat/tuning` in the cache of the user has one small JSON file per encoder, hardware
and request. A file that is damaged, or that does not have the expected type, counts as missing.
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from mmfeat.encoders import Encoder, Settings
from mmfeat.errors import DamagedFileError
from mmfeat.extraction.tuning.settings import TunedSettings
from mmfeat.storage import check_value, files, read_intact_document
from mmfeat.store import json_digest
from mmfeat.version import __version__

FOLDER_VARIABLE = "MMFEAT_CACHE"
"""Environment variable with the cache folder of mmfeat. Empty = remember nothing."""

_MAX_FILES = 200
"""The oldest files beyond this number are removed."""

_MAX_BYTES = 1 << 16

_ENTRY = "tuned"


@dataclass(frozen=True)
class TuningCache:
    """The settings that were measured on this machine.

    Attributes:
        folder: where they are; empty = nowhere.
        reads: whether to use them. They are written in any case.
    """

    folder: str
    reads: bool = True

    @classmethod
    def of_user(cls, *, reads: bool = True) -> Self:
        """Return the cache of the user."""
        base = os.environ.get(FOLDER_VARIABLE)
        if base is None:
            home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
            base = os.path.join(home, "mmfeat")
        return cls(os.path.join(base, "tuning") if os.path.isabs(base) else "", reads)

    def find(self, key: str) -> TunedSettings | None:
        """Return the settings of a key; None if there are none that can be used."""
        if not self.folder or not self.reads or not key:
            return None
        path = self._path(key)
        with suppress(OSError):
            if os.path.isfile(path):  # a pipe would wait for a writer
                entry = read_intact_document(path, dict[str, Any], _MAX_BYTES)
                return _parse(entry, path) if entry else None
        return None

    def keep(self, key: str, tuned: TunedSettings) -> None:
        """Remember settings. It does not matter whether that works."""
        if not self.folder or not key:
            return
        with suppress(OSError):
            os.makedirs(self.folder, mode=0o700, exist_ok=True)
            files.write_json(self._path(key), {_ENTRY: asdict(replace(tuned, memory_limit=None))})
            self._remove_oldest()

    def _path(self, key: str) -> str:
        return os.path.join(self.folder, f"{key}.json")

    def _remove_oldest(self) -> None:
        found = [*Path(self.folder).glob("*.json")]
        if len(found) <= _MAX_FILES:
            return
        for path in sorted(found, key=_changed)[:-_MAX_FILES]:
            path.unlink(missing_ok=True)


def tuning_key(encoder: Encoder, settings: Settings, batch_size: int, records: int) -> str:
    """Return a digest of all that the best settings depend on, but the content of the records.

    Args:
        encoder: as loaded, before anything was measured.
        settings: the requested settings.
        batch_size: the requested batch size; 0 = measure it.
        records: records of the column. Its magnitude counts: the more, the more is measured.

    Returns:
        Empty if the encoder does not say what it runs on.
    """
    if not encoder.hardware:
        return ""
    facts: Mapping[str, Any] = {
        "mmfeat": __version__,
        "encoder": encoder.identity(),
        "hardware": encoder.hardware,
        "settings": asdict(settings),
        "batch_size": batch_size,
        "magnitude": records.bit_length() // 2,
    }
    return json_digest(facts)


def _parse(entry: Mapping[str, Any], path: str) -> TunedSettings | None:
    try:
        tuned = check_value(entry.get(_ENTRY), TunedSettings, path)
        # column.json stores the measurements: NaN and lone surrogates are no valid JSON.
        json.dumps(tuned.measured, allow_nan=False, ensure_ascii=False).encode()
    except (DamagedFileError, ValueError):
        return None
    return replace(tuned, measured={**tuned.measured, "remembered": True})


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # another process has removed it
        return 0.0
