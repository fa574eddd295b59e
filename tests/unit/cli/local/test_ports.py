from __future__ import annotations

import random
import socket
import sys
from collections.abc import Iterator

import pytest

from services.cli.errors import CliError
from services.cli.local.ports import HOST, free_ports, wait_until_free, why_taken


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_free_ports_are_free_different_and_below_those_of_outgoing_connections() -> None:
    ports = free_ports(12, random.Random(1))
    assert len(set(ports)) == 12
    assert all(why_taken(port) is None and port < 32_768 for port in ports)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can reserve a port without listening on it")
def test_meshes_that_start_together_get_different_ports() -> None:
    # With the same randomness, another process would choose the same ones.
    assert set(free_ports(12, random.Random(2))).isdisjoint(free_ports(12, random.Random(2)))


def test_too_many_ports_are_refused() -> None:
    with pytest.raises(CliError, match="Fewer than 20000 ports"):
        free_ports(20_000, random.Random(1))


def test_a_taken_port_is_explained(taken: int) -> None:
    with pytest.raises(CliError, match=rf"^Another program uses port {taken}\. Choose another port with --port\.$"):
        wait_until_free(taken, patience=0)


def test_a_port_that_was_just_closed_is_free() -> None:
    # A connection that the server closed first leaves the port in TIME_WAIT.
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, 0))
        listener.listen()
        port = listener.getsockname()[1]
        client = socket.create_connection((HOST, port))
        accepted, _ = listener.accept()
        accepted.close()
        client.close()
    wait_until_free(port, patience=0)
