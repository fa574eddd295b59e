"""The SQL of passkeys, wallets, challenges and recovery codes.

A challenge and a code are good once, so what takes them is not idempotent. If a connection breaks during the commit,
somebody has to try again, and nobody gets in twice.
"""

from __future__ import annotations

from dataclasses import asdict, fields

import sqlalchemy as sa

from services.auth.issuing.key_store import Admission
from services.auth.keys import ApiKey
from services.auth.sign_in.challenge import Challenge, Purpose
from services.auth.sign_in.passkey import FoundPasskey, Passkey
from services.auth.sign_in.recovery_code import RecoveryCode
from services.auth.sign_in.wallet import WALLET_TAKEN, FoundWallet, Wallet
from services.auth.store.key_rows import works_at
from services.auth.store.store import AuthStore
from services.auth.store.tables import (
    JOINED_KEY,
    api_keys,
    challenges,
    joined_key,
    passkeys,
    recovery_codes,
    to_key,
    wallets,
)
from services.common.database.base import Database
from services.common.errors import Code, MeshError

_FIELDS = [field.name for field in fields(Passkey)]
_FOUND = sa.select(*(passkeys.c[name] for name in _FIELDS), *JOINED_KEY.values()).join(
    api_keys, api_keys.c.id == passkeys.c.key_id, isouter=True
)
_WALLET_FIELDS = [field.name for field in fields(Wallet)]
_FOUND_WALLET = sa.select(*(wallets.c[name] for name in _WALLET_FIELDS), *JOINED_KEY.values()).join(
    api_keys, api_keys.c.id == wallets.c.key_id, isouter=True
)


class SignInMethodStore:
    """All of them in the database. Every method raises MeshError UNAVAILABLE while the database is away."""

    def __init__(self, database: Database, keys: AuthStore) -> None:
        self._database = database
        self._keys = keys

    async def insert_challenge(self, challenge: Challenge, now_ms: int) -> None:
        """Keeps a challenge; forgets those that have expired, and that of the same browser for the same purpose."""
        kept = sa.select(challenges.c.challenge).where(challenges.c.challenge == challenge.challenge)
        former = sa.and_(
            challenges.c.browser_digest == challenge.browser_digest,
            challenges.c.purpose == challenge.purpose,
            challenges.c.challenge != challenge.challenge,
        )

        def work(connection: sa.Connection) -> None:
            connection.execute(challenges.delete().where(sa.or_(challenges.c.expires_at_ms <= now_ms, former)))
            if connection.execute(kept).first() is None:
                connection.execute(challenges.insert().values(asdict(challenge)))

        await self._database.transaction(work)

    async def take_challenge(self, challenge: bytes) -> Challenge | None:
        """Returns a challenge and forgets it, so that nobody gets it a second time; None if there is none."""
        taken = challenges.delete().where(challenges.c.challenge == challenge).returning(*challenges.columns)
        row = await self._database.transaction(lambda connection: connection.execute(taken).mappings().one_or_none())
        return None if row is None else Challenge(**{**row, "purpose": Purpose(row["purpose"])})

    async def insert_passkey(self, passkey: Passkey, key: ApiKey, admission: Admission | None) -> ApiKey:
        """Keeps a new passkey with its key, and returns the key as it is kept; raises MeshError as `insert_key` does.

        Raises MeshError CONFLICT for a credential that is registered already. Passkeys of the account whose keys were
        forgotten are forgotten too.
        """
        kept = sa.select(api_keys.c.id).where(api_keys.c.account_id == key.account_id)
        forgotten = passkeys.delete().where(
            passkeys.c.account_id == key.account_id, passkeys.c.key_id.not_in(kept), passkeys.c.key_id != key.id
        )
        same = sa.select(passkeys.c.key_id).where(passkeys.c.credential_id == passkey.credential_id)

        def also(connection: sa.Connection) -> None:
            connection.execute(forgotten)
            if connection.execute(same).first() is not None:
                raise MeshError(Code.CONFLICT, "This passkey is registered already. Sign in with it.")
            connection.execute(passkeys.insert().values(asdict(passkey)))

        return await self._keys.insert_key(key, admission, also)

    async def find_passkey(self, credential_id: bytes) -> FoundPasskey | None:
        """Returns the passkey that an authenticator calls so, whether or not it counts."""
        query = _FOUND.where(passkeys.c.credential_id == credential_id)
        row = await self._database.read(lambda connection: connection.execute(query).mappings().one_or_none())
        return None if row is None else _found(row)

    async def list_passkeys(self, account_id: str) -> list[FoundPasskey]:
        """Returns the passkeys of an account, oldest first, whether or not they count."""
        query = _FOUND.where(passkeys.c.account_id == account_id)
        query = query.order_by(api_keys.c.created_at_ms, passkeys.c.key_id)
        rows = await self._database.read(lambda connection: connection.execute(query).mappings().all())
        return [_found(row) for row in rows]

    async def advance(self, key_id: str, counter: int) -> bool:
        """Moves the counter of a passkey forward; returns whether it did. From 0 to 0 is forward too."""
        forward = passkeys.c.counter < counter if counter else passkeys.c.counter == 0
        move = passkeys.update().where(passkeys.c.key_id == key_id, forward).values(counter=counter)
        return await self._database.transaction(lambda connection: connection.execute(move).rowcount) == 1

    async def insert_wallet(self, wallet: Wallet, key: ApiKey, admission: Admission | None) -> ApiKey:
        """Keeps a new wallet with its key, and returns the key as it is kept; raises MeshError as `insert_key` does.

        Raises MeshError CONFLICT for a wallet that signs in to an account already. One whose key does not work any
        more is free.
        """
        same = _FOUND_WALLET.where(wallets.c.address == wallet.address)

        def also(connection: sa.Connection) -> None:
            row = connection.execute(same).mappings().one_or_none()
            former = None if row is None else joined_key(row)
            if former is not None and former.works(key.created_at_ms):
                raise MeshError(Code.CONFLICT, WALLET_TAKEN)
            connection.execute(wallets.delete().where(wallets.c.address == wallet.address))
            connection.execute(wallets.insert().values(asdict(wallet)))

        return await self._keys.insert_key(key, admission, also)

    async def find_wallet(self, address: str) -> FoundWallet | None:
        """Returns the wallet with an address, whether or not it counts."""
        query = _FOUND_WALLET.where(wallets.c.address == address)
        row = await self._database.read(lambda connection: connection.execute(query).mappings().one_or_none())
        return None if row is None else _found_wallet(row)

    async def list_wallets(self, account_id: str) -> list[FoundWallet]:
        """Returns the wallets of an account, oldest first, whether or not they count."""
        query = _FOUND_WALLET.where(wallets.c.account_id == account_id)
        query = query.order_by(api_keys.c.created_at_ms, wallets.c.key_id)
        rows = await self._database.read(lambda connection: connection.execute(query).mappings().all())
        return [_found_wallet(row) for row in rows]

    async def replace_recovery_code(self, code: RecoveryCode, key: ApiKey, admission: Admission | None) -> ApiKey:
        """Keeps the recovery code of an account in place of the one before, with its key; returns the key."""

        def also(connection: sa.Connection) -> None:
            connection.execute(recovery_codes.delete().where(recovery_codes.c.account_id == code.account_id))
            connection.execute(recovery_codes.insert().values(asdict(code)))

        return await self._keys.insert_key(key, admission, also)

    async def find_recovery_code(self, account_id: str, now_ms: int) -> RecoveryCode | None:
        """Returns the recovery code of an account; None if there is none, or if its key does not work any more."""
        query = (
            sa.select(*recovery_codes.columns)
            .join(api_keys, api_keys.c.id == recovery_codes.c.key_id)
            .where(recovery_codes.c.account_id == account_id, works_at(now_ms))
        )
        row = await self._database.read(lambda connection: connection.execute(query).mappings().one_or_none())
        return None if row is None else RecoveryCode(**row)

    async def take_recovery_code(self, digest: bytes) -> RecoveryCode | None:
        """Returns the recovery code with this digest and forgets it; None if there is none.

        Raises MeshError PERMISSION_DENIED for a code of a suspended or closed account, which is kept for the day on
        which the account lets people in again.
        """
        this = recovery_codes.c.digest == digest
        key = sa.select(api_keys).join(recovery_codes, recovery_codes.c.key_id == api_keys.c.id).where(this)
        # A code whose key was revoked works never again, so nobody is told about its account.
        living = key.where(api_keys.c.revoked_at_ms == 0)
        taken = recovery_codes.delete().where(this).returning(*recovery_codes.columns)

        def work(connection: sa.Connection) -> sa.RowMapping | None:
            row = connection.execute(living).mappings().first()
            if row is not None and (refusal := to_key(row).refusal):
                raise MeshError(Code.PERMISSION_DENIED, refusal)
            return connection.execute(taken).mappings().one_or_none()

        row = await self._database.transaction(work)
        return None if row is None else RecoveryCode(**row)


def _found(row: sa.RowMapping) -> FoundPasskey:
    return FoundPasskey(Passkey(**{name: row[name] for name in _FIELDS}), joined_key(row))


def _found_wallet(row: sa.RowMapping) -> FoundWallet:
    return FoundWallet(Wallet(**{name: row[name] for name in _WALLET_FIELDS}), joined_key(row))
