"""API keys: what a key looks like, what is kept of it, and what may be asked of a new one.

A key is `sk-<prefix>-<43 letters and digits>`, the last part being 256 random bits. Only its SHA-256 digest is kept:
with that much randomness in the key, a slow password hash would add cost and no safety.
"""

from __future__ import annotations

import hashlib
import secrets
import string
from dataclasses import dataclass

from services.auth.labels import RandomBytes
from services.auth.lineage import Ancestor, Limit, binding
from services.common.errors import Code, MeshError

_ALPHABET = string.digits + string.ascii_letters
_SECRET_BYTES = 32
# 62 ** 43 is the first power of 62 above 2 ** 256.
_SECRET_LENGTH = 43
# How much of the random part the public hint shows; the other 39 characters still hold 232 random bits.
_HINT_LENGTH = 4
# Nothing longer can be a key, so nothing longer is hashed.
MAX_KEY_LENGTH = 128
# What stands in the place of the hint of a key without a secret: no genuine key begins like this. Nobody can send such
# a key; a passkey, a wallet or a recovery code stands on it, so that its rights and limits are those of any key.
PASSKEY_HINT = "passkey"
WALLET_HINT = "wallet"
RECOVERY_CODE_HINT = "recovery code"
# What an account is signed in to with every day. Codes are for the day on which all else is lost.
DAILY_HINTS = (PASSKEY_HINT, WALLET_HINT)
SECRETLESS_HINTS = (*DAILY_HINTS, RECOVERY_CODE_HINT)
# What the owner of a suspended account is told, whatever was shown to get in.
SUSPENDED = "The account is suspended. Its credits are kept. Ask the operator of this service to resume it."
# And that of a closed one.
CLOSED = "The account is closed. Its credits are kept. Ask the operator of this service to reopen it."
# The contract carries limits as uint32.
MAX_REQUESTS_PER_MINUTE = 2**32 - 1


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is kept of a key. Times are milliseconds since the Unix epoch; 0 means never."""

    id: str
    account_id: str
    name: str
    hint: str
    digest: bytes
    # Requests allowed in any 60 seconds; 0 means no limit.
    requests_per_minute: int
    created_at_ms: int
    expires_at_ms: int = 0
    revoked_at_ms: int = 0
    last_used_at_ms: int = 0
    # Catalog ids; empty means all models.
    models: tuple[str, ...] = ()
    # Of services.common.scopes.ENDPOINTS; empty means the ordinary ones.
    endpoints: tuple[str, ...] = ()
    # Credits in one calendar month (UTC); 0 means no cap.
    monthly_credit_cap: int = 0
    # The id of the key that took its place.
    replaced_by: str = ""
    # The number of the change that made it what it is; see services/auth/changes.py.
    change_number: int = 0
    # The id of the key that made it; empty if an operator did or it is unknown.
    created_by: str = ""
    # The id of the first key of the rotations that led to it; empty if there was none.
    origin: str = ""
    # The key that made it and those before that one, the first of them first.
    ancestors: tuple[Ancestor, ...] = ()
    # The session of the console that it belongs to and ends with; empty for all other keys.
    session_id: str = ""
    # When its account was suspended; 0 if that is not so.
    suspended_at_ms: int = 0
    # When its account was closed by its owner; 0 if that is not so.
    closed_at_ms: int = 0

    @property
    def refusal(self) -> str:
        """Why its account lets nobody in, as its owner is told; empty if it does."""
        if self.closed_at_ms:
            return CLOSED
        return SUSPENDED if self.suspended_at_ms else ""

    @property
    def has_secret(self) -> bool:
        """Whether there is something that a client can send."""
        return self.hint not in SECRETLESS_HINTS

    @property
    def counted_as(self) -> str:
        """The id under which it counts, as all keys of the same rotations do."""
        return self.origin or self.id

    @property
    def caps(self) -> tuple[Limit, ...]:
        """Every monthly cap that binds it, in credits."""
        above = [(ancestor.key_id, ancestor.monthly_credit_cap) for ancestor in self.ancestors]
        return binding([*above, (self.counted_as, self.monthly_credit_cap)])

    @property
    def rates(self) -> tuple[Limit, ...]:
        """Every rate limit that binds it, in requests in any 60 seconds."""
        above = [(ancestor.key_id, ancestor.requests_per_minute) for ancestor in self.ancestors]
        return binding([*above, (self.counted_as, self.requests_per_minute)])

    def descends_from(self, other: ApiKey) -> bool:
        """Whether the other key, or one of its rotations, has made this one or one that this one descends from."""
        return any(ancestor.key_id == other.counted_as for ancestor in self.ancestors)

    def works(self, now_ms: int) -> bool:
        """Whether requests with it are let in."""
        return not self.revoked_at_ms and not 0 < self.expires_at_ms <= now_ms


def new_secret(prefix: str, random: RandomBytes = secrets.token_bytes) -> str:
    """Returns a new key. Only letters and digits follow the prefix, so that a double click selects all of them."""
    number = int.from_bytes(random(_SECRET_BYTES), "big")
    characters = []
    for _ in range(_SECRET_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        characters.append(_ALPHABET[digit])
    return f"sk-{prefix}-{''.join(characters)}"


def digest_of(secret: str) -> bytes:
    """Returns what is stored and looked up in place of the key."""
    return hashlib.sha256(secret.encode()).digest()


def hint_of(secret: str) -> str:
    """Returns the beginning of a genuine key: public, and enough for its owner to recognise it."""
    prefix_length = secret.rindex("-") + 1
    return secret[: prefix_length + _HINT_LENGTH]


def check_expiry(expires_at_ms: int, now_ms: int) -> None:
    """Raises MeshError INVALID_REQUEST for an expiry that is not in the future; 0 means never."""
    if expires_at_ms != 0 and expires_at_ms <= now_ms:
        message = "The expiry lies in the past; give a future time in milliseconds since the Unix epoch, or 0."
        raise MeshError(Code.INVALID_REQUEST, message, param="expires_at_ms")
