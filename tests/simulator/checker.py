"""Compares what clients saw with the ledger, by the charge table of docs/architecture.md."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tests.chaos.ledger_view import Books, HoldRow
from tests.chaos.record import End, Record
from tests.simulator.hit import Hit
from tests.simulator.mesh import CREDITS_OF, EDGE_SETTINGS, PREFILL_SPEED, REQUEST_TIMEOUT, SPEED
from tests.simulator.plan import CREDITS, PRICE, PROMPTS

NOTHING, PAID, EITHER = frozenset({0}), frozenset({PRICE}), frozenset({0, PRICE})
# Seconds that the edge may take to notice that a client has left, while nothing is wrong with it or its link.
_NOTICED = 0.2
# Runners end an answer so long before the time limit of its request, in seconds.
_LEAD = 1.0
# Seconds that a request takes at most while nothing is wrong, with the wait for a slot, beyond those of its tokens.
_QUICK = 2.6
_ENDS_OF_EDGE = {"kill", "drain"}


class Checker:
    """Checks one run after everything has come to rest."""

    def __init__(self, books: Books, hits: Sequence[Hit], answers: Sequence[str]) -> None:
        """`answers` are the longest ones to each prompt."""
        self._books = books
        self._hits = hits
        self._answers = [answer.split() for answer in answers]

    def check(self, records: Sequence[Record]) -> Iterable[str]:
        """Yields everything that is wrong."""
        for record in records:
            rows = self._books.holds.get(record.key_id, [])
            for wrong in (*self._money(record, rows), *self._content(record), *self._manners(record)):
                yield f"{wrong}\n  {record}\n  {rows}"
        yield from self._balances()

    def _money(self, record: Record, rows: list[HoldRow]) -> Iterable[str]:
        row = rows[0] if rows else None
        charged = sum(self._books.charged(each.request_id) for each in rows)
        allowed = self._allowed(record, row)
        if charged not in allowed:
            yield f"wrong charge: {charged}, allowed are {sorted(allowed)}"
        if len(rows) > 1:
            yield f"one request has {len(rows)} holds"
        if any(each.state == "open" for each in rows):
            yield "the hold was never ended"
        if record.end is End.COMPLETE:
            due = 0 if record.plan.empty else PRICE
            if record.charged_at_end != due:
                yield f"the ledger had charged {record.charged_at_end} when the end was seen"
            if record.receipt != due:
                yield f"the response says that {record.receipt} were charged"

    def _allowed(self, record: Record, row: HoldRow | None) -> frozenset[int]:
        if record.end is End.COMPLETE:
            return NOTHING if record.plan.empty else PAID
        if record.end is End.LEFT or self._cut_off_by_network(record):
            return self._allowed_left(record, row)
        if record.end is End.BROKEN:
            return self._allowed_broken(record)
        # An error is free, unless its edge died before it could take back a charge that it had not heard of
        # (docs/decisions/0006).
        return EITHER if self._edge_ended(record.sent) else NOTHING

    def _allowed_left(self, record: Record, row: HoldRow | None) -> frozenset[int]:
        least = len(PROMPTS[record.plan.prompt].split()) / PREFILL_SPEED
        if record.ended - record.sent < least and record.pieces == 0 and not self._late(record):
            # No token can have been there when the edge noticed.
            return NOTHING
        if record.pieces == 0 or record.plan.empty:
            return EITHER
        if row is not None and row.outcome == "expired" and self._edge_ended(record.sent):
            # Nobody is left who knows how it ended.
            return EITHER
        return EITHER if self._disturbed(record) else PAID

    def _allowed_broken(self, record: Record) -> frozenset[int]:
        """An edge that ends takes the answer with it: free, unless only the end of it was lost."""
        if record.plan.empty or not self._killed("edge", record.sent):
            return NOTHING
        complete = record.text.split() == self._answers[record.plan.prompt][: record.plan.max_tokens]
        if not record.plan.stream:
            return EITHER
        return EITHER if complete or record.plan.pause or self._late(record) else NOTHING

    def _content(self, record: Record) -> Iterable[str]:
        words, expected = record.text.split(), self._answers[record.plan.prompt][: record.plan.max_tokens]
        if record.plan.empty:
            expected = []
        at_limit = record.finish_reason == "length" and record.ended - record.sent > REQUEST_TIMEOUT - _LEAD - 0.5
        if words != expected[: len(words)]:
            yield f"the text differs from {expected}"
        elif record.end is End.COMPLETE and words != expected and not at_limit:
            yield f"the text is too short: {expected}"
        if record.end is End.COMPLETE and record.finish_reason != ("stop" if record.plan.empty else "length"):
            yield f"the answer ended with {record.finish_reason}"

    def _manners(self, record: Record) -> Iterable[str]:
        yield from record.oddities
        if self._quiet(record) and not record.plan.pause:
            if record.end not in {End.COMPLETE, End.LEFT} and record.status != 402:
                yield "it failed although nothing was wrong"
            elif record.ended - record.sent > _quick(record):
                yield "it took long although nothing was wrong"
        if record.end in {End.STUCK, End.UNKNOWN}:
            yield "no decided end came in time"
        if record.end is End.BROKEN and not (self._cut_off_by_network(record) or self._edge_ended(record.sent)):
            yield "the connection broke although the edge lived"
        poor = record.plan.account == len(CREDITS) - 1
        if record.end is End.REFUSED and record.status not in ({402, 503} if poor else {503}):
            yield f"refused with status {record.status}"

    def _quiet(self, record: Record) -> bool:
        """Whether nothing was wrong until the request was to be over."""
        return all(hit.began > record.sent + _quick(record) for hit in self._hits)

    def _cut_off_by_network(self, record: Record) -> bool:
        """Whether the connection was cut, or a client that could not read was disconnected: to the edge, it left."""
        return record.end is End.BROKEN and any(
            hit.kind == "cut" or (hit.kind == "hold" and hit.ended - hit.began >= EDGE_SETTINGS.unread_seconds)
            for hit in self._hits
            if {"clients", "edge"} == {hit.target, hit.other} and hit.ended >= record.sent
        )

    def _edge_ended(self, since: float) -> bool:
        return any(hit.target == "edge" and hit.kind in _ENDS_OF_EDGE and hit.ended >= since for hit in self._hits)

    def _killed(self, target: str, since: float) -> bool:
        return any(hit.target == target and hit.kind == "kill" and hit.ended >= since for hit in self._hits)

    def _late(self, record: Record) -> bool:
        """Whether the edge may hear late of what its client does."""
        return any(
            hit.began <= record.ended + _NOTICED and hit.ended >= record.sent
            for hit in self._hits
            if "edge" in {hit.target, hit.other}
        )

    def _disturbed(self, record: Record) -> bool:
        return any(hit.began <= record.ended + _NOTICED and hit.ended >= record.sent for hit in self._hits)

    def _balances(self) -> Iterable[str]:
        spent: dict[str, int] = {}
        for rows in self._books.holds.values():
            for row in rows:
                spent[row.account_id] = spent.get(row.account_id, 0) + self._books.charged(row.request_id)
        for account, (available, held) in self._books.balances.items():
            expected = CREDITS_OF[account] - spent.get(account, 0)
            if (available, held) != (expected, 0):
                yield f"{account} has {available}, and {held} held, instead of {expected} and 0"


def _quick(record: Record) -> float:
    """Returns the seconds that a request takes at most while nothing is wrong."""
    return _QUICK + (record.plan.max_tokens or 0) / SPEED
