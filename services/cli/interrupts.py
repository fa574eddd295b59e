"""Ctrl-C and SIGTERM: the first asks for an orderly end, the second for an immediate one."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

# SIGHUP comes when the terminal is closed.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """Sets `first` at the first signal and calls `on_second` at each later one."""

    def __init__(self, on_second: Callable[[], None]) -> None:
        self.first = asyncio.Event()
        self.repeated = False
        self._on_second = on_second

    def listen(self) -> None:
        """Takes the signals over from Python, which would raise KeyboardInterrupt at any place."""
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self.receive)

    def receive(self) -> None:
        """Notes one signal."""
        if self.first.is_set():
            self.repeated = True
            self._on_second()
        self.first.set()
