"""Runs a command that must not outlive the process that started it: `python launcher.py PARENT_PID COMMAND …`.

It asks the kernel (Linux only) to be killed when its parent dies, and becomes the command, which keeps that wish. A
child of `tiermesh up` thus ends even if `up` is killed with SIGKILL. Doing the same between fork and exec inside `up`
would run Python code in a copy of a process with threads, which may deadlock.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Replaces this process by the command."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # The parent may have died before it was watched.
        if os.getppid() != parent:
            sys.exit(1)
    try:
        os.execv(command[0], command)  # noqa: S606 - there is no shell, and the command is not input
    except OSError as error:
        sys.exit(f"cannot run {command[0]}: {error.strerror}")


if __name__ == "__main__":
    main()
