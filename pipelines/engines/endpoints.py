"""Whether a job server or a master answers, within seconds."""

import socket

import grpc
from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc

from mmfeat.errors import MmfeatError

SECONDS = 10.0
"""Time that a server has to answer."""


def ask_job_server(endpoint: str) -> str:
    """Ask a job server for the options of its jobs, as every submission does first.

    Args:
        endpoint: `HOST:PORT` of the job server.

    Raises:
        MmfeatError: it does not answer in time, or is no job server of Beam.
    """
    _split(endpoint, "--job_endpoint")
    request = beam_job_api_pb2.DescribePipelineOptionsRequest()
    with grpc.insecure_channel(endpoint) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=SECONDS)
            stub = beam_job_api_pb2_grpc.JobServiceStub(channel)
            stub.DescribePipelineOptions(request, timeout=SECONDS)
        except (grpc.FutureTimeoutError, grpc.RpcError) as error:
            raise MmfeatError(
                "the job server of --job_endpoint must answer",
                got=endpoint,
                cure=f"{_explain(error)}. Start the job server, or correct the address",
            ) from error
    return f"a job server answers at {endpoint}"


def _explain(error: Exception) -> str:
    if not isinstance(error, grpc.RpcError):
        return f"It has not answered in {SECONDS:g} s"
    code = error.code()
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return "What answers there is no job server of Beam"
    return f"It answers {code.name}: {(error.details() or '').splitlines()[:1]}"


def connect(address: str, option: str) -> str:
    """Open a connection to a server and close it.

    Args:
        address: `HOST:PORT`, or a URL such as `spark://HOST:PORT`.
        option: the option that names it, for the error.

    Raises:
        MmfeatError: nothing listens there, or it does not answer in time.
    """
    host, port = _split(address, option)
    try:
        socket.create_connection((host, port), timeout=SECONDS).close()
    except OSError as error:
        raise MmfeatError(
            f"the server of {option} must answer",
            got=address,
            cure=f"{error.strerror or error}. Start it, or correct the address",
        ) from error
    return f"{address} accepts connections"


def _split(address: str, option: str) -> tuple[str, int]:
    host, _, port = address.rpartition("://")[2].rstrip("/").rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise MmfeatError(f"{option} must be HOST:PORT", got=address)
    return host.strip("[]"), int(port)
