"""Keep the servers that Beam starts in this process off the network.

Beam's servers have no passwords, and its worker pool runs the code that it is sent. In a process
that runs a pipeline they listen on all interfaces, although only processes of the same machine are
told their ports, as `localhost:PORT`. No option of Beam changes that.
"""

import importlib
from typing import Any

from mmfeat.errors import MmfeatError

_SERVER_MODULES = (
    "apache_beam.runners.portability.abstract_job_service",
    "apache_beam.runners.portability.fn_api_runner.worker_handlers",
    "apache_beam.runners.portability.local_job_service",
    "apache_beam.runners.worker.worker_pool_main",
)
"""Modules of Beam that start servers with their import of `grpc`."""

_ALL_INTERFACES = ("[::]", "0.0.0.0")  # noqa: S104 - they are replaced


def bind_to_loopback() -> None:
    """Let the servers of Beam in this process listen on the loopback interface alone.

    Raises:
        MmfeatError: this version of Beam starts its servers in another way.
    """
    for name in _SERVER_MODULES:
        module: Any = importlib.import_module(name)
        if not hasattr(module, "grpc"):
            raise MmfeatError(
                f"mmfeat must keep the servers of Apache Beam off the network, and {name} of this "
                "version starts them in another way",
                cure="Install the version of Apache Beam in constraints.txt",
            )
        if not isinstance(module.grpc, _LoopbackGrpc):
            module.grpc = _LoopbackGrpc(module.grpc)


class _LoopbackGrpc:
    """The package `grpc`, except that its servers listen on the loopback interface."""

    def __init__(self, grpc: Any) -> None:
        self._grpc = grpc

    def __getattr__(self, name: str) -> Any:
        return getattr(self._grpc, name)

    def server(self, *arguments: Any, **options: Any) -> Any:
        """Return a server. Arguments as in `grpc.server`."""
        server = self._grpc.server(*arguments, **options)
        add_port = server.add_insecure_port
        server.add_insecure_port = lambda address: add_port(_loopback_address(address))
        return server


def _loopback_address(address: str) -> str:
    host, separator, port = address.rpartition(":")
    return f"localhost{separator}{port}" if host in _ALL_INTERFACES else address
