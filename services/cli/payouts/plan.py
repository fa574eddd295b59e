"""The files that go from the plan of refunds to its signing, and from there to its sending."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Annotated, Literal

import msgspec

from services.cli.chain.authorization import Address, Domain, Hash, Number, Signature, SignedTransfer, Transfer, sign
from services.cli.chain.wallet import SigningKey
from tiermesh.billing.v1 import payouts_pb2


class PlannedRefund(msgspec.Struct, frozen=True, kw_only=True):
    """One wallet, and what it gets back, in smallest units."""

    payout_id: str
    # Who pays, and who receives.
    treasury: Address
    wallet: Address
    atomic: Annotated[int, msgspec.Meta(gt=0)]
    nonce: Hash

    def transfer(self, valid_before: int) -> Transfer:
        """Returns what is signed."""
        return Transfer(self.treasury, self.wallet, self.atomic, valid_before, self.nonce)


class RefundPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be signed."""

    kind: Literal["tiermesh-refund-plan"] = "tiermesh-refund-plan"
    domain: Domain
    # The first block that can have a transfer of these.
    block: Number
    # Signatures are valid until then, Unix time.
    valid_before: Number
    refunds: tuple[PlannedRefund, ...]


class SignedRefund(msgspec.Struct, frozen=True, kw_only=True):
    """One refund with its signature."""

    refund: PlannedRefund
    v: Literal[27, 28]
    r: Hash
    s: Hash


class SignedRefunds(msgspec.Struct, frozen=True, kw_only=True):
    """What can be sent. Nobody can make anything else of it, or send it twice."""

    kind: Literal["tiermesh-signed-refunds"] = "tiermesh-signed-refunds"
    domain: Domain
    block: Number
    valid_before: Number
    refunds: tuple[SignedRefund, ...]

    @property
    def transfers(self) -> list[SignedTransfer]:
        """What can be sent."""
        return [
            SignedTransfer(each.refund.transfer(self.valid_before), Signature(each.v, each.r, each.s))
            for each in self.refunds
        ]


def plan_refunds(domain: Domain, payouts: Iterable[payouts_pb2.Payout], *, block: int, valid_before: int) -> RefundPlan:
    """Returns the plan of what billing owes. A payout has the same nonce in every plan, so it is made once."""
    refunds = tuple(
        PlannedRefund(
            payout_id=each.payout_id,
            treasury=each.treasury,
            wallet=each.wallet,
            atomic=each.atomic,
            nonce=_nonce(domain, each),
        )
        for each in payouts
    )
    return RefundPlan(domain=domain, block=block, valid_before=valid_before, refunds=refunds)


def sign_refunds(plan: RefundPlan, key: SigningKey) -> tuple[SignedRefunds, int]:
    """Signs what the key's address owes, and returns it with the number of refunds that others owe."""
    own = [each for each in plan.refunds if each.treasury == key.address.lower()]
    signed = tuple(
        SignedRefund(refund=each, **sign(plan.domain, each.transfer(plan.valid_before), key)._asdict()) for each in own
    )
    made = SignedRefunds(domain=plan.domain, block=plan.block, valid_before=plan.valid_before, refunds=signed)
    return made, len(plan.refunds) - len(own)


def _nonce(domain: Domain, payout: payouts_pb2.Payout) -> str:
    # The time tells the ledgers of several meshes apart that share a treasury.
    text = f"tiermesh payout {domain.chain_id} {domain.token} {payout.payout_id} {payout.at_ms}"
    return "0x" + hashlib.sha256(text.encode()).hexdigest()
