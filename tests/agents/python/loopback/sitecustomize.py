"""Keeps a Python program on this machine's loopback addresses, and writes down where else it wanted to go.

Python imports a module of this name by itself when it starts, out of PYTHONPATH. The packages of the program need not
know it, and their own sockets cannot avoid it.
"""

from __future__ import annotations

import ipaddress
import os
import sys
from pathlib import Path
from typing import Any

# The file that each attempt is added to, one in a line.
VARIABLE = "TIERMESH_TEST_ATTEMPTS"
# Where nothing listens: the tests name it as the proxy, for what a program would fetch by one.
PROXY = ("127.0.0.1", 9)


def _outside(host: object) -> bool:
    if isinstance(host, bytes):
        host = host.decode(errors="replace")
    # Without a name, a program asks for addresses of its own.
    if not isinstance(host, str) or host in ("", "localhost"):
        return False
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return True
    return not (address.is_loopback or address.is_unspecified)


def _stay_here(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple):
        host = "the proxy" if arguments[1][:2] == PROXY else arguments[1][0]
    else:
        return
    if _outside(host):
        with Path(os.environ[VARIABLE]).open("a") as attempts:
            attempts.write(f"{event} {host}\n")
        raise OSError(f"the tests have no network, so {host} cannot be reached")


sys.addaudithook(_stay_here)
# It looks names up without Python's sockets, unseen. Programs that would use it have the loop of the standard library.
sys.modules["uvloop"] = None  # type: ignore[assignment] # This is how Python marks what cannot be imported.
