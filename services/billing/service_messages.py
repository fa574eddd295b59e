"""Translates what the ledger keeps into the messages of the contract."""

from __future__ import annotations

from services.billing.ledger import refusals
from services.billing.ledger.entries import NumberedEntry, StatementLine
from services.billing.ledger.holds import SETTLED_OUTCOMES, Hold, Outcome, State
from services.billing.ledger.usage import GroupBy
from tiermesh.billing.v1 import billing_pb2

_OUTCOMES: dict[str, int] = {outcome: number for number, outcome in SETTLED_OUTCOMES.items()}
_OUTCOMES |= {Outcome.NONE: billing_pb2.OUTCOME_UNSPECIFIED, Outcome.EXPIRED: billing_pb2.OUTCOME_EXPIRED}

_GROUPS: dict[int, GroupBy] = {
    billing_pb2.USAGE_GROUP_UNSPECIFIED: GroupBy.DAY,
    billing_pb2.USAGE_GROUP_DAY: GroupBy.DAY,
    billing_pb2.USAGE_GROUP_MODEL: GroupBy.MODEL,
    billing_pb2.USAGE_GROUP_KEY: GroupBy.KEY,
}


def receipt(hold: Hold) -> billing_pb2.Receipt:
    """Returns what is kept of a request."""
    return billing_pb2.Receipt(
        request_id=hold.request_id,
        account_id=hold.account_id,
        key_id=hold.key_id,
        model=hold.model,
        quantity=hold.quantity,
        unit_price=hold.unit_price,
        held=hold.amount if hold.state == State.OPEN else 0,
        charged=hold.charged,
        outcome=billing_pb2.Outcome.ValueType(_OUTCOMES[hold.outcome]),
        prompt_tokens=hold.prompt_tokens,
        completion_tokens=hold.completion_tokens,
        runner_id=hold.runner_id,
        reserved_at_ms=hold.reserved_ms,
        settled_at_ms=hold.settled_ms or 0,
    )


def entry(numbered: NumberedEntry) -> billing_pb2.Entry:
    """Returns an entry."""
    return billing_pb2.Entry(entry_id=numbered.entry_id, **numbered.entry._asdict())


def account_entry(line: StatementLine) -> billing_pb2.AccountEntry:
    """Returns a line of a statement."""
    return billing_pb2.AccountEntry(
        entry=entry(line.numbered), available_after=line.after.available, held_after=line.after.held
    )


def group_by(number: int) -> GroupBy:
    """Returns what a report adds up by; raises MeshError INVALID_REQUEST."""
    found = _GROUPS.get(number)
    if found is None:
        raise refusals.invalid("group_by", "must be a value that this version knows")
    return found
