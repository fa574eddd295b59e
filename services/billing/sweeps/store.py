"""The rows of sweeps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa

from services.billing.ledger import refusals
from services.billing.sweeps.sweeps import Books, DepositBalance, Sweep
from services.common.database.base import Database
from services.common.database.lanes import Lane

_SUM = """
    coalesce((
        SELECT sum(atomic) FROM {table} t
        WHERE t.chain_id = a.chain_id AND t.token = :token AND t.address = a.address AND t.block_number <= :to_block
    ), 0)
"""
_BALANCES = f"""
    SELECT a.position, a.address, a.account_id, a.xpub_id, a.address_index,
        {_SUM.format(table="deposits")} AS deposited, {_SUM.format(table="sweeps")} AS swept
    FROM deposit_addresses a WHERE a.chain_id = :chain_id
"""  # noqa: S608 - constants only
_PAGE = sa.text(_BALANCES + " AND a.position > :after ORDER BY a.position LIMIT :limit")
_ONE = _BALANCES + " AND a.address = :address"
# Those of the same transaction.
_KNOWN = sa.text("""
    SELECT token, log_index, block_number, block_hash, address, receiver, atomic FROM sweeps
    WHERE chain_id = :chain_id AND tx_hash = :tx_hash
""")
_ADD = sa.text("""
    INSERT INTO sweeps (
        chain_id, tx_hash, log_index, token, block_number, block_hash, address, receiver, account_id, atomic, at_ms
    ) VALUES (
        :chain_id, :tx_hash, :log_index, :token, :block_number, :block_hash, :address, :receiver, :account_id, :atomic,
        :at_ms
    )
""")
# More than any block has for a number.
_ALL_BLOCKS = 2**53


class SweepStore:
    """The rows of one database. Every method raises MeshError UNAVAILABLE while the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def balances(self, books: Books, to_block: int, after: int, limit: int) -> list[DepositBalance]:
        """Addresses after a position, with what they have received and what was swept up to a block."""
        parameters = {**books._asdict(), "to_block": to_block, "after": after, "limit": limit}

        def read(connection: sa.Connection) -> list[DepositBalance]:
            return [_balance(tuple(row)) for row in connection.execute(_PAGE, parameters)]

        return await self._database.read(read, Lane.REPORT)

    async def record(self, books: Books, sweeps: Sequence[Sweep], at_ms: int) -> int:
        """Adds those that are not there, and returns how many; raises MeshError, having changed nothing."""

        def add(connection: sa.Connection) -> int:
            # In one order everywhere, so that two calls never wait for one another in a circle.
            owners = {address: _lock(connection, books, address) for address in sorted({one.address for one in sweeps})}
            new = [sweep for sweep in _one_of_each(sweeps) if not _is_known(connection, books, sweep)]
            # Before they are added: no database has to add up more than an address has ever received.
            more: Counter[str] = Counter()
            for sweep in new:
                more[sweep.address] += sweep.atomic
            for address in sorted(more):
                _check_balance(connection, books, address, more[address])
            for sweep in new:
                row = {**books._asdict(), **sweep._asdict(), "account_id": owners[sweep.address], "at_ms": at_ms}
                connection.execute(_ADD, row)
            return len(new)

        return await self._database.transaction(add)


def _lock(connection: sa.Connection, books: Books, address: str) -> str:
    """Returns whose an address is; on PostgreSQL, nobody else records sweeps of it until this transaction has ended."""
    query = "SELECT account_id FROM deposit_addresses WHERE chain_id = :chain_id AND address = :address"
    suffix = " FOR UPDATE" if connection.dialect.name == "postgresql" else ""
    found = connection.execute(sa.text(query + suffix), {"chain_id": books.chain_id, "address": address}).first()
    if found is None:
        raise refusals.invalid("sweeps.address", f"must be a deposit address of the chain {books.chain_id}")
    return str(found[0])


def _is_known(connection: sa.Connection, books: Books, sweep: Sweep) -> bool:
    key = {"chain_id": books.chain_id, "tx_hash": sweep.tx_hash}
    known = [(row[0], Sweep(sweep.tx_hash, *row[1:])) for row in connection.execute(_KNOWN, key)]
    for token, each in known:
        # In another block, a transaction may have its logs at other places.
        same = each.log_index == sweep.log_index
        if each.block_hash != sweep.block_hash or (same and (token, each) != (books.token, sweep)):
            raise refusals.sweep_differs(sweep.tx_hash, sweep.log_index)
    return any(each == sweep for _, each in known)


def _one_of_each(sweeps: Sequence[Sweep]) -> Collection[Sweep]:
    """Returns each sweep once; raises MeshError CONFLICT if one is told in two ways."""
    found: dict[tuple[str, int], Sweep] = {}
    blocks: dict[str, str] = {}
    for sweep in sweeps:
        moved = blocks.setdefault(sweep.tx_hash, sweep.block_hash) != sweep.block_hash
        if moved or found.setdefault((sweep.tx_hash, sweep.log_index), sweep) != sweep:
            raise refusals.sweep_differs(sweep.tx_hash, sweep.log_index)
    return found.values()


def _check_balance(connection: sa.Connection, books: Books, address: str, more: int) -> None:
    """Raises MeshError CONFLICT if so much more than what is recorded cannot have left an address."""
    parameters = {**books._asdict(), "to_block": _ALL_BLOCKS, "address": address}
    balance = _balance(tuple(connection.execute(sa.text(_ONE), parameters).one()))
    if balance.swept + more > balance.deposited:
        raise refusals.swept_too_much(address, balance.swept + more, balance.deposited)


def _balance(row: Sequence[Any]) -> DepositBalance:
    position, address, account_id, xpub_id, address_index, deposited, swept = row
    # PostgreSQL's sums are decimals.
    return DepositBalance(position, address, account_id, xpub_id, address_index, int(deposited), int(swept))
