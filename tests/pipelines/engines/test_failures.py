from pipelines.engines.failures import last_line

RPC = """Traceback (most recent call last):
grpc.RpcError: <_InactiveRpcError of RPC that terminated with:
	status = StatusCode.UNAVAILABLE
	details = "failed to connect to all addresses"
	debug_error_string = "UNKNOWN: Failed to connect {grpc_status:14}"
>
"""


def test_the_reason_is_the_last_line_that_says_something():
    assert last_line("a\n\nValueError: b\n  \n") == "ValueError: b"
    assert last_line("IOException: x\n\tat a.B.c(D.java:5)\n\t... 3 more\n") == "IOException: x"
    assert last_line(RPC) == "failed to connect to all addresses"
    assert last_line("") == ""
