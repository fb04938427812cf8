"""The machine and the terminal: console, progress, processes, threads, external sort."""

from mmfeat.system.console import make_console, print_err, print_out, show_summary, show_table
from mmfeat.system.entry import Main, quiet_import, run_main
from mmfeat.system.external_sort import RUN_BYTES, external_sort
from mmfeat.system.filesystem import canonical_protocol, filesystem, is_http, is_url, protocols
from mmfeat.system.fork_server import start_fork_server
from mmfeat.system.memory import peak_memory_mb
from mmfeat.system.os_errors import explain_os_error, explain_storage_error, is_storage_error
from mmfeat.system.packages import install_command
from mmfeat.system.processes import (
    WorkerDiedError,
    WorkerPool,
    WorkerStartError,
    worker_pool,
)
from mmfeat.system.progress import ProgressBar, waiting_for
from mmfeat.system.scratch import scratch_folder
from mmfeat.system.threads import default_threads, ordered_map

__all__ = [
    "RUN_BYTES",
    "Main",
    "ProgressBar",
    "WorkerDiedError",
    "WorkerPool",
    "WorkerStartError",
    "canonical_protocol",
    "default_threads",
    "explain_os_error",
    "explain_storage_error",
    "external_sort",
    "filesystem",
    "install_command",
    "is_http",
    "is_storage_error",
    "is_url",
    "make_console",
    "ordered_map",
    "peak_memory_mb",
    "print_err",
    "print_out",
    "protocols",
    "quiet_import",
    "run_main",
    "scratch_folder",
    "show_summary",
    "show_table",
    "start_fork_server",
    "waiting_for",
    "worker_pool",
]
