"""What figures depend on beside the code."""

from __future__ import annotations

import os
import platform
import sysconfig

from bench.cost import Load, running_relay

_RELAYED = Load(requests=2000, in_flight=32)


def header() -> str:
    """Returns the line that each bench begins with: the machine, and what the bare relay costs on it now."""
    with running_relay() as relay:
        relay.client.send(_RELAYED.order(relay.url, "none", _RELAYED.requests // 10))
        cost = relay.measure(_RELAYED)
    return f"{describe_machine()}; the bare relay costs {cost:.3f} CPU-ms of a unary request"


def describe_machine() -> str:
    """Returns one line about the interpreter, the cores and how busy they are now."""
    options = sysconfig.get_config_var("CONFIG_ARGS") or ""
    built = "with" if "--enable-optimizations" in options else "without"
    busy = ", ".join(f"{load:.1f}" for load in os.getloadavg())
    return (
        f"{platform.python_implementation()} {platform.python_version()}, built {built} profile-guided optimisation; "
        f"{os.cpu_count()} cores; load averages {busy}"
    )
