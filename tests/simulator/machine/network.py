"""The network between processes: connections that deliver in order, as late as the seed says, until they break.

A connection is two pipes. What goes into a pipe comes out in the same order, each after a delay of its own; pipes know
nothing of one another. A direction between two processes can be held up for a while, and then everything comes at once.
A connection can be cut, which loses what is under way. A process that dies ends its connections: either all that it has
sent still arrives, or nothing more does.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextvars import Context
from functools import partial
from typing import Any, Protocol

from tests.simulator.machine.loop import Process, VirtualLoop

# Seconds that a message takes, at least; mostly not much more.
_LEAST, _USUAL, _LONG = 0.0002, 0.002, 0.05


class Receiver(Protocol):
    """What stands at one end of a connection."""

    def received(self, item: Any) -> None:
        """Takes the next message."""

    def lost(self) -> None:
        """Hears that the connection is gone; it is the last thing it hears."""


Accept = Callable[["End"], Receiver]


class End:
    """One end of a connection. What is sent on a connection that is gone goes nowhere."""

    def __init__(self, network: Network, process: Process, context: Context) -> None:
        self.process = process
        self.peer: End
        self.receiver: Receiver | None = None
        self.closed = False
        self._network = network
        self._context = context
        self._last = 0.0

    def send(self, item: Any) -> None:
        """Sends a message to the other end."""
        if not self.closed and not self.process.dead:
            self._arrive(partial(self.peer._take, item))

    def close(self) -> None:
        """Ends the connection from this side; what was sent before arrives."""
        if not self.closed and not self.process.dead:
            self.closed = True
            self._arrive(self.peer._lose)

    def die(self, *, orderly: bool) -> None:
        """Ends the connection because its process is dead."""
        self.closed = True
        if orderly:
            self._arrive(self.peer._lose)
        else:
            self.cut()

    def cut(self) -> None:
        """Breaks the connection: what is under way is lost, in both directions, and both ends hear of it."""
        for end in (self, self.peer):
            end.closed = True
            end._last = float("inf")
            network = self._network
            end._schedule(network.loop.now + network.delay(end.peer.process.name, end.process.name), end._lose)

    def _arrive(self, what: Callable[[], None]) -> None:
        network = self._network
        self._last = max(self._last, network.loop.now + network.delay(self.process.name, self.peer.process.name))
        if self._last < float("inf"):
            self.peer._schedule(self._last, what)

    def _schedule(self, when: float, what: Callable[[], None]) -> None:
        self._network.loop.call_at(when, _Message(what), context=self._context)

    def _take(self, item: Any) -> None:
        if self.receiver is not None and not self.closed:
            self.receiver.received(item)

    def _lose(self) -> None:
        self.closed = True
        receiver, self.receiver = self.receiver, None
        self._network.forget(self)
        if receiver is not None:
            receiver.lost()


class _Message:
    """Marks for the loop that this is no timer: a process that is stopped finds it in its socket."""

    __slots__ = ("_what",)
    is_message = True

    def __init__(self, what: Callable[[], None]) -> None:
        self._what = what

    def __call__(self) -> None:
        self._what()


class Network:
    """All connections. `chance` decides every delay."""

    def __init__(self, loop: VirtualLoop, chance: random.Random) -> None:
        self.loop = loop
        self._chance = chance
        self._listening: dict[str, tuple[Process, Accept]] = {}
        self._ends: dict[End, None] = {}
        # Until when each direction is held up, on the loop's clock.
        self._held: dict[tuple[str, str], float] = {}
        # How long messages take beyond the usual: a mesh can have one bad link.
        self.slow: dict[tuple[str, str], float] = {}

    def delay(self, source: str, target: str) -> float:
        """Draws how long a message takes, in seconds."""
        chance = self._chance
        most = _LONG if chance.random() < 0.02 else _USUAL
        seconds = chance.uniform(_LEAST, most) + chance.random() * self.slow.get((source, target), 0.0)
        until = self._held.get((source, target))
        return seconds if until is None else max(0.0, until - self.loop.now) + seconds

    def hold(self, source: str, target: str, seconds: float) -> None:
        """Holds up what a process sends to another one, for so long."""
        self._held[source, target] = self.loop.now + seconds

    def release(self) -> None:
        """Holds up nothing any more, from now on."""
        self._held.clear()
        self.slow.clear()

    def listen(self, address: str, process: Process, accept: Accept) -> None:
        """Has `accept` take every connection to an address."""
        self._listening[address] = process, accept

    def stop_listening(self, address: str, process: Process) -> None:
        """Refuses connections to an address, if it still belongs to the process."""
        if address in self._listening and self._listening[address][0] is process:
            del self._listening[address]

    def connect(self, process: Process, address: str, receiver: Receiver) -> End:
        """Connects; the receiver is told at once that it is lost if nobody listens there."""
        target, accept = self._listening.get(address, (None, None))
        mine = End(self, process, process.context.copy())
        theirs = End(self, target or self.loop.world, (target or self.loop.world).context.copy())
        mine.peer, theirs.peer = theirs, mine
        mine.receiver = receiver
        if target is None or target.dead or accept is None:
            mine.closed = True
            mine._schedule(self.loop.now + self.delay("nobody", process.name), mine._lose)
            return mine
        self._ends[mine] = self._ends[theirs] = None
        mine._arrive(partial(self._accept, theirs, accept))
        return mine

    def _accept(self, end: End, accept: Accept) -> None:
        if not end.closed:
            end.receiver = accept(end)

    def is_cut(self, end: End) -> bool:
        """Whether a connection was cut, so that nothing under way arrives."""
        return end._last == float("inf")

    def forget(self, end: End) -> None:
        """Drops a connection that is gone."""
        self._ends.pop(end, None)

    def cut(self, one: str, other: str) -> None:
        """Cuts every connection between two processes."""
        for end in list(self._ends):
            if (end.process.name, end.peer.process.name) == (one, other) and not self.is_cut(end):
                end.cut()

    def bury(self, process: Process, *, killed: bool) -> None:
        """Ends the connections of a process that was killed or has ended, and its addresses."""
        for end in list(self._ends):
            if end.process is process:
                self.forget(end)
                end.die(orderly=not killed or self._chance.random() < 0.5)
        for address in [address for address, (owner, _) in self._listening.items() if owner is process]:
            del self._listening[address]
