"""The files that go from the plan of a sweep to its signing, and from there to its sending."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import msgspec

from services.cli.errors import CliError
from services.cli.state import read_json

_Address = Annotated[str, msgspec.Meta(pattern="^0x[0-9a-f]{40}$")]
_Hash = Annotated[str, msgspec.Meta(pattern="^0x[0-9a-f]{64}$")]
_Number = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class Domain(msgspec.Struct, frozen=True, kw_only=True):
    """What a signature is valid for, as the token says it (EIP-712)."""

    chain_id: Annotated[int, msgspec.Meta(gt=0)]
    token: _Address
    name: str
    version: str


class PlannedSweep(msgspec.Struct, frozen=True, kw_only=True):
    """One address, and what is moved away from it, in smallest units."""

    address: _Address
    # Where the address was derived, and from which extended public key.
    index: _Number
    xpub_id: str
    atomic: Annotated[int, msgspec.Meta(gt=0)]
    nonce: _Hash


class SweepPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What may be signed. It does not say who receives the tokens: the signer does."""

    kind: Literal["tiermesh-sweep-plan"] = "tiermesh-sweep-plan"
    domain: Domain
    # The balances are those after this block.
    block: _Number
    block_hash: _Hash
    # Signatures are valid until then, Unix time.
    valid_before: _Number
    sweeps: tuple[PlannedSweep, ...]


class SignedSweep(msgspec.Struct, frozen=True, kw_only=True):
    """One address with its signature."""

    address: _Address
    atomic: Annotated[int, msgspec.Meta(gt=0)]
    nonce: _Hash
    v: Literal[27, 28]
    r: _Hash
    s: _Hash


class SignedSweeps(msgspec.Struct, frozen=True, kw_only=True):
    """What can be sent. Nobody can make anything else of it, or send it twice."""

    kind: Literal["tiermesh-signed-sweeps"] = "tiermesh-signed-sweeps"
    domain: Domain
    # The first block that can have a transfer of these.
    block: _Number
    valid_before: _Number
    receiver: _Address
    sweeps: tuple[SignedSweep, ...]


def sweep_nonce(domain: Domain, address: str, swept: int) -> str:
    """Returns the nonce of the sweep that follows `swept` smallest units.

    The same deposits get the same nonce in every plan, and a token takes a nonce once: plans that overlap move nothing
    twice.
    """
    text = f"tiermesh sweep {domain.chain_id} {domain.token} {address} {swept}"
    return "0x" + hashlib.sha256(text.encode()).hexdigest()


FileT = TypeVar("FileT", SweepPlan, SignedSweeps)


def read_file(path: Path, kind: type[FileT]) -> FileT:
    """Reads a plan or signed sweeps; raises CliError."""
    try:
        found = read_json(path, kind)
    except (OSError, ValueError) as error:
        raise CliError(f"Cannot use the file: {error}.") from error
    if found is None:
        raise CliError(f"There is no file {path}.")
    return found
