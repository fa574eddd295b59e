"""Sends signed transfers, and tells what became of each. Sending one again moves nothing twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from services.cli.chain.authorization import Domain, SignedTransfer
from services.cli.chain.rpc import NodeError
from services.cli.errors import CliError
from services.cli.sweeps.plan import SignedSweeps
from services.cli.sweeps.sender import Sender, send_and_wait
from services.cli.sweeps.token import Token
from tiermesh.billing.v1 import sweeps_pb2

# A signature that ends so soon, in seconds, may be late when its transaction is in a block.
_LEAST_SECONDS = 60
# Chains take about 20 minutes at most until a block is final.
_FINAL_SECONDS = 3600.0
_POLL_SECONDS = 1.0


class Sent(NamedTuple):
    """What became of one transfer: `sent`, `already sent`, `expired` or `refused`, and why."""

    signed: SignedTransfer
    state: str
    reason: str = ""

    @property
    def moved(self) -> bool:
        """Whether the tokens have left their sender."""
        return self.state in {"sent", "already sent"}


def check_domain(domain: Domain, token: Token) -> None:
    """Raises CliError if the node serves another chain, or another token than was signed for."""
    if (chain_id := token.chain_id()) != domain.chain_id:
        raise CliError(
            f"The file was signed for the chain {domain.chain_id}, but the node serves the chain {chain_id}. "
            "Choose a node of that chain."
        )
    if token.name_and_version() != (domain.name, domain.version):
        raise CliError(
            f"The file was signed for the token {domain.name!r}, but the contract {token.address} is another "
            "one. Make the plan again."
        )


def send_all(transfers: Sequence[SignedTransfer], token: Token, sender: Sender) -> Iterator[Sent]:
    """Sends one after the other, and yields what became of each; raises NodeError, after which it can go on."""
    used = token.used([(each.transfer.sender, each.transfer.nonce) for each in transfers])
    for signed, is_used in zip(transfers, used, strict=True):
        yield Sent(signed, "already sent") if is_used else _send(signed, token, sender)


def final_transfers(
    signed: SignedSweeps, token: Token, wait: Callable[[float], None] = time.sleep
) -> list[sweeps_pb2.Sweep]:
    """Returns the transfers away from the addresses once all that was sent is final; raises NodeError."""
    head = until_final(token, wait)
    return token.transfers_from([sweep.address for sweep in signed.sweeps], signed.block, head)


def until_final(token: Token, wait: Callable[[float], None] = time.sleep) -> int:
    """Returns the last block of now, once it is final; raises NodeError if that takes very long."""
    head = int(token.block("latest")["number"], 16)
    deadline = time.monotonic() + _FINAL_SECONDS
    while token.finalized() < head:
        if time.monotonic() > deadline:
            raise NodeError("The transfers are not final yet. Send the file again later, so that they are recorded.")
        wait(_POLL_SECONDS)
    return head


def _send(signed: SignedTransfer, token: Token, sender: Sender) -> Sent:
    now = int(token.block("latest")["timestamp"], 16)
    if now + _LEAST_SECONDS > signed.transfer.valid_before:
        return Sent(signed, "expired", "its signature is not valid any more; make a new plan")
    try:
        done = send_and_wait(token.rpc, sender, token.address, signed.call)
    except NodeError as error:
        return _looked_at_again(signed, token, error.message)
    return Sent(signed, "sent") if done else _looked_at_again(signed, token, "its transaction failed")


def _looked_at_again(signed: SignedTransfer, token: Token, reason: str) -> Sent:
    """Somebody else may have sent it meanwhile, or this command before it was killed."""
    (used,) = token.used([(signed.transfer.sender, signed.transfer.nonce)])
    return Sent(signed, "already sent") if used else Sent(signed, "refused", reason)
