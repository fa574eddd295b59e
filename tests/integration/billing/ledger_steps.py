"""Random operations of the ledger, each with what the model does for it."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st

from services.billing.ledger.holds import Outcome
from services.billing.ledger.operations import Operation
from tests.integration.billing.ledger_model import LedgerModel
from tests.integration.billing.operations_for_tests import expire, grant, reserve, settle

ACCOUNTS = [f"acct{number}" for number in range(3)]
REQUESTS = [f"r{number}" for number in range(8)]

# An operation, and what the model does for it.
Step = tuple[Operation, Callable[[LedgerModel], int | str]]


def step_of_reserve(request: str, account: str) -> Step:
    return reserve(request, account), lambda model: model.reserve(request, account)


def step_of_settle(request: str, outcome: Outcome) -> Step:
    return settle(request, outcome), lambda model: model.settle(request, outcome)


def step_of_expire(request: str) -> Step:
    return expire(request), lambda model: model.expire(request)


def step_of_grant(number: int, account: str, amount: int) -> Step:
    name = f"grant{number}"
    return grant(amount, account, name), lambda model: model.grant(name, account, amount)


_requests = st.sampled_from(REQUESTS)
_accounts = st.sampled_from(ACCOUNTS)
_outcomes = st.sampled_from([outcome for outcome in Outcome if outcome not in {Outcome.NONE, Outcome.EXPIRED}])
steps_of_requests = st.one_of(
    st.builds(step_of_reserve, _requests, _accounts),
    st.builds(step_of_reserve, _requests, st.just(ACCOUNTS[0])),
    st.builds(step_of_settle, _requests, _outcomes),
    st.builds(step_of_settle, _requests, st.sampled_from([Outcome.COMPLETED, Outcome.FAILED])),
    st.builds(step_of_expire, _requests),
    st.builds(step_of_grant, st.integers(0, 5), _accounts, st.sampled_from([5, 15, 25])),
)
