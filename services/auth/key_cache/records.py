"""Credentials by their digest, packed: a million of them take about 90 MB, and the garbage collector sees none.

A record has a fixed size. The first bits of a digest, which are as good as random, choose one of many byte arrays, and
the digest is searched for in it. So nothing is ever copied as a whole when the number of keys grows.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct

from services.auth.key_cache.credential import Credential
from services.auth.key_cache.terms import Terms, TermsTable

# Digest, id, account, number of the terms, expiry, revocation, change.
_RECORD = Struct("<32s12s12sIqqq")
_SHARDS = 4096
# So many of them are pruned at once: of a million keys, this takes about two milliseconds.
_SHARDS_AT_ONCE = 32
_KEY, _ACCOUNT = "key_", "acct_"


class KeyRecords:
    """A credential for each digest."""

    def __init__(self) -> None:
        self._shards = [bytearray() for _ in range(_SHARDS)]
        self._terms = TermsTable()
        # Those whose ids are not of the form that `new_id` makes.
        self._others: dict[bytes, Credential] = {}
        self._packed = 0

    def __len__(self) -> int:
        return self._packed + len(self._others)

    def get(self, digest: bytes) -> Credential | None:
        """Returns the credential of a digest; None if there is none."""
        shard = self._shard(digest)
        place = _place(shard, digest)
        if place < 0:
            return self._others.get(digest)
        _, key, account, number, expires, revoked, change = _RECORD.unpack_from(shard, place)
        terms = self._terms[number]
        return Credential(
            key_id=_KEY + key.hex(),
            account_id=_ACCOUNT + account.hex(),
            # What is kept, and not what was asked for: whoever verifies compares the two.
            digest=bytes(shard[place : place + len(digest)]),
            requests_per_minute=terms.requests_per_minute,
            expires_at_ms=expires,
            revoked_at_ms=revoked,
            models=terms.models,
            endpoints=terms.endpoints,
            monthly_credit_cap=terms.monthly_credit_cap,
            change_number=change,
            caps=terms.caps,
            rates=terms.rates,
            refusal=terms.refusal,
        )

    def put(self, credential: Credential) -> None:
        """Keeps a credential in place of the one that has its digest."""
        self._remove(credential.digest)
        key, account = _packed(credential.key_id, _KEY), _packed(credential.account_id, _ACCOUNT)
        if not (key and account):
            self._others[credential.digest] = credential
            return
        number = self._terms.take(
            Terms(
                credential.requests_per_minute,
                credential.models,
                credential.endpoints,
                credential.monthly_credit_cap,
                credential.caps,
                credential.rates,
                credential.refusal,
            )
        )
        self._shard(credential.digest).extend(
            _RECORD.pack(
                credential.digest,
                key,
                account,
                number,
                credential.expires_at_ms,
                credential.revoked_at_ms,
                credential.change_number,
            )
        )
        self._packed += 1

    def prune(self, before_ms: int) -> Iterator[None]:
        """Drops what was revoked or expired at that time or before, in slices: everybody may use it between two."""
        for digest in [digest for digest, credential in self._others.items() if credential.ended(before_ms)]:
            del self._others[digest]
        for first in range(0, _SHARDS, _SHARDS_AT_ONCE):
            for shard in self._shards[first : first + _SHARDS_AT_ONCE]:
                ended = [
                    digest
                    for digest, _, _, _, expires, revoked, _ in _RECORD.iter_unpack(shard)
                    if 0 < revoked <= before_ms or 0 < expires <= before_ms
                ]
                for digest in ended:
                    self._remove(digest)
            yield

    def _remove(self, digest: bytes) -> None:
        self._others.pop(digest, None)
        shard = self._shard(digest)
        place = _place(shard, digest)
        if place >= 0:
            self._terms.drop(_RECORD.unpack_from(shard, place)[3])
            del shard[place : place + _RECORD.size]
            self._packed -= 1

    def _shard(self, digest: bytes) -> bytearray:
        return self._shards[int.from_bytes(digest[:2], "big") % _SHARDS]


def _place(shard: bytearray, digest: bytes) -> int:
    """Returns where the record of a digest begins; -1 if there is none."""
    place = shard.find(digest)
    while place > 0 and place % _RECORD.size:
        # The same bytes within and across records, which chance alone never brings about.
        place = shard.find(digest, place + 1)
    return place


def _packed(public_id: str, prefix: str) -> bytes:
    """Returns the random bytes of an id that `new_id` has made; nothing for any other."""
    digits = public_id.removeprefix(prefix)
    if len(digits) != 24 or digits == public_id or not set(digits) <= set("0123456789abcdef"):
        return b""
    return bytes.fromhex(digits)
