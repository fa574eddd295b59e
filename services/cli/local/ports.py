"""Free ports on this machine's loopback address."""

from __future__ import annotations

import errno
import random
import socket
import sys
import time
from itertools import islice

from services.cli.errors import CliError

HOST = "127.0.0.1"
LOCALHOST = "localhost"

# The kernel gives outgoing connections ports from 32768 on (49152 on macOS). A port below stays free while the process
# that listens on it is restarted.
_RANGE = range(20_000, 32_000)
# A mesh that was killed a moment ago may need this long to vanish, in seconds.
_PATIENCE = 1.0
_POLL_SECONDS = 0.05
# What keeps other meshes from the ports of this process, which listens on them only later and not while it restarts
# a service. The kernel closes them with the process.
_reservations: list[socket.socket] = []


def why_taken(port: int) -> OSError | None:
    """Returns what would keep a server from listening on the port now, or None; a port that just closed is free."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            return error
    return None


def wait_until_free(port: int, option: str = "--port", patience: float = _PATIENCE) -> None:
    """Returns when a server can listen on the port; raises CliError after `patience` seconds.

    `option` is the one that chooses another port.
    """
    deadline = time.monotonic() + patience
    while (reason := why_taken(port)) is not None:
        if reason.errno != errno.EADDRINUSE:
            raise CliError(f"Cannot listen on port {port}: {reason.strerror}. Choose another port with {option}.")
        if time.monotonic() > deadline:
            raise CliError(f"Another program uses port {port}. Choose another port with {option}.")
        time.sleep(_POLL_SECONDS)


def free_ports(count: int, randomness: random.Random) -> list[int]:
    """Returns so many different free ports; raises CliError if there are not enough.

    They are chosen at random and, on Linux, reserved until this process ends: no other call of this function returns
    them, in any process, so that meshes that start together do not collide.
    """
    candidates = randomness.sample(_RANGE, len(_RANGE) if count <= len(_RANGE) else 0)
    found = list(islice((port for port in candidates if why_taken(port) is None and _reserve(port)), count))
    if len(found) < count:
        raise CliError(
            f"Fewer than {count} ports from {_RANGE.start} to {_RANGE.stop - 1} are free. Stop programs that use them."
        )
    return found


def _reserve(port: int) -> bool:
    """Reserves a port among meshes; returns False if another has done so."""
    if sys.platform != "linux":
        return True
    # A name in the abstract namespace belongs to no folder; only one socket of the machine can have it.
    reservation = socket.socket(socket.AF_UNIX)
    try:
        reservation.bind(f"\0tiermesh-port-{port}")
    except OSError:
        reservation.close()
        return False
    _reservations.append(reservation)
    return True
