"""Challenges: what an authenticator or a wallet signs, so that what it signed is good once, here, and for one thing."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from services.auth.labels import RandomBytes
from services.common.clock import Clock, system_clock, to_ms
from services.common.errors import Code, MeshError

CHALLENGE_BYTES = 32
# How long a person may take, in seconds.
LIFETIME = 300.0


class Purpose(StrEnum):
    """What a challenge is good for."""

    SIGN_IN = "sign_in"
    CONFIRM = "confirm"
    ADD = "add"
    SIGN_UP = "sign_up"
    # The same with a wallet.
    WALLET_SIGN_IN = "wallet_sign_in"
    WALLET_CONFIRM = "wallet_confirm"
    WALLET_ADD = "wallet_add"
    WALLET_SIGN_UP = "wallet_sign_up"


@dataclass(frozen=True, slots=True)
class Challenge:
    """What is kept of a challenge until it is answered."""

    challenge: bytes
    purpose: Purpose
    browser_digest: bytes
    relying_party_id: str
    origin: str
    # Whose credential is to be made or shown; empty for any.
    account_id: str
    # The name of an account that is to be opened.
    account_name: str
    # The key of the session in which this is done; empty if there is none.
    key_id: str
    expires_at_ms: int
    # The wallet that is to sign, in lower case, and the number of the chain in its message; empty for passkeys.
    wallet_address: str = ""
    chain_id: int = 0


@dataclass(frozen=True, slots=True)
class RelyingParty:
    """The console as browsers know it: the domain of its passkeys, and the origin of its pages."""

    id: str
    origin: str


class ChallengeStore(Protocol):
    """Where challenges are kept. Every method raises MeshError UNAVAILABLE while that cannot be reached."""

    async def insert_challenge(self, challenge: Challenge, now_ms: int) -> None:
        """Keeps a challenge; forgets those that have expired, and that of the same browser for the same purpose.

        So a browser has a few at most, however often it asks.
        """

    async def take_challenge(self, challenge: bytes) -> Challenge | None:
        """Returns a challenge and forgets it, so that nobody gets it a second time; None if there is none."""


class Challenges:
    """Makes challenges, and takes them back once."""

    def __init__(
        self, store: ChallengeStore, *, clock: Clock = system_clock, random: RandomBytes = secrets.token_bytes
    ) -> None:
        self._store = store
        self._clock = clock
        self._random = random

    async def create(
        self,
        purpose: Purpose,
        relying_party: RelyingParty,
        browser_token: str,
        *,
        account_id: str = "",
        account_name: str = "",
        key_id: str = "",
        wallet_address: str = "",
        chain_id: int = 0,
    ) -> Challenge:
        """Makes a challenge for one browser."""
        now_ms = to_ms(self._clock())
        challenge = Challenge(
            challenge=self._random(CHALLENGE_BYTES),
            purpose=purpose,
            browser_digest=_digest(browser_token),
            relying_party_id=relying_party.id,
            origin=relying_party.origin,
            account_id=account_id,
            account_name=account_name,
            key_id=key_id,
            expires_at_ms=now_ms + round(LIFETIME * 1000),
            wallet_address=wallet_address,
            chain_id=chain_id,
        )
        await self._store.insert_challenge(challenge, now_ms)
        return challenge

    async def take(self, purpose: Purpose, challenge: bytes, browser_token: str) -> Challenge:
        """Returns the challenge that was answered; whatever comes of it, it cannot be answered again.

        Raises MeshError CONFLICT for one that was answered before, has expired, was made for something else or for
        another browser.
        """
        found = await self._store.take_challenge(challenge)
        if (
            found is None
            or found.purpose is not purpose
            or found.expires_at_ms <= to_ms(self._clock())
            or not hmac.compare_digest(found.browser_digest, _digest(browser_token))
        ):
            message = "This took too long, or it was done before. Reload the page and try again."
            raise MeshError(Code.CONFLICT, message)
        return found


def _digest(browser_token: str) -> bytes:
    return hashlib.sha256(browser_token.encode()).digest()
