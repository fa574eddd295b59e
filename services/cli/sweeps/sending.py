"""Sends signed sweeps, and tells what became of each. Sending a file again moves nothing twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from services.cli.chain.rpc import NodeError
from services.cli.errors import CliError
from services.cli.sweeps.authorization import transfer_call
from services.cli.sweeps.plan import SignedSweep, SignedSweeps
from services.cli.sweeps.sender import Sender, send_and_wait
from services.cli.sweeps.token import Token
from tiermesh.billing.v1 import sweeps_pb2

# A signature that ends so soon, in seconds, may be late when its transaction is in a block.
_LEAST_SECONDS = 60
# Chains take about 20 minutes at most until a block is final.
_FINAL_SECONDS = 3600.0
_POLL_SECONDS = 1.0


class Sent(NamedTuple):
    """What became of one sweep: `sent`, `already sent`, `expired` or `refused`, and why."""

    sweep: SignedSweep
    state: str
    reason: str = ""

    @property
    def moved(self) -> bool:
        """Whether the tokens have left the address."""
        return self.state in {"sent", "already sent"}


def check_domain(signed: SignedSweeps, token: Token) -> None:
    """Raises CliError if the node serves another chain, or another token than was signed for."""
    if (chain_id := token.chain_id()) != signed.domain.chain_id:
        raise CliError(
            f"The file was signed for the chain {signed.domain.chain_id}, but the node serves the chain {chain_id}. "
            "Choose a node of that chain."
        )
    if token.name_and_version() != (signed.domain.name, signed.domain.version):
        raise CliError(
            f"The file was signed for the token {signed.domain.name!r}, but the contract {token.address} is another "
            "one. Make the plan again."
        )


def send_all(signed: SignedSweeps, token: Token, sender: Sender) -> Iterator[Sent]:
    """Sends one sweep after the other, and yields what became of each; raises NodeError, after which it can go on."""
    used = token.used([(sweep.address, sweep.nonce) for sweep in signed.sweeps])
    for sweep, is_used in zip(signed.sweeps, used, strict=True):
        yield Sent(sweep, "already sent") if is_used else _send(signed, sweep, token, sender)


def final_transfers(
    signed: SignedSweeps, token: Token, wait: Callable[[float], None] = time.sleep
) -> list[sweeps_pb2.Sweep]:
    """Returns the transfers away from the addresses once all that was sent is final; raises NodeError."""
    head = int(token.block("latest")["number"], 16)
    deadline = time.monotonic() + _FINAL_SECONDS
    while token.finalized() < head:
        if time.monotonic() > deadline:
            raise NodeError("The sweeps are not final yet. Send the file again later, so that they are recorded.")
        wait(_POLL_SECONDS)
    return token.transfers_from([sweep.address for sweep in signed.sweeps], signed.block, head)


def _send(signed: SignedSweeps, sweep: SignedSweep, token: Token, sender: Sender) -> Sent:
    now = int(token.block("latest")["timestamp"], 16)
    if now + _LEAST_SECONDS > signed.valid_before:
        return Sent(sweep, "expired", "its signature is not valid any more; make a new plan")
    try:
        done = send_and_wait(token.rpc, sender, token.address, transfer_call(signed, sweep))
    except NodeError as error:
        return _looked_at_again(sweep, token, error.message)
    return Sent(sweep, "sent") if done else _looked_at_again(sweep, token, "its transaction failed")


def _looked_at_again(sweep: SignedSweep, token: Token, reason: str) -> Sent:
    """Somebody else may have sent it meanwhile, or this command before it was killed."""
    (used,) = token.used([(sweep.address, sweep.nonce)])
    return Sent(sweep, "already sent") if used else Sent(sweep, "refused", reason)
