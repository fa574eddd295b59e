"""What figures depend on beside the code."""

from __future__ import annotations

import os
import platform
import sysconfig


def describe_machine() -> str:
    """Returns one line about the interpreter, the cores and how busy they are now."""
    options = sysconfig.get_config_var("CONFIG_ARGS") or ""
    built = "with" if "--enable-optimizations" in options else "without"
    busy = ", ".join(f"{load:.1f}" for load in os.getloadavg())
    return (
        f"{platform.python_implementation()} {platform.python_version()}, built {built} profile-guided optimisation; "
        f"{os.cpu_count()} cores; load averages {busy}"
    )
