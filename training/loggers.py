"""Loggers of other packages: TensorBoard, Weights & Biases, MLflow. Each candidate is a run."""

import importlib.util
import os
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from mmfeat.errors import MmfeatError
from mmfeat.storage import files
from mmfeat.system import install_command

PROJECT = "mmfeat"
"""Project of W&B and experiment of MLflow, unless their variables name another one."""

_PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow-skinny"}
"""Logger, which is also its module → the package to install."""


class RunLogger(Protocol):
    """Writes the metrics of one candidate."""

    def log_metrics(self, metrics: Mapping[str, float], epoch: int) -> None:
        """Write the metrics of an epoch."""

    def close(self) -> None:
        """End the run."""


def check_logger(name: str) -> None:
    """Check that a logger can be used; an empty name is none.

    Raises:
        MmfeatError: its package is not installed, or W&B has no account to write to.
    """
    if name and importlib.util.find_spec(name) is None:
        raise MmfeatError(
            f"--logger {name} needs the package {_PACKAGES[name]}",
            got="no such package",
            cure=f"Install it with: {install_command(_PACKAGES[name])}",
        )
    if name == "wandb" and "WANDB_MODE" not in os.environ:
        import wandb

        if not wandb.api.api_key:
            raise MmfeatError(
                "--logger wandb needs an account",
                got="no key",
                cure="Log in with: wandb login. Or log to the disk: WANDB_MODE=offline",
            )


def start_logger(name: str, output: str, choice: Mapping[str, Any]) -> RunLogger:
    """Start the run of a candidate.

    Args:
        name: `tensorboard`, `wandb` or `mlflow`.
        output: the model's directory.
        choice: the candidate's settings, by name.

    Raises:
        MmfeatError: the logger cannot write.
    """
    try:
        return _LOGGERS[name](output, choice)
    except Exception as error:  # each package has errors of its own
        raise MmfeatError(
            f"--logger {name} cannot start a run: {type(error).__name__}: {error}",
            cure="Repair that, or train without --logger: log.jsonl has the same metrics",
        ) from error


def choice_text(choice: Mapping[str, Any]) -> str:
    """Return the settings of a candidate as a name: `lr=0.001`."""
    return ",".join(
        f"{key}={value}" if isinstance(value, str) else f"{key}={value:g}"
        for key, value in choice.items()
    )


class _TensorBoardLogger:
    """Scalars in OUTPUT/tensorboard, a local folder."""

    def __init__(self, output: str, choice: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder = files.join(output, "tensorboard", choice_text(choice))
        self._writer = SummaryWriter(files.filesystem(folder)[1])

    def log_metrics(self, metrics: Mapping[str, float], epoch: int) -> None:
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, epoch)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class _WandbLogger:
    """A run of W&B in the group of the output. Its variables, such as WANDB_MODE, are used."""

    def __init__(self, output: str, choice: Mapping[str, Any]) -> None:
        import wandb

        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            group=output,
            name=f"{os.path.basename(output.rstrip('/'))} {choice_text(choice)}",
            config={"output": output, **choice},
            dir=files.filesystem(output)[1] if files.is_local(output) else None,
            reinit="create_new",
            settings=wandb.Settings(silent=True),
        )

    def log_metrics(self, metrics: Mapping[str, float], epoch: int) -> None:
        self._run.log(dict(metrics), step=epoch)

    def close(self) -> None:
        self._run.finish()


class _MlflowLogger:
    """A run of MLflow at MLFLOW_TRACKING_URI, by default in OUTPUT/mlruns, a local folder."""

    def __init__(self, output: str, choice: Mapping[str, Any]) -> None:
        from mlflow import MlflowClient

        # Newer versions want a database; a folder needs no packages for one.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        folder = f"file:{os.path.abspath(files.filesystem(files.join(output, 'mlruns'))[1])}"
        self._client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI", folder))
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        found = self._client.get_experiment_by_name(name)
        experiment = found.experiment_id if found else self._client.create_experiment(name)
        run = self._client.create_run(experiment, run_name=choice_text(choice))
        self._id = run.info.run_id
        for key, value in {"output": output, **choice}.items():
            self._client.log_param(self._id, key, value)

    def log_metrics(self, metrics: Mapping[str, float], epoch: int) -> None:
        for name, value in metrics.items():
            self._client.log_metric(self._id, name, value, step=epoch)

    def close(self) -> None:
        self._client.set_terminated(self._id)


_LOGGERS: dict[str, Callable[[str, Mapping[str, float]], RunLogger]] = {
    "tensorboard": _TensorBoardLogger,
    "wandb": _WandbLogger,
    "mlflow": _MlflowLogger,
}
