"""Metrics during training: log.jsonl with one line per epoch, and TensorBoard scalars."""

import importlib.util
import json
from collections.abc import Mapping
from typing import Any

from mmfeat.errors import MmfeatError
from mmfeat.storage import files
from mmfeat.system import install_command

LOG = "log.jsonl"
TENSORBOARD = "tensorboard"


def check_tensorboard() -> None:
    """Check that TensorBoard is installed.

    Raises:
        MmfeatError: it is not.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise MmfeatError(
            "--tensorboard needs the package tensorboard",
            got="no such package",
            cure=f"Install it with: {install_command('tensorboard')}",
        )


def format_line(choice: Mapping[str, float], metrics: Mapping[str, Any]) -> str:
    """Return a line of log.jsonl: the candidate's settings and the metrics of an epoch."""
    tried = {f"tried_{name}": value for name, value in choice.items()}
    return json.dumps(tried | dict(metrics)) + "\n"


class MetricsLog:
    """Writes the metrics of each epoch.

    A resumed run logs its earlier epochs again, so the log starts empty each time.

    Args:
        output: the model's directory.
        tensorboard: whether to write scalars to the local folder `tensorboard` in it.
    """

    def __init__(self, output: str, *, tensorboard: bool = False) -> None:
        self._path = files.join(output, LOG)
        self._is_local = files.is_local(output)
        self._lines: list[str] = []
        self._tensorboard = files.join(output, TENSORBOARD) if tensorboard else ""
        self._writers: dict[str, Any] = {}
        files.remove(self._path)
        if self._tensorboard:
            files.remove(self._tensorboard)

    def log_metrics(self, choice: Mapping[str, float], metrics: Mapping[str, Any]) -> None:
        """Log an epoch.

        Args:
            choice: the candidate's settings, by name.
            metrics: metrics of the epoch.
        """
        line = format_line(choice, metrics)
        if self._is_local:
            with open(files.filesystem(self._path)[1], "a") as file:
                file.write(line)
        else:  # objects do not support appends
            self._lines.append(line)
            with files.create(self._path) as output:
                output.write("".join(self._lines).encode())
        if self._tensorboard:
            self._write_scalars(choice, metrics)

    def close(self) -> None:
        """Flush and close the TensorBoard writers."""
        for writer in self._writers.values():
            writer.close()

    def _write_scalars(self, choice: Mapping[str, float], metrics: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        name = ",".join(f"{key}={value:g}" for key, value in choice.items())
        if name not in self._writers:
            folder = files.filesystem(files.join(self._tensorboard, name))[1]
            self._writers[name] = SummaryWriter(folder)
        for key, value in metrics.items():
            if key != "epoch" and value is not None:
                self._writers[name].add_scalar(key, value, metrics["epoch"])
        self._writers[name].flush()
