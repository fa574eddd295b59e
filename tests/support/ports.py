"""Loopback addresses that stay free while a server is down, so that it can come back on the same one."""

from __future__ import annotations

import itertools
import random
import socket
import sys
from functools import cache

# The kernel gives outgoing connections ports from 32768 on, and `tiermesh up` takes ports from 20000 on.
# No other process takes a port below those by accident.
_PORTS = range(12_000, 20_000)
# Test processes that run at the same time share no port: each claims one of these parts for its life.
_PARTS = 16


def free_address() -> str:
    """Returns a free `127.0.0.1:port`, and the same one again only after all others of this process."""
    return next(f"127.0.0.1:{port}" for port in _ports().turns if _is_free(port))


class _OwnPorts:
    """The ports that only this process gives out, in turns."""

    def __init__(self) -> None:
        self._claim, ports = _claimed_part()
        self.turns = itertools.cycle(random.sample(ports, len(ports)))


@cache
def _ports() -> _OwnPorts:
    return _OwnPorts()


def _claimed_part() -> tuple[socket.socket | None, range]:
    """Returns a part of the ports, and what keeps others from taking it for as long as it is open."""
    for part in range(_PARTS) if sys.platform == "linux" else ():
        # A name in Linux's abstract namespace, which the kernel frees when the process ends, however it ends.
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0tiermesh-test-ports-{part}")
        except OSError:
            claim.close()
        else:
            return claim, _PORTS[part::_PARTS]
    return None, _PORTS


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
