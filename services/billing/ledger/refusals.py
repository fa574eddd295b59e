"""Why the ledger says no, in words for the API user: what is wrong and how to mend it."""

from __future__ import annotations

from datetime import date

from services.common.errors import Code, MeshError


def insufficient_credits(model: str, price: int, available: int) -> MeshError:
    """The account cannot pay."""
    message = (
        f"Insufficient credits: a request to {model} costs {price}, and {available} are available. "
        "Ask the operator of this service to top up your account; GET /v1/balance shows the balance."
    )
    return MeshError(Code.INSUFFICIENT_CREDITS, message)


def cap_reached(model: str, price: int, cap: int, key_id: str, spent: int, resets: date) -> MeshError:
    """The API key may not spend so much this month, whatever its account owns."""
    message = (
        f"Monthly cap reached: this API key may spend at most {cap} credits in a calendar month, together with "
        f"the rotations and descendants of {key_id}: a request to {model} costs {price}, and {spent} are spent or "
        f"held. The cap resets on {resets.isoformat()} at 00:00 UTC; until then use a key without this cap."
    )
    return MeshError(Code.INSUFFICIENT_CREDITS, message)


def still_running(request_id: str) -> MeshError:
    """A request with the same idempotency key has not ended."""
    message = (
        f"A request with this Idempotency-Key is still running, as {request_id}. Wait for it, or send a new key if "
        "this is another request."
    )
    # Unlike the other conflicts, this one passes by itself.
    return MeshError(Code.CONFLICT, message, param="Idempotency-Key", retry_after=1.0)


def already_charged(request_id: str, price: int) -> MeshError:
    """A request with the same idempotency key has ended and was paid for."""
    message = (
        f"A request with this Idempotency-Key was already answered and charged {price} credits, as {request_id}; "
        f"GET /v1/requests/{request_id} shows it. Answers are not kept, so it cannot be sent again: for another answer "
        "send a new key."
    )
    return MeshError(Code.CONFLICT, message, param="Idempotency-Key")


def request_id_taken() -> MeshError:
    """A request id was used for two different requests."""
    return MeshError(Code.CONFLICT, "This request id was already used for a different request.", param="request_id")


def request_ended() -> MeshError:
    """A request id was used again after its request had ended."""
    return MeshError(Code.CONFLICT, "The request with this id has already ended.", param="request_id")


def no_such_request() -> MeshError:
    """Nothing was ever reserved under this id."""
    return MeshError(Code.NOT_FOUND, "Nothing was reserved under this request id.", param="request_id")


def grant_id_taken() -> MeshError:
    """A grant id was used for two different grants."""
    message = "This grant id was already used for another account or amount; choose a new one."
    return MeshError(Code.CONFLICT, message, param="grant_id")


def too_many_credits(limit: int) -> MeshError:
    """The account would own more than the ledger can add up safely."""
    return MeshError(Code.INVALID_REQUEST, f"An account can own at most {limit} credits.", param="credits")


def cursor_moved(next_block: int) -> MeshError:
    """Another watcher of the same name has taken the range, or an earlier attempt of this one."""
    message = f"This range does not begin at the cursor, which is at block {next_block}. Read on from there."
    return MeshError(Code.CONFLICT, message, param="from_block")


def history_changed(block: int, known: str, told: str) -> MeshError:
    """A block that was read is no longer part of the chain."""
    message = (
        f"Block {block} was {known} when it was read, and is {told} now. Find out which history is true before any "
        "watcher goes on."
    )
    return MeshError(Code.CONFLICT, message, param="parent_hash")


def deposit_differs(tx_hash: str, log_index: int) -> MeshError:
    """A deposit is recorded, and was not as the chain tells it now."""
    message = (
        f"The deposit {tx_hash}, log {log_index}, or another one of its transaction, is recorded with another block, "
        "address or amount. Find out which history is true before any watcher goes on."
    )
    return MeshError(Code.CONFLICT, message, param="deposits")


def too_large_deposit(account_id: str, tx_hash: str) -> MeshError:
    """The account would have deposited more than the ledger can add up safely."""
    message = f"The deposit {tx_hash} brings the deposits of {account_id} to more than the ledger can add up."
    return MeshError(Code.INVALID_REQUEST, message, param="deposits")


def address_taken() -> MeshError:
    """The index is not the next one, or the address belongs to another account."""
    message = (
        "This index is not the key's next one, or the address belongs to another account. Ask for the next index with "
        "GetDepositAddress, and derive the address there."
    )
    return MeshError(Code.CONFLICT, message, param="address_index")


def sweep_differs(tx_hash: str, log_index: int) -> MeshError:
    """A sweep is recorded, and was not as the chain tells it now."""
    message = (
        f"The sweep {tx_hash}, log {log_index}, or another one of its transaction, is recorded with another block, "
        "address or amount. Compare both with the chain."
    )
    return MeshError(Code.CONFLICT, message, param="sweeps")


def swept_too_much(address: str, swept: int, deposited: int) -> MeshError:
    """An address would have lost more than billing knows that it has received."""
    message = (
        f"The sweeps of {address} sum to {swept} smallest units, but its deposits to {deposited}. Let both watchers "
        "read on, and record the sweeps again."
    )
    return MeshError(Code.CONFLICT, message, param="sweeps")


def no_such_payment() -> MeshError:
    """No wallet has paid for the request."""
    return MeshError(Code.NOT_FOUND, "No payment was claimed for this request id.", param="request_id")


def authorization_claimed() -> MeshError:
    """The authorization pays for a request already."""
    message = "This payment was already used for a request. Sign a new authorization, with another nonce."
    return MeshError(Code.CONFLICT, message, param="nonce")


def paid_already(request_id: str) -> MeshError:
    """The wallet has paid for a request with the same idempotency key."""
    message = (
        f"Your wallet already pays for a request with this Idempotency-Key, as {request_id}. This payment was not "
        "used. For another answer send a new key."
    )
    return MeshError(Code.CONFLICT, message, param="Idempotency-Key")


def payment_moved_on(state: str) -> MeshError:
    """The payment is in a state that does not allow what was asked for."""
    return MeshError(Code.CONFLICT, f"The payment is {state} already.", param="state")


def relayer_nonce_taken() -> MeshError:
    """Another transaction of the relayer has the nonce."""
    message = "Another transaction of this relayer has the nonce. Ask for the next one with GetRelayerNonce."
    return MeshError(Code.CONFLICT, message, param="relayer_nonce")


def wrong_price(atomic: int, price: int) -> MeshError:
    """The payment is not what the request costs."""
    message = f"The payment is {atomic} and the price of the request {price} of the token's smallest unit."
    return MeshError(Code.CONFLICT, message, param="atomic")


def pays_a_deposit_address() -> MeshError:
    """The receiver is the deposit address of an account, so that watchers would credit the payment to that one."""
    message = "'pay_to' is the deposit address of an account. Choose an address that no account deposits to."
    return MeshError(Code.INVALID_REQUEST, message, param="pay_to")


def nothing_to_pay_out(account_id: str) -> MeshError:
    """The wallet has spent what it has paid, or has paid nothing."""
    message = f"{account_id} has no credits that a wallet has paid for. `tiermesh x402 list` shows those that have."
    return MeshError(Code.CONFLICT, message, param="account_id")


def no_such_payout() -> MeshError:
    """No payout has this id."""
    return MeshError(Code.NOT_FOUND, "There is no payout with this id.", param="payout_id")


def payout_differs(payout_id: str, tx_hash: str) -> MeshError:
    """A payout is recorded with another transfer, or its transfer is that of another payout."""
    message = (
        f"{payout_id} is recorded with another transfer than that of {tx_hash}, or this transfer is that of another "
        "payout. Compare both with the chain."
    )
    return MeshError(Code.CONFLICT, message, param="tx_hash")


def deadline_exceeded() -> MeshError:
    """The caller has stopped waiting before a transaction took its call, so nothing was done."""
    return MeshError(Code.DEADLINE_EXCEEDED, "Billing was too busy to reply in time. Nothing was charged.")


def too_busy() -> MeshError:
    """More calls wait than the service is ready to remember."""
    return MeshError(Code.UNAVAILABLE, "Billing is too busy. Try again shortly.", retry_after=1.0)


def invalid(param: str, problem: str) -> MeshError:
    """A field has a value that no caller should send."""
    return MeshError(Code.INVALID_REQUEST, f"'{param}' {problem}.", param=param)
