"""What can be asked of the ledger. Each is idempotent by its id, so that it may be sent and run again."""

from __future__ import annotations

from typing import NamedTuple

from services.billing.ledger.deposits import RecordDeposits
from services.billing.ledger.holds import Outcome
from services.billing.ledger.prices import Quote
from services.billing.ledger.wallet_payments import CoverWalletPayment, PayOut, SettleWalletPayment
from services.common.errors import MeshError


class MonthlyCap(NamedTuple):
    """What all requests made under it may spend in one calendar month (UTC)."""

    # The API key under whose id the spending is counted.
    key_id: str
    # Positive.
    credits: int


class Reserve(NamedTuple):
    """Hold the price of a request."""

    request_id: str
    account_id: str
    key_id: str
    quote: Quote
    # Every cap that binds the key, of different keys; the request counts against all of them.
    caps: tuple[MonthlyCap, ...] = ()
    # Empty for none.
    idempotency_key: str = ""


class Settle(NamedTuple):
    """End a hold as the outcome says."""

    request_id: str
    outcome: Outcome
    prompt_tokens: int = 0
    completion_tokens: int = 0
    runner_id: str = ""


class Expire(NamedTuple):
    """Release a hold whose edge has forgotten it."""

    request_id: str


class Grant(NamedTuple):
    """Add credits to an account."""

    grant_id: str
    account_id: str
    credits: int
    note: str = ""


Operation = Reserve | Settle | Expire | Grant | RecordDeposits | SettleWalletPayment | CoverWalletPayment | PayOut


def needs_sync(operation: Operation) -> bool:
    """Whether what it did must be on the disk before it is answered.

    A hold need not be: nothing was paid yet, and the edge that still serves the request makes it again (decision 56).
    But an idempotency key keeps its repeats out from the first moment on, also from an edge that knows nothing of it.
    """
    return not isinstance(operation, Reserve) or bool(operation.idempotency_key)


class Effect(NamedTuple):
    """What an operation did: credits held, charged, granted or deposited, and the account's balance after it.

    Deposits are of many accounts: theirs has no balance.
    """

    amount: int
    available: int
    held: int


Result = Effect | MeshError


class Locked(NamedTuple):
    """Says that an operation was not done yet, because another process has locked its account or its cursor."""

    name: str
