"""No runner in this process opens a port to the network."""

import sys
import time
from ipaddress import ip_address
from types import ModuleType

import psutil
import pytest

from mmfeat.errors import MmfeatError
from pipelines.engines import beam_options, loopback, make_pipeline
from tests.pipelines.test_portable import PORTABLE


def is_loopback(host):
    address = ip_address(host)
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def listening_addresses(process):
    """Return the addresses on which a process and its children listen until it ends."""
    addresses, root = set(), psutil.Process(process.pid)
    while process.poll() is None:
        try:
            for each in [root, *root.children(recursive=True)]:
                sockets = each.net_connections(kind="inet")
                addresses |= {tuple(s.laddr) for s in sockets if s.status == psutil.CONN_LISTEN}
        except psutil.Error:
            continue  # a process has ended
        time.sleep(0.005)
    return addresses


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "least"),
    [
        ((), 0),
        (PORTABLE, 5),
        (("--direct_running_mode=multi_threading", "--direct_num_workers=2"), 4),
    ],
    ids=["default", "portable", "threads"],
)
def test_every_port_of_a_run_is_on_the_loopback_interface(
    mmfeat_process, toy_table, tmp_path, flags, least
):
    arguments = ("shard", toy_table, tmp_path / "out", "--samples-per-shard", 2, *flags)
    process = mmfeat_process(*arguments)
    addresses = listening_addresses(process)
    assert process.wait() == 0, process.stdout.read()
    assert len({port for _, port in addresses}) >= least
    assert [host for host, _ in addresses if not is_loopback(host)] == []


@pytest.mark.parametrize(
    ("address", "bound"),
    [
        ("[::]:0", "localhost:0"),
        ("0.0.0.0:8099", "localhost:8099"),
        ("localhost:0", "localhost:0"),
        ("10.0.0.7:50000", "10.0.0.7:50000"),
    ],
)
def test_only_addresses_of_all_interfaces_are_replaced(address, bound):
    assert loopback._loopback_address(address) == bound


def test_servers_of_other_code_are_left_alone():
    import grpc

    loopback.bind_to_loopback()
    assert not isinstance(sys.modules["grpc"], loopback._LoopbackGrpc)
    server = grpc.server(None)
    assert "add_insecure_port" not in vars(server)


def test_a_beam_that_starts_its_servers_in_another_way_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "other_beam", ModuleType("other_beam"))
    monkeypatch.setattr(loopback, "_SERVER_MODULES", ("other_beam",))
    with pytest.raises(MmfeatError, match="must keep the servers of Apache Beam off the network"):
        loopback.bind_to_loopback()


@pytest.mark.parametrize("runner", ["PrismRunner", "FnApiRunner", "PortableRunner"])
def test_a_runner_that_opens_a_port_to_the_network_is_named(capfd, runner):
    make_pipeline(beam_options([f"--runner={runner}"]))
    assert ("on all network interfaces" in capfd.readouterr().err) == (runner == "PrismRunner")
