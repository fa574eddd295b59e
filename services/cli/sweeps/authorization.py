"""Signs a plan of sweeps with the mnemonic of its addresses."""

from __future__ import annotations

from services.cli.chain.authorization import sign
from services.cli.chain.wallet import SigningKey, Wallet
from services.cli.errors import CliError
from services.cli.sweeps.plan import PlannedSweep, SignedSweep, SignedSweeps, SweepPlan


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


def _signed(plan: SweepPlan, sweep: PlannedSweep, key: SigningKey, receiver: str) -> SignedSweep:
    if key.address.lower() != sweep.address:
        raise CliError(
            f"The mnemonic has another address than {sweep.address} at index {sweep.index}. Make the plan again."
        )
    signature = sign(plan.domain, sweep.transfer(receiver, plan.valid_before), key)
    return SignedSweep(address=sweep.address, atomic=sweep.atomic, nonce=sweep.nonce, **signature._asdict())
