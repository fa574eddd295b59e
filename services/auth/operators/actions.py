"""The record of what operators do: what is about to be done is recorded before, and what became of it after.

Nothing that is recorded ever changes. An action without an outcome is one of which nobody has heard again: its process
ended, or the database was away.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from services.auth.labels import MAX_LABEL_LENGTH
from services.auth.operators.sessions import OperatorSessions
from services.common.clock import Clock, system_clock, to_ms
from services.common.errors import Code, MeshError

OUTCOMES = ("done", "refused", "unknown")
_MAX_TEXT_LENGTH = 1000
_MOST_ACTIONS = 1000
_ACTION_ID = re.compile(r"act_[0-9a-f]{24}")
_ACTION = re.compile(r"[a-z_]{1,64}")


@dataclass(frozen=True, slots=True)
class Action:
    """What was about to be done. `at_ms` is in milliseconds since the Unix epoch."""

    id: str
    at_ms: int
    # Empty for a management command.
    operator_id: str
    operator_name: str
    action: str
    subject: str
    detail: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an action; one of OUTCOMES. `ended_at_ms` is in milliseconds since the Unix epoch."""

    action_id: str
    ended_at_ms: int
    outcome: str
    message: str


class RecordedAction(NamedTuple):
    """A line of the record; its number grows from line to line."""

    number: int
    action: Action
    outcome: Outcome | None


@dataclass(frozen=True, slots=True)
class ActionFilter:
    """Which actions are wanted; what is empty matches everything."""

    operator_name: str = ""
    action: str = ""
    subject: str = ""


class ActionStore(Protocol):
    """Where the record is kept. Every method raises MeshError UNAVAILABLE while that cannot be reached."""

    async def insert_action(self, action: Action) -> None:
        """Appends an action; nothing happens if there is one with this ID."""

    async def insert_outcome(self, outcome: Outcome) -> None:
        """Appends an outcome; nothing happens if the action has one. Raises MeshError NOT_FOUND without the action."""

    async def list_actions(self, wanted: ActionFilter, before: int, limit: int) -> Sequence[RecordedAction]:
        """Returns actions, newest first; with `before`, only those with a lower number."""


class ActionRecord:
    """Records actions and reads the record."""

    def __init__(self, store: ActionStore, sessions: OperatorSessions, *, clock: Clock = system_clock) -> None:
        self._store = store
        self._sessions = sessions
        self._clock = clock

    async def begin(self, action_id: str, session_token: str, action: str, subject: str, detail: str) -> None:
        """Records what an operator is about to do; whose session it is says who that is.

        Raises MeshError UNAUTHENTICATED if the session has ended, and INVALID_REQUEST for a wrong ID or name of action.
        """
        operator = (await self._sessions.find(session_token)).operator
        await self._insert(action_id, operator.id, operator.name, action, subject, detail)

    async def begin_command(self, action_id: str, user: str, action: str, subject: str, detail: str) -> None:
        """Records what somebody is about to do by a management command; raises MeshError INVALID_REQUEST."""
        await self._insert(action_id, "", _printable(user, MAX_LABEL_LENGTH), action, subject, detail)

    async def end(self, action_id: str, outcome: str, message: str) -> None:
        """Records what became of an action; raises MeshError NOT_FOUND, and INVALID_REQUEST for a wrong outcome."""
        if outcome not in OUTCOMES:
            raise MeshError(Code.INVALID_REQUEST, f"The outcome must be one of {', '.join(OUTCOMES)}.", param="outcome")
        await self._store.insert_outcome(
            Outcome(action_id, to_ms(self._clock()), outcome, _printable(message, _MAX_TEXT_LENGTH))
        )

    async def list(self, wanted: ActionFilter, page_size: int, page_token: str) -> tuple[Sequence[RecordedAction], str]:
        """Returns a page of actions, newest first, and the token of the next page; raises MeshError INVALID_REQUEST."""
        if page_token and not (page_token.isascii() and page_token.isdigit() and len(page_token) <= 18):
            raise MeshError(
                Code.INVALID_REQUEST, "The page_token is none that a page has returned.", param="page_token"
            )
        size = min(page_size or 100, _MOST_ACTIONS)
        # One more tells whether another page follows.
        found = await self._store.list_actions(wanted, int(page_token or 0), size + 1)
        return found[:size], str(found[size - 1].number) if len(found) > size else ""

    async def _insert(
        self, action_id: str, operator_id: str, operator_name: str, action: str, subject: str, detail: str
    ) -> None:
        if not _ACTION_ID.fullmatch(action_id) or not _ACTION.fullmatch(action):
            raise MeshError(Code.INVALID_REQUEST, "The ID or the name of the action has not the right form.")
        # What is recorded says what was tried, even if the service that is asked then refuses such text.
        subject, detail = _printable(subject, MAX_LABEL_LENGTH), _printable(detail, _MAX_TEXT_LENGTH)
        now_ms = to_ms(self._clock())
        await self._store.insert_action(Action(action_id, now_ms, operator_id, operator_name, action, subject, detail))


def _printable(text: str, length: int) -> str:
    """Returns the beginning of a text, with spaces in place of what cannot be shown."""
    return "".join(character if character.isprintable() else " " for character in text[:length])
