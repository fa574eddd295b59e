"""Adds, lists and removes operators."""

from __future__ import annotations

import secrets
from typing import Protocol

from services.auth.labels import RandomBytes
from services.auth.operators.operator import Operator, new_operator
from services.common.clock import Clock, system_clock, to_ms


class OperatorStore(Protocol):
    """Where operators are kept. Every method raises MeshError UNAVAILABLE while that cannot be reached."""

    async def insert_operator(self, operator: Operator) -> None:
        """Keeps a new operator; raises MeshError CONFLICT if there is or was one with this name."""

    async def list_operators(self) -> list[Operator]:
        """Returns every operator, oldest first."""

    async def remove_operator(self, id_or_name: str, now_ms: int) -> Operator:
        """Marks an operator as removed unless that is done, and forgets its sessions; raises MeshError NOT_FOUND."""


class Operators:
    """The operators of the mesh. `prefix` is part of their keys."""

    def __init__(
        self,
        store: OperatorStore,
        prefix: str,
        *,
        clock: Clock = system_clock,
        random: RandomBytes = secrets.token_bytes,
    ) -> None:
        self._store = store
        self._prefix = prefix
        self._clock = clock
        self._random = random

    async def create(self, name: str) -> tuple[str, Operator]:
        """Adds an operator and returns its key, which nobody can ask for again.

        Raises MeshError INVALID_REQUEST for a name that cannot be shown, and CONFLICT for one that is or was in use.
        """
        key, operator = new_operator(name, self._prefix, to_ms(self._clock()), self._random)
        await self._store.insert_operator(operator)
        return key, operator

    async def list(self) -> list[Operator]:
        """Returns every operator, oldest first."""
        return await self._store.list_operators()

    async def remove(self, id_or_name: str) -> Operator:
        """Makes an operator's key useless and ends its sessions; raises MeshError NOT_FOUND."""
        return await self._store.remove_operator(id_or_name, to_ms(self._clock()))
