"""Signs up, signs in and confirms with Ethereum wallets, and adds them.

A wallet stands on a key without a secret, as a passkey does, and so its rights, its limits and its end are those of a
key (docs/decisions/0039-wallets-sign-in-and-pay.md).
"""

from __future__ import annotations

import secrets
from typing import NamedTuple

from services.auth.issuing.issuer import Insert
from services.auth.issuing.key_store import Admission
from services.auth.keys import WALLET_HINT, ApiKey
from services.auth.labels import RandomBytes, check_label, new_id
from services.auth.sessions.session import FoundSession
from services.auth.sessions.sessions import Sessions
from services.auth.sign_in.challenge import Challenge, Challenges, Purpose, RelyingParty
from services.auth.sign_in.enrolment import Enrolment
from services.auth.sign_in.passkey import NoteUse
from services.auth.sign_in.wallet import WALLET_TAKEN, FoundWallet, Wallet, WalletStore
from services.auth.sign_in.wallet_message import (
    check_chain_id,
    check_signature,
    message_of,
    read_address,
    read_nonce,
)
from services.common.clock import Clock, system_clock, to_ms
from services.common.errors import Code, MeshError

# How many wallets of an account work at the same time.
MOST_WALLETS = 50


class Site(NamedTuple):
    """Where a wallet signs: the origin of the page, and the number of the chain in the message."""

    origin: str
    chain_id: int


class Signed(NamedTuple):
    """What a wallet has answered, not checked yet."""

    nonce: str
    signature: str


class Wallets:
    """Does what wallets are for. Completing a challenge raises MeshError CONFLICT as `Challenges.take` does."""

    def __init__(
        self,
        store: WalletStore,
        challenges: Challenges,
        sessions: Sessions,
        enrolment: Enrolment,
        note_use: NoteUse,
        *,
        clock: Clock = system_clock,
        random: RandomBytes = secrets.token_bytes,
    ) -> None:
        self._store = store
        self._challenges = challenges
        self._sessions = sessions
        self._enrolment = enrolment
        self._note_use = note_use
        self._clock = clock
        self._random = random

    async def begin_sign_in(self, site: Site, browser_token: str, address: str) -> Challenge:
        """Returns the challenge for signing in. Nothing is told about the wallet before it has signed."""
        return await self._begin(Purpose.WALLET_SIGN_IN, site, browser_token, address)

    async def begin_confirmation(self, site: Site, session_token: str, address: str) -> Challenge:
        """Returns the challenge for having the wallet of a session sign once more.

        Raises MeshError UNAUTHENTICATED if the session has ended, and PERMISSION_DENIED if another wallet began it, or
        none.
        """
        key = (await self._sessions.find(session_token)).standing_on
        own = [each.wallet.address for each in await self.list(key.account_id) if each.wallet.key_id == key.id]
        if not own:
            raise MeshError(Code.PERMISSION_DENIED, "You did not sign in with a wallet. Use the key instead.")
        if read_address(address) != own[0]:
            raise _another_wallet()
        return await self._begin(
            *(Purpose.WALLET_CONFIRM, site, session_token, address), account_id=key.account_id, key_id=key.id
        )

    async def begin_adding(self, site: Site, session_token: str, address: str) -> Challenge:
        """Returns the challenge for a further wallet of the account of a session.

        Raises MeshError UNAUTHENTICATED if the session has ended, and CONFLICT if there are too many wallets.
        """
        key = (await self._sessions.find(session_token)).standing_on
        if len(await self.list(key.account_id)) >= MOST_WALLETS:
            message = f"The account has {MOST_WALLETS} wallets, the most allowed. Remove one first."
            raise MeshError(Code.CONFLICT, message)
        return await self._begin(
            *(Purpose.WALLET_ADD, site, session_token, address), account_id=key.account_id, key_id=key.id
        )

    async def begin_sign_up(self, site: Site, browser_token: str, address: str, account_name: str) -> Challenge:
        """Returns the challenge for the first wallet of a new account; raises MeshError INVALID_REQUEST."""
        check_label(account_name)
        return await self._begin(
            *(Purpose.WALLET_SIGN_UP, site, browser_token, address),
            account_id=new_id("acct", self._random),
            account_name=account_name,
        )

    async def sign_up(self, browser_token: str, signed: Signed, label: str) -> tuple[str, FoundSession]:
        """Opens an account with its first wallet, begins a session, and returns its token; raises MeshError."""
        check_label(label)
        challenge = await self._take(Purpose.WALLET_SIGN_UP, signed, browser_token)
        # Before the account is opened, which would be of no use to anybody.
        known = await self._store.find_wallet(challenge.wallet_address)
        if known is not None and known.works(to_ms(self._clock())):
            raise MeshError(Code.CONFLICT, WALLET_TAKEN)
        return await self._enrolment.open_account(challenge, WALLET_HINT, label, self._insert(challenge))

    async def add(self, session_token: str, signed: Signed, name: str) -> tuple[FoundWallet, str]:
        """Adds a wallet to the account of a session, with the rights and the limits of its key.

        Returns it, and the token of a new session if a recovery code began the old one, which ends. Raises MeshError.
        """
        check_label(name)
        found = await self._sessions.find(session_token)
        challenge = await self._take(Purpose.WALLET_ADD, signed, session_token)
        key, token = await self._enrolment.add(found, challenge, WALLET_HINT, name, self._insert(challenge))
        return FoundWallet(Wallet(key.id, key.account_id, challenge.wallet_address), key), token

    async def sign_in(self, browser_token: str, signed: Signed, label: str) -> tuple[str, FoundSession]:
        """Begins a session by a wallet and returns its token.

        Raises MeshError, PERMISSION_DENIED if the account is suspended or closed.
        """
        check_label(label)
        key = await self._key(await self._take(Purpose.WALLET_SIGN_IN, signed, browser_token))
        return await self._sessions.begin(key.account_id, key.id, label)

    async def confirm(self, session_token: str, signed: Signed) -> FoundSession:
        """Notes that the wallet of a session has signed once more; raises MeshError."""
        found = await self._sessions.find(session_token)
        challenge = await self._take(Purpose.WALLET_CONFIRM, signed, session_token)
        key = await self._key(challenge)
        if not key.id == challenge.key_id == found.session.key_id:
            raise _another_wallet()
        return await self._sessions.note_confirmed(found)

    async def list(self, account_id: str) -> list[FoundWallet]:
        """Returns the wallets of an account that work, oldest first."""
        now_ms = to_ms(self._clock())
        return [found for found in await self._store.list_wallets(account_id) if found.works(now_ms)]

    async def _begin(
        self,
        purpose: Purpose,
        site: Site,
        browser_token: str,
        address: str,
        *,
        account_id: str = "",
        account_name: str = "",
        key_id: str = "",
    ) -> Challenge:
        return await self._challenges.create(
            purpose,
            # The domain of the message is what the wallet compares with the page: host and port.
            RelyingParty(site.origin.partition("//")[2], site.origin),
            browser_token,
            account_id=account_id,
            account_name=account_name,
            key_id=key_id,
            wallet_address=read_address(address),
            chain_id=check_chain_id(site.chain_id),
        )

    async def _take(self, purpose: Purpose, signed: Signed, browser_token: str) -> Challenge:
        """Returns the challenge that its wallet has signed; raises MeshError."""
        challenge = await self._challenges.take(purpose, read_nonce(signed.nonce), browser_token)
        check_signature(challenge, signed.signature)
        return challenge

    async def _key(self, challenge: Challenge) -> ApiKey:
        """Returns the key of the wallet that has signed; raises MeshError UNAUTHENTICATED or PERMISSION_DENIED."""
        now_ms = to_ms(self._clock())
        found = await self._store.find_wallet(challenge.wallet_address)
        if found is None or found.key is None or not found.works(now_ms):
            message = "This wallet is not known here, or it was removed. Open an account with it, or sign in otherwise."
            raise MeshError(Code.UNAUTHENTICATED, message)
        if found.key.refusal:
            raise MeshError(Code.PERMISSION_DENIED, found.key.refusal)
        self._note_use(found.key.id, now_ms)
        return found.key

    def _insert(self, challenge: Challenge) -> Insert:
        async def insert(key: ApiKey, admission: Admission | None) -> ApiKey:
            wallet = Wallet(key.id, key.account_id, challenge.wallet_address)
            return await self._store.insert_wallet(wallet, key, admission)

        return insert


def nonce_and_message(challenge: Challenge) -> tuple[str, str]:
    """Returns what the browser gets of a challenge."""
    return challenge.challenge.hex(), message_of(challenge)


def _another_wallet() -> MeshError:
    message = "This is not the wallet that you signed in with. Use that one, or sign out and in again."
    return MeshError(Code.PERMISSION_DENIED, message)
