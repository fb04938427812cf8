"""The engines that run pipelines: Beam's options for them, and checks that they can run one."""

from pipelines.engines.beam_options import (
    EngineOptions,
    beam_options,
    is_dataflow,
    is_local,
    make_pipeline,
)
from pipelines.engines.checks import Check, check_engine, engine_checks
from pipelines.engines.failures import explain_failure
from pipelines.engines.probe import check_workers, has_remote_workers
from pipelines.engines.runners import LOCAL_RUNNER
from pipelines.engines.worker_check import COMPARED

__all__ = [
    "COMPARED",
    "LOCAL_RUNNER",
    "Check",
    "EngineOptions",
    "beam_options",
    "check_engine",
    "check_workers",
    "engine_checks",
    "explain_failure",
    "has_remote_workers",
    "is_dataflow",
    "is_local",
    "make_pipeline",
]
