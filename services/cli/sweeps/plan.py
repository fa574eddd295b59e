"""The files that go from the plan of a sweep to its signing, and from there to its sending."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import msgspec

from services.cli.chain.authorization import Address, Domain, Hash, Number, Signature, SignedTransfer, Transfer
from services.cli.errors import CliError
from services.cli.state import read_json


class PlannedSweep(msgspec.Struct, frozen=True, kw_only=True):
    """One address, and what is moved away from it, in smallest units."""

    address: Address
    # Where the address was derived, and from which extended public key.
    index: Number
    xpub_id: str
    atomic: Annotated[int, msgspec.Meta(gt=0)]
    nonce: Hash

    def transfer(self, receiver: str, valid_before: int) -> Transfer:
        """Returns what is signed."""
        return Transfer(self.address, receiver, self.atomic, valid_before, self.nonce)


class SweepPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What may be signed. It does not say who receives the tokens: the signer does."""

    kind: Literal["tiermesh-sweep-plan"] = "tiermesh-sweep-plan"
    domain: Domain
    # The balances are those after this block.
    block: Number
    block_hash: Hash
    # Signatures are valid until then, Unix time.
    valid_before: Number
    sweeps: tuple[PlannedSweep, ...]


class SignedSweep(msgspec.Struct, frozen=True, kw_only=True):
    """One address with its signature."""

    address: Address
    atomic: Annotated[int, msgspec.Meta(gt=0)]
    nonce: Hash
    v: Literal[27, 28]
    r: Hash
    s: Hash


class SignedSweeps(msgspec.Struct, frozen=True, kw_only=True):
    """What can be sent. Nobody can make anything else of it, or send it twice."""

    kind: Literal["tiermesh-signed-sweeps"] = "tiermesh-signed-sweeps"
    domain: Domain
    # The first block that can have a transfer of these.
    block: Number
    valid_before: Number
    receiver: Address
    sweeps: tuple[SignedSweep, ...]

    @property
    def transfers(self) -> list[SignedTransfer]:
        """What can be sent."""
        return [
            SignedTransfer(
                Transfer(each.address, self.receiver, each.atomic, self.valid_before, each.nonce),
                Signature(each.v, each.r, each.s),
            )
            for each in self.sweeps
        ]


def sweep_nonce(domain: Domain, address: str, swept: int) -> str:
    """Returns the nonce of the sweep that follows `swept` smallest units.

    The same deposits get the same nonce in every plan, and a token takes a nonce once: plans that overlap move nothing
    twice.
    """
    text = f"tiermesh sweep {domain.chain_id} {domain.token} {address} {swept}"
    return "0x" + hashlib.sha256(text.encode()).hexdigest()


FileT = TypeVar("FileT", bound=msgspec.Struct)


def read_file(path: Path, kind: type[FileT]) -> FileT:
    """Reads a plan, or what was signed; raises CliError."""
    try:
        found = read_json(path, kind)
    except (OSError, ValueError) as error:
        raise CliError(f"Cannot use the file: {error}.") from error
    if found is None:
        raise CliError(f"There is no file {path}.")
    return found
