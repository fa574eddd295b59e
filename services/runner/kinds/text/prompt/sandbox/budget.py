"""What one rendering of a chat template may take: processor time, the size of a value, and the size of all values."""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterator, KeysView, Mapping, Set, ValuesView
from typing import Any

from jinja2 import TemplateError

# Returns the processor time of this thread, in seconds.
ProcessorClock = Callable[[], float]

TIME = 1.0
# The size of a value that every template may make, in characters.
SIZE = 1 << 20
# Templates write what they are given several times longer: JSON may take six characters for one.
_TIMES_INPUT = 8
# All values of a rendering together, in multiples of the largest value.
_VALUES = 32
# What a number, or the object around a text, counts as.
_ATOM = 8
# The clock costs more than an addition, so it is read once in this many steps.
_STEPS = 32
# Larger values take time themselves, so the clock is read for each.
_LARGE = 1 << 14
_CONTAINERS = (list, tuple, Set, KeysView, ValuesView)


class TemplateLimitError(TemplateError):
    """A rendering took too long or made values that are too large."""


class Budget:
    """The budget of one rendering.

    The bounds grow with what the template is given, so that a long conversation is never refused for its length. The
    input is measured only when a value passes the size that every template may make.
    """

    def __init__(self, clock: ProcessorClock, given: Any = ()) -> None:
        self._clock = clock
        # The time counts from the first look at the clock: most conversations are written before there is one.
        self._end: float | None = None
        self._given = given
        self._measured = False
        self._size: float = SIZE
        self._all: float = SIZE * _VALUES
        self._steps = 0
        self._spent = 0
        # The sizes of containers, by identity. The containers are kept, so that no other one gets their identity.
        self._known: dict[int, tuple[int, Any]] = {}

    def step(self) -> None:
        """Counts one step of the template; raises TemplateLimitError if it has taken too long."""
        self._steps += 1
        if not self._steps % _STEPS:
            self._check_time()

    def admit(self, size: int) -> None:
        """Raises TemplateLimitError if a value of this size must not be made."""
        if size > self._size and size > self._measured_size():
            raise TemplateLimitError("a value is too large")

    def spend(self, size: int) -> None:
        """Counts a value that is made; raises TemplateLimitError if it, or all of them, are too large."""
        self._spent += size + _ATOM
        if size > _LARGE:
            self.admit(size)
            self._check_time()
        if self._spent > self._all and self._spent > self._measured_size() * _VALUES:
            raise TemplateLimitError("all values together are too large")

    def size(self, value: Any) -> int:
        """Returns about how many characters it takes to write a value; raises TemplateLimitError if they are too many.

        It takes no longer than the bound allows, however often the same container is in others.
        """
        if isinstance(value, str):
            return len(value) + _ATOM
        if isinstance(value, (Mapping, ItemsView, *_CONTAINERS)):
            return self._container_size(value)
        return _ATOM + (value.bit_length() // 3 if isinstance(value, int) else 0)

    def metered(self, values: Iterator[Any]) -> Iterator[Any]:
        """Yields values, whose sizes together are bounded as that of one value is."""
        size = 0
        for value in values:
            self.step()
            size += self.size(value)
            self.admit(size)
            yield value

    def _container_size(self, container: Any) -> int:
        known = self._known.get(id(container))
        if known is not None:
            return known[0]
        size = _ATOM
        if isinstance(container, Mapping):
            for key, value in container.items():
                size += self.size(key) + self.size(value)
                self.admit(size)
        else:
            for value in container:
                size += self.size(value)
                self.admit(size)
        if len(self._known) > SIZE // _LARGE:
            self._known.clear()
        self._known[id(container)] = size, container
        return size

    def _measured_size(self) -> float:
        """Returns the largest size that a value may have, from the size of the input."""
        if not self._measured:
            self._measured = True
            self._size = float("inf")
            given = self.size(self._given)
            self._size = max(SIZE, _TIMES_INPUT * given)
            self._all = self._size * _VALUES
        return self._size

    def _check_time(self) -> None:
        now = self._clock()
        if self._end is None:
            self._end = now + TIME
        elif now > self._end:
            raise TemplateLimitError("the template takes too long")
