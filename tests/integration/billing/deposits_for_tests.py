"""A chain that is only told about: every block and every deposit in it follows from its number."""

from __future__ import annotations

import hashlib

from services.billing.ledger.deposit_addresses import DepositAddress
from services.billing.ledger.deposits import CREDIT_ATOMIC, Cursor, Deposit, RecordDeposits
from services.billing.store.deposit_history import DepositStore
from services.common.database.base import Database
from tests.integration.billing.operations_for_tests import NOW_MS

CHAIN = 8453
TOKEN = "0x" + "cc" * 20
CURSOR = Cursor(CHAIN, TOKEN, "first")
SECOND = Cursor(CHAIN, TOKEN, "second")
SENDER = "0x" + "5e" * 20
ACCOUNTS = [f"acct{number}" for number in range(3)]


def address_of(account: str) -> str:
    return "0x" + hashlib.sha256(account.encode()).hexdigest()[:40]


def hash_of(block: int, history: str = "") -> str:
    """The hash of a block; another history has other hashes."""
    return "0x" + hashlib.sha256(f"{history}{block}".encode()).hexdigest()


def deposit(
    block: int, atomic: int, account: str = ACCOUNTS[0], *, tx: int | None = None, log: int = 0, history: str = ""
) -> Deposit:
    """A deposit in a block, in a transaction that has the number of the block unless another is given."""
    transaction = hash_of(block if tx is None else tx, "transaction")
    return Deposit(transaction, log, block, hash_of(block, history), SENDER, address_of(account), atomic)


def blocks(first: int, last: int, *deposits: Deposit, cursor: Cursor = CURSOR, history: str = "") -> RecordDeposits:
    """What a watcher has read in these blocks."""
    return RecordDeposits(cursor, first, last, hash_of(first - 1, history), hash_of(last, history), deposits)


async def add_addresses(database: Database, accounts: list[str] | None = None) -> None:
    """Gives every account its address."""
    store = DepositStore(database)
    for index, account in enumerate(accounts or ACCOUNTS):
        kept = await store.add_address(DepositAddress(CHAIN, 0, address_of(account), account, "xpub", index, NOW_MS))
        assert kept is not None


def told(block: int) -> list[Deposit]:
    """The deposits of a block of the chain that the watchers of the crash tests read: 0 to 4, some below a credit."""
    digest = hashlib.sha256(f"block {block}".encode()).digest()
    found = []
    for log in range(digest[0] % 5):
        account = ACCOUNTS[digest[log + 1] % len(ACCOUNTS)]
        atomic = 1 + int.from_bytes(digest[8 + 2 * log : 10 + 2 * log], "big") * (37 if digest[1] % 2 else 1)
        # Two logs share a transaction.
        found.append(deposit(block, atomic, account, tx=10 * block + log // 2, log=log))
    return found


def expected(last: int) -> dict[str, tuple[int, int]]:
    """What each account has deposited up to a block, in smallest units and in credits."""
    totals = dict.fromkeys(ACCOUNTS, 0)
    for block in range(1, last + 1):
        for each in told(block):
            account = next(name for name in ACCOUNTS if address_of(name) == each.address)
            totals[account] += each.atomic
    return {account: (total, total // CREDIT_ATOMIC) for account, total in totals.items()}
