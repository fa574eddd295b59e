"""Loopback addresses that stay free while a server is down, so that it can come back on the same one."""

from __future__ import annotations

import random
import socket

# The kernel gives outgoing connections ports from 32768 on; nothing takes one below by accident.
_PORTS = range(12_000, 20_000)


def free_address() -> str:
    """Returns a free `127.0.0.1:port`."""
    return next(f"127.0.0.1:{port}" for port in random.sample(_PORTS, 100) if _is_free(port))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
