"""Signs transfers that anybody may send (EIP-3009). The tokens can go only where the signature says."""

from __future__ import annotations

from services.cli.chain.abi import call_data
from services.cli.chain.wallet import SigningKey, Wallet
from services.cli.errors import CliError
from services.cli.sweeps.plan import Domain, PlannedSweep, SignedSweep, SignedSweeps, SweepPlan
from services.common.ethereum.addresses import keccak

_DOMAIN = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
_TRANSFER = (
    "TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,"
    "bytes32 nonce)"
)
_TRANSFER_CALL = "transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,uint8,bytes32,bytes32)"


def sign_plan(plan: SweepPlan, wallet: Wallet, receiver: str) -> tuple[SignedSweeps, int]:
    """Signs what the wallet's addresses have, and returns it with the number of addresses of other wallets.

    Raises CliError if an address is not what the plan says, and if none is the wallet's.
    """
    xpub_id = wallet.xpub_id
    own = [sweep for sweep in plan.sweeps if sweep.xpub_id == xpub_id]
    if plan.sweeps and not own:
        raise CliError("No address of the plan belongs to this mnemonic. Check its words and their order.")
    signed = tuple(_signed(plan, sweep, wallet.key(sweep.index), receiver.lower()) for sweep in own)
    sweeps = SignedSweeps(
        domain=plan.domain,
        block=plan.block + 1,
        valid_before=plan.valid_before,
        receiver=receiver.lower(),
        sweeps=signed,
    )
    return sweeps, len(plan.sweeps) - len(own)


def transfer_call(signed: SignedSweeps, sweep: SignedSweep) -> str:
    """Returns the data of the call that moves the tokens."""
    words = (int(sweep.address, 16), int(signed.receiver, 16), sweep.atomic, 0, signed.valid_before)
    return call_data(_TRANSFER_CALL, *words, int(sweep.nonce, 16), sweep.v, int(sweep.r, 16), int(sweep.s, 16))


def digest(domain: Domain, sweep: PlannedSweep, receiver: str, valid_before: int) -> bytes:
    """Returns the hash that is signed (EIP-712)."""
    separator = keccak(
        keccak(_DOMAIN.encode())
        + keccak(domain.name.encode())
        + keccak(domain.version.encode())
        + _words(domain.chain_id, int(domain.token, 16))
    )
    transfer = keccak(
        keccak(_TRANSFER.encode())
        + _words(int(sweep.address, 16), int(receiver, 16), sweep.atomic, 0, valid_before, int(sweep.nonce, 16))
    )
    return keccak(b"\x19\x01" + separator + transfer)


def _signed(plan: SweepPlan, sweep: PlannedSweep, key: SigningKey, receiver: str) -> SignedSweep:
    if key.address.lower() != sweep.address:
        raise CliError(
            f"The mnemonic has another address than {sweep.address} at index {sweep.index}. Make the plan again."
        )
    parity, r, s = key.sign(digest(plan.domain, sweep, receiver, plan.valid_before))
    return SignedSweep(
        address=sweep.address,
        atomic=sweep.atomic,
        nonce=sweep.nonce,
        v=28 if parity else 27,
        r=f"0x{r:064x}",
        s=f"0x{s:064x}",
    )


def _words(*values: int) -> bytes:
    return b"".join(value.to_bytes(32, "big") for value in values)
