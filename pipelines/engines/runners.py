"""The values of `--runner`, and settings of Beam that mmfeat refuses."""

from collections.abc import Mapping
from typing import Any

from mmfeat.errors import MmfeatError, did_you_mean

LOCAL_RUNNER = "FnApiRunner"
"""The default runner. It runs the pipeline in this process."""

PRISM, FLINK, SPARK = "PrismRunner", "FlinkRunner", "SparkRunner"
DATAFLOW, PORTABLE = "DataflowRunner", "PortableRunner"

CHOICES = ("local", "Prism", "Flink", "Spark", "Dataflow", "Portable")
"""Values of `--runner`, without aliases."""

_RUNNERS = {
    "local": LOCAL_RUNNER,
    "fnapi": LOCAL_RUNNER,
    "direct": LOCAL_RUNNER,
    "bundlebaseddirect": LOCAL_RUNNER,
    "switchingdirect": LOCAL_RUNNER,
    "prism": PRISM,
    "flink": FLINK,
    "spark": SPARK,
    "dataflow": DATAFLOW,
    "portable": PORTABLE,
}
"""Name in lower case, without `Runner` → the runner of Beam. The aliases of the local runner would
first download a binary of another one."""

_REFUSED = {
    "dask": "it computes only the last transform of a pipeline",
    "interactive": "it keeps the results of all transforms in memory",
    "render": "it draws a pipeline and runs nothing",
}

_REFUSED_SETTINGS = {
    ("direct_running_mode", "multi_processing"): (
        "the run never ends if one of its workers dies",
        "Leave it out. `mmfeat shard --processes N` starts processes that may die",
    ),
    ("streaming", True): ("a stage ends when all its shards are made", "Leave it out"),
}
"""Option and value → why it is refused, and the cure."""


def find_runner(name: str) -> str:
    """Return Beam's name of a runner.

    Args:
        name: as typed: `Flink`, `flink`, `FlinkRunner` or the path of Beam's class.

    Raises:
        MmfeatError: it is not one of the runners that the stages are tested on.
    """
    module, _, base = name.rpartition(".")
    word = base.lower().removesuffix("runner")
    if word in _RUNNERS and (not module or module.startswith("apache_beam.")):
        return _RUNNERS[word]
    if reason := _REFUSED.get(word):
        raise MmfeatError(
            f"--runner={name} cannot be used: {reason}", cure=f"Use {', '.join(CHOICES)}"
        )
    raise MmfeatError(
        f"--runner must be one of: {', '.join(CHOICES)}",
        got=name,
        cure=did_you_mean(base, CHOICES) or "Other runners are not tested",
    )


def refuse_settings(options: Mapping[str, Any]) -> None:
    """Refuse settings of Beam with which a stage does not end, or ends with other bytes.

    Args:
        options: all options of Beam: name → value.

    Raises:
        MmfeatError: one of them is refused.
    """
    for (name, value), (reason, cure) in _REFUSED_SETTINGS.items():
        if options.get(name) == value:
            setting = f"--{name}" if value is True else f"--{name}={value}"
            raise MmfeatError(f"{setting} cannot be used: {reason}", cure=cure)
