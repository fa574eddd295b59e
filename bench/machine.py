"""What figures depend on beside the code. `python -m bench.machine` prints the part about the interpreter."""

from __future__ import annotations

import os
import platform
import subprocess
import sysconfig
from collections.abc import Callable
from typing import Any

from bench.cost import Load, running_relay
from bench.mesh import HERE

_RELAYED = Load(requests=2000, in_flight=32)


def header() -> str:
    """Returns the line that each bench begins with: the machine, and what the bare relay costs on it now."""
    with running_relay() as relay:
        relay.client.send(_RELAYED.order(relay.url, "none", _RELAYED.requests // 10))
        cost = relay.measure(_RELAYED)
    return f"{describe_machine()}; the bare relay costs {cost:.3f} CPU-ms of a unary request"


def describe_machine() -> str:
    """Returns one line about the interpreter, the cores and how busy they are now."""
    busy = ", ".join(f"{load:.1f}" for load in os.getloadavg())
    return f"{describe_interpreter()}; {os.cpu_count()} cores; load averages {busy}"


def describe_interpreter(build: Callable[[str], Any] = sysconfig.get_config_var) -> str:
    """Returns the version of this interpreter and how it was built; `build` looks up what its build has recorded."""
    return f"{platform.python_implementation()} {platform.python_version()}, {_optimisation(build)}"


def describe_other(python: str) -> str:
    """Returns the same of the interpreter at a path, or of that name; raises OSError and CalledProcessError."""
    done = subprocess.run([python, "-m", "bench.machine"], cwd=HERE, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def _optimisation(build: Callable[[str], Any]) -> str:
    if "--enable-optimizations" in (build("CONFIG_ARGS") or ""):
        return "built with profile-guided optimisation"
    # Every build from the sources records these options, whether it uses them or not. A distribution that runs the
    # steps of the optimisation by itself, as Debian does, records none, so that no extension is built with them.
    if build("PGO_PROF_USE_FLAG"):
        return "built without profile-guided optimisation"
    return "whose build does not record profile-guided optimisation"


if __name__ == "__main__":
    print(describe_interpreter())
