"""Compares every record with the ledger: the charge table of DESIGN §2, as strictly as a client can know it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.chaos.faults.fault import RUNNERS, UPSTREAMS, Hit, Kind, overlapping
from tests.chaos.ledger_view import Books, HoldRow
from tests.chaos.plan import CREDITS, MOST_TOKENS, PROMPTS
from tests.chaos.record import End, Record
from tests.chaos.world import PREFILL_SPEED, REQUEST_TIMEOUT, SPEED

PRICE = 10
NOTHING, PAID, EITHER = frozenset({0}), frozenset({PRICE}), frozenset({0, PRICE})
# How long an edge may take to notice that a client has left, generously.
_NOTICED = 1.0
# Runners end an answer so long before the time limit of its request, in seconds, generously.
_LIMIT_LEAD = 1.0
# What keeps the edge from hearing what was charged.
_BILLING = ("billing", "database")
# Whatever the runners do, a request may take all its time if one of these is in trouble.
_NEEDED = ("edge", "auth", "billing", "database", "router")
# How an edge ends.
_ENDS = (Kind.KILL, Kind.DRAIN)
# The first account that may run out of credits.
_POOR = len(CREDITS) - 2


@dataclass(frozen=True, slots=True)
class Undisturbed:
    """What the engine says to one prompt when nothing goes wrong: its longest answer, and where it ends by itself."""

    words: tuple[str, ...]
    natural_length: int

    def answer(self, record: Record) -> tuple[str, str]:
        """Returns the text and finish reason that a record's request must get."""
        plan = record.plan
        if plan.empty:
            return "", "stop"
        if plan.max_tokens is None:
            return " ".join(self.words[: self.natural_length]), "stop"
        return " ".join(self.words[: plan.max_tokens]), "length"


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken invariant and everything that is known about it."""

    kind: str
    detail: str
    record: Record | None = None
    rows: Sequence[object] = ()

    def __str__(self) -> str:
        lines = [f"{self.kind}: {self.detail}"]
        if self.record is not None:
            lines.append(f"  {self.record}")
        return "\n".join([*lines, *(f"  {row}" for row in self.rows)])


def resumed_upstream(moves: Iterable[Mapping[str, Any]]) -> list[Violation]:
    """Returns the moves that would go on after text of a server with OpenAI's API, whose tokens nobody knows."""
    return [
        Violation("resumed", f"a request moved from a server after some of its answer: {move}")
        for move in moves
        if move["runner"] in UPSTREAMS.values() and move["tokens"]
    ]


class Checker:
    """Checks one run after everything has come to rest."""

    def __init__(
        self, books: Books, hits: Sequence[Hit], undisturbed: Sequence[Undisturbed], slowness: float = 1.0
    ) -> None:
        """`slowness` is that of the plan."""
        self._books = books
        self._slowness = slowness
        self._noticed = _NOTICED * slowness
        self._limit = (REQUEST_TIMEOUT - _LIMIT_LEAD) * slowness
        self._hits = hits
        self._undisturbed = undisturbed

    def check(self, records: Sequence[Record]) -> list[Violation]:
        """Returns everything that is wrong; nothing, if the mesh kept its word."""
        violations = [violation for record in records for violation in self._check_record(record)]
        known = {record.key_id for record in records}
        for key_id, rows in self._books.holds.items():
            if key_id not in known:
                violations.append(Violation("stranger", "the ledger has a request that nobody made", None, rows))
        return violations + list(self._check_balances())

    def _check_record(self, record: Record) -> Iterable[Violation]:
        rows = self._books.holds.get(record.key_id, [])
        found = [
            *self._money(record, rows),
            *self._holds(record, rows),
            *self._content(record),
            *self._manners(record, rows[0] if rows else None),
        ]
        entries = [entry for row in rows for entry in self._books.entries[row.request_id]]
        return [Violation(kind, detail, record, [*rows, *entries]) for kind, detail in found]

    def _money(self, record: Record, rows: list[HoldRow]) -> Iterable[tuple[str, str]]:
        row = rows[0] if rows else None
        charged = sum(self._books.charged(each.request_id) for each in rows)
        allowed = self.allowed(record, row)
        if len(rows) > 1:
            yield "several holds", f"one request has {len(rows)}"
        if row is not None and record.request_id not in {"", row.request_id}:
            yield "wrong id", f"the client was told {record.request_id}"
        if charged not in allowed:
            yield "wrong charge", f"charged {charged}, allowed {sorted(allowed)}"
        if record.end is End.COMPLETE:
            if row is None or row.outcome != ("empty" if record.plan.empty else "completed"):
                yield "wrong outcome", "the answer was complete"
            elif record.usage is not None and row.completion_tokens != record.usage["completion_tokens"]:
                yield "usage", f"the client was told {record.usage['completion_tokens']} tokens"
            due = 0 if record.plan.empty else PRICE
            if record.charged_at_end not in {None, due}:
                yield "charge at the end", f"the ledger had charged {record.charged_at_end} when the end was seen"
            if record.receipt not in {None, due}:
                yield "wrong receipt", f"the response says {record.receipt}"

    def _holds(self, record: Record, rows: list[HoldRow]) -> Iterable[tuple[str, str]]:
        for row in rows:
            if row.state == "open":
                yield "open hold", "it was never settled"
            if row.outcome == "expired" and not self._edge_lost(record, row):
                yield "orphan hold", "it expired although the edge lived, which ends every hold itself"

    def allowed(self, record: Record, row: HoldRow | None) -> frozenset[int]:
        """Returns what the request may have cost, for all that its client can know."""
        match record.end:
            case End.COMPLETE:
                return NOTHING if record.plan.empty else PAID
            case End.LEFT:
                return self._allowed_left(record, row)
            case End.BROKEN:
                return self._allowed_broken(record)
            case _:
                # An error, in whatever form, and a connection that never was, are free.
                return EITHER if row is not None and self._refund_lost(record) else NOTHING

    def _allowed_left(self, record: Record, row: HoldRow | None) -> frozenset[int]:
        if record.pieces == 0:
            # The prompt must be read before the first token. Who leaves earlier cannot have had one; who leaves later
            # cannot know whether it had reached the edge, which is what counts (docs/decisions/0003).
            return NOTHING if record.ended - record.sent < self._reading_seconds(record) else EITHER
        if row is not None and row.outcome == "expired" and self._edge_lost(record, row):
            # The edge died before it could say how the request ended: nobody is left who knows.
            return EITHER
        if row is None and self._hold_lost(record):
            return EITHER
        if row is not None and row.outcome == "failed" and self._disturbed(record):
            # The answer failed between the client's last look and the edge's noticing that it had left.
            return EITHER
        return PAID

    def _allowed_broken(self, record: Record) -> frozenset[int]:
        """An edge that dies takes the answer with it: free, unless the answer was complete and only its end lost."""
        if record.plan.empty:
            return NOTHING
        if self._out_of_time(record):
            # The answer may have ended where it was, and was charged before its end went out.
            return EITHER
        text, _ = self._undisturbed[record.plan.prompt].answer(record)
        if not record.plan.stream:
            # The body comes in one piece, after the charge: a client sees nothing of the moment between them. But it
            # knows that the engine cannot have been done before all tokens had their time (a tick may be early by one).
            speaking_seconds = (len(text.split()) - 2) / SPEED * self._slowness
            least = self._reading_seconds(record) + speaking_seconds
            return EITHER if record.ended - record.sent > least else NOTHING
        # All text goes out before the charge, so who has not seen all of it was not charged; except for slow readers,
        # whose unread text dies with the edge, and so may the end behind it.
        return EITHER if record.text == text or record.plan.pause else NOTHING

    def _refund_lost(self, record: Record) -> bool:
        """Two failures at once: billing charged but could not say so, and the edge died before it could take it back.

        This is the one hole that docs/decisions/0006 leaves open.
        """
        unheard = [hit for hit in self._hits_of(_BILLING) if hit.ended + self._noticed >= record.ended]
        edges = [hit for hit in self._hits_of(("edge",), _ENDS) if hit.dead >= record.ended]
        return any(
            hit.began <= record.ended and edge.began <= hit.ended + self._noticed for hit in unheard for edge in edges
        )

    def _hits_of(self, roles: Iterable[str], kinds: Iterable[Kind] = tuple(Kind)) -> list[Hit]:
        return overlapping(self._hits, 0.0, float("inf"), roles=roles, kinds=kinds)

    def _content(self, record: Record) -> Iterable[tuple[str, str]]:
        text, finish_reason = self._undisturbed[record.plan.prompt].answer(record)
        if self._reached_time_limit(record) and text.startswith(record.text):
            text, finish_reason = record.text, "length"
        if record.finish_reason not in {None, finish_reason}:
            yield "finish reason", f"{record.finish_reason!r} instead of {finish_reason!r}"
        if record.end is End.ERROR_FRAME and record.finish_reason is not None:
            yield "finish reason", "one was sent although the answer failed"
        whole = record.end is End.COMPLETE or record.finish_reason is not None
        if record.text != text if whole else not text.startswith(record.text):
            yield "text", f"differs from the undisturbed answer {text!r}"
        if record.end is End.COMPLETE and record.finish_reason is None:
            yield "finish reason", "the end was sent without one"
        if record.usage is not None and record.usage["completion_tokens"] != len(text.split()) + record.plan.empty:
            yield "usage", f"{record.usage} for {len(text.split())} tokens"

    def _manners(self, record: Record, row: HoldRow | None) -> Iterable[tuple[str, str]]:
        for oddity in record.oddities:
            yield "stream", oddity
        if record.end in {End.STUCK, End.UNKNOWN}:
            yield "stuck", "no decided end came in time"
        if record.end is End.BROKEN and not self._may_break(record, row):
            yield "broken", "the connection broke although the edge lived, or ended in good order"
        if self._is_starved(record):
            yield "starved", "it took all the time it had although a runner was well"
        if record.end is End.REFUSED and record.status not in self._refusals(record):
            yield "refusal", f"status {record.status}"

    def _refusals(self, record: Record) -> set[int]:
        return {402, 503} if record.plan.account >= _POOR else {503}

    def _may_break(self, record: Record, row: HoldRow | None) -> bool:
        """Tells whether a connection may have broken: its edge died, or it was one that a stopping edge never took.

        What an edge has begun when it stops, it ends with an error that says so; a slow reader may miss it.
        """
        if self._edge_ended(record.sent, record.ended, Kind.KILL):
            return True
        untouched = row is None and not record.status
        return (untouched or record.plan.pause > 0) and self._edge_ended(record.sent, record.ended, Kind.DRAIN)

    def _edge_lost(self, record: Record, row: HoldRow) -> bool:
        """Tells whether nobody was left to end a hold: the edge died, or stopped while billing could not be told."""
        until = float("inf") if row.settled_ms is None else row.settled_ms / 1000
        if self._edge_ended(record.sent, until, Kind.KILL):
            return True
        stops = overlapping(self._hits, record.sent, until, roles=("edge",), kinds=(Kind.DRAIN,))
        return any(
            hit.overlaps(stop.began - self._noticed, stop.dead) for stop in stops for hit in self._hits_of(_BILLING)
        )

    def _hold_lost(self, record: Record) -> bool:
        """Tells whether a hold may be gone that its edge could not make again: there was no edge, or no money, for it.

        A crash of the database takes the holds of the last moment with it (docs/decisions/0056).
        """
        ever = float("inf")
        crashed = overlapping(self._hits, record.sent, ever, roles=("database",), kinds=(Kind.KILL,))
        ended = overlapping(self._hits, record.sent, ever, roles=("edge",), kinds=_ENDS)
        return bool(crashed) and (record.plan.account >= _POOR or bool(ended))

    def _edge_ended(self, since: float, until: float, kind: Kind) -> bool:
        """Whether the edge ended like this between two times."""
        return any(
            hit.dead >= since and hit.began <= until + self._noticed for hit in self._hits_of(("edge",), (kind,))
        )

    def _disturbed(self, record: Record) -> bool:
        """Tells whether an answer may have failed for a reason that its client, which left, did not see."""
        roles = ("edge", "runner", "upstream", "router", *_BILLING)
        return bool(overlapping(self._hits, record.sent, record.ended + self._noticed, roles=roles))

    def _is_starved(self, record: Record) -> bool:
        """Tells whether a request took all its time while one runner was well and could have served everybody."""
        short = record.finish_reason == "length" and record.words < (record.plan.max_tokens or MOST_TOKENS)
        ended = record.end in {End.REFUSED, End.ERROR_FRAME} or (record.end is End.COMPLETE and short)
        if not ended or record.plan.pause or record.ended - record.sent < self._limit:
            return False
        during = (record.sent - self._noticed, record.ended + self._noticed)
        if overlapping(self._hits, *during, roles=_NEEDED):
            return False
        ill = {hit.target for hit in overlapping(self._hits, *during, roles=("runner", "upstream"))}
        if record.plan.upstream:
            return any(ill.isdisjoint(pair) for pair in UPSTREAMS.items())
        return not ill.issuperset(RUNNERS)

    def _check_balances(self) -> Iterable[Violation]:
        """Each account owns what it was given, less what its requests have cost."""
        spent: dict[str, int] = {}
        for rows in self._books.holds.values():
            for row in rows:
                spent[row.account_id] = spent.get(row.account_id, 0) + self._books.charged(row.request_id)
        for account_id, (available, held) in self._books.balances.items():
            expected = self._books.granted(account_id) - spent.get(account_id, 0)
            if (available, held) != (expected, 0):
                yield Violation("balance", f"{account_id} has {available} and {held} held instead of {expected} and 0")
        total = sum(line.amount for lines in self._books.entries.values() for line in lines)
        if total:
            yield Violation("sum", f"all entries together are {total} instead of 0")

    def _reached_time_limit(self, record: Record) -> bool:
        """Tells whether an answer may have ended with `length` because its time was over."""
        return record.finish_reason == "length" and self._out_of_time(record)

    def _out_of_time(self, record: Record) -> bool:
        """Tells whether an answer took so long that it may end wherever it is."""
        if record.plan.upstream:
            # The tokens of such an answer are not known before its end, so that it cannot end as it stands.
            return False
        return record.ended - record.sent > self._limit

    def _reading_seconds(self, record: Record) -> float:
        """The least time that the engine takes to read a prompt; the chat template adds some words to ours."""
        return len(PROMPTS[record.plan.prompt].split()) / PREFILL_SPEED * self._slowness
