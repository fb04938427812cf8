"""What can be read while training runs: log.jsonl, a line an epoch, and scalars for TensorBoard."""

import importlib.util
import json
from collections.abc import Mapping
from typing import Any

from mmfeat.errors import MmfeatError
from mmfeat.store import files

LOG = "log.jsonl"
TENSORBOARD = "tensorboard"


def check_tensorboard() -> None:
    """Check that scalars can be written.

    Raises:
        MmfeatError: the package is not installed.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise MmfeatError(
            "--tensorboard needs the package tensorboard",
            got="no such package",
            cure="pip install 'mmfeat[tensorboard]'",
        )


def line_of(choice: Mapping[str, float], entry: Mapping[str, Any]) -> str:
    """A line of log.jsonl: what the candidate tries, and an epoch of it."""
    return (
        json.dumps({f"tried_{name}": value for name, value in choice.items()} | dict(entry)) + "\n"
    )


class Journal:
    """Writes down each epoch as it ends.

    A run that goes on with a killed one tells the epochs that are behind it again, so the journal
    begins anew each time.

    Args:
        output: the model's directory.
        tensorboard: whether to write scalars into its folder `tensorboard` too; local only.
    """

    def __init__(self, output: str, *, tensorboard: bool = False) -> None:
        self._path = files.join(output, LOG)
        self._local = files.is_local(output)
        self._lines: list[str] = []
        self._scalars = files.join(output, TENSORBOARD) if tensorboard else ""
        self._writers: dict[str, Any] = {}
        files.remove(self._path)
        if self._scalars:
            files.remove(self._scalars)

    def tell(self, choice: Mapping[str, float], entry: Mapping[str, Any]) -> None:
        """Write an epoch down.

        Args:
            choice: name and value of what the candidate tries.
            entry: of the epoch.
        """
        line = line_of(choice, entry)
        if self._local:
            with open(files.filesystem(self._path)[1], "a") as file:
                file.write(line)
        else:  # an object cannot grow
            self._lines.append(line)
            with files.create(self._path) as output:
                output.write("".join(self._lines).encode())
        if self._scalars:
            self._tell_tensorboard(choice, entry)

    def close(self) -> None:
        """Write out the scalars that are not written yet."""
        for writer in self._writers.values():
            writer.close()

    def _tell_tensorboard(self, choice: Mapping[str, float], entry: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        name = ",".join(f"{key}={value:g}" for key, value in choice.items())
        if name not in self._writers:
            folder = files.filesystem(files.join(self._scalars, name))[1]
            self._writers[name] = SummaryWriter(folder)
        for key, value in entry.items():
            if key != "epoch" and value is not None:
                self._writers[name].add_scalar(key, value, entry["epoch"])
        self._writers[name].flush()
