"""Audits of a ledger that is at work: of what is new since the last one, and of the whole.

Both go slice by slice, on the connection of the longest reads. Between slices they rest, so that what they take of the
disk and the processor stays small beside the requests.
"""

from __future__ import annotations

import asyncio
from functools import partial

import sqlalchemy as sa

from services.billing.store.audit import accounts, movements
from services.billing.store.audit.account_ranges import AccountRange, AccountRanges
from services.billing.store.audit.accounts import check_accounts
from services.billing.store.audit.checkpoint import (
    EntrySums,
    conclude,
    forget_finished,
    imbalance,
    make_report,
    move_checkpoint,
    prove_slice,
    read_checkpoint,
    read_findings,
    replace_findings,
)
from services.billing.store.audit.long_account import LongAccount
from services.billing.store.audit.movements import NO_FLOWS, EntrySlice, read_slice
from services.billing.store.audit.pace import REST, UNHURRIED, PacedWork
from services.billing.store.audit.report import Report
from services.billing.store.entries import read_horizon
from services.common.database.base import Database
from services.common.database.lanes import Lane

# A report names no more violations.
_MOST = 1_000


class Audits:
    """One audit of each kind at a time in a process; others wait. Every method raises MeshError UNAVAILABLE."""

    def __init__(
        self,
        database: Database,
        *,
        entries: int = movements.SLICE,
        account_entries: int = accounts.SLICE,
        rest: float = REST,
    ) -> None:
        """Reads so many entries at a time, and accounts of so many; rests `rest` times as long as a slice took.

        An audit of the whole ledger rests three times as long as that.
        """
        self._database = database
        self._rest = rest
        self._entries = entries
        self._account_entries = account_entries
        self._new, self._all = asyncio.Lock(), asyncio.Lock()

    async def audit_new(self) -> Report:
        """Proves every entry that came since the last audit, moves the checkpoint, and compares all balances with it.

        What an earlier audit found is in the report until an audit of the whole ledger no longer finds it.
        """
        async with self._new:
            work = PacedWork(self._rest)
            horizon = await self._horizon()
            while (proven := await self._proven()) < horizon:
                await work.do(self._prove_slice(proven, horizon))
            verdict = await self._database.read(conclude, Lane.WHOLE)
            if verdict.finished:
                await self._database.transaction(partial(forget_finished, verdict=verdict))
            return verdict.report

    async def audit_all(self) -> Report:
        """Checks every invariant over all rows: first every movement, then every account against all that it has."""
        async with self._all:
            work = PacedWork(self._rest * UNHURRIED)
            # Before the horizon: these are of entries that this audit reads.
            former = await self._database.read(read_findings)
            horizon = await self._horizon()
            violations: list[str] = []
            sums = EntrySums(0, 0, 0, NO_FLOWS)
            while sums.upto < horizon:
                part = await work.do(self._read_slice(sums.upto, horizon))
                sums = sums.plus(part)
                violations.extend(part.violations)
            if sums.total:
                violations.insert(0, imbalance(sums.total))
            ranges = AccountRanges(self._account_entries)
            first: str | None = ""
            while first is not None:
                checked, found = await work.do(self._check_accounts(ranges, first))
                violations.extend(found if not checked.long else await self._check_long_account(checked, work))
                first = checked.end or None
            del violations[_MOST:]
            remember = partial(replace_findings, former=former, violations=violations, total=sums.total)
            await self._database.transaction(remember)
            return await self._database.read(partial(make_report, violations=violations, sums=sums), Lane.WHOLE)

    async def _horizon(self) -> int:
        return await self._database.transaction(read_horizon)

    async def _proven(self) -> int:
        return (await self._database.read(read_checkpoint)).entry_id

    async def _prove_slice(self, after: int, horizon: int) -> None:
        """Moves the checkpoint behind the slice, if no other replica has."""
        work = partial(prove_slice, after=after, horizon=horizon, size=self._entries)
        proven = await self._database.read(work, Lane.WHOLE)
        await self._database.transaction(partial(move_checkpoint, proven=proven))

    async def _read_slice(self, after: int, horizon: int) -> EntrySlice:
        work = partial(read_slice, after=after, horizon=horizon, size=self._entries)
        return await self._database.read(work, Lane.WHOLE)

    async def _check_accounts(self, ranges: AccountRanges, first: str) -> tuple[AccountRange, list[str]]:
        """Returns the next slice of accounts, and what is wrong with them; a long account is not read yet."""

        def check(connection: sa.Connection) -> tuple[AccountRange, list[str]]:
            part = ranges.next(connection, first)
            return part, [] if part.long else check_accounts(connection, part)

        return await self._database.read(check, Lane.WHOLE)

    async def _check_long_account(self, part: AccountRange, work: PacedWork) -> list[str]:
        account = LongAccount(part, self._account_entries)
        while await work.do(self._database.read(account.read, Lane.WHOLE)):
            pass
        return account.violations
