"""Credentials by their digest, packed: a million of them take about 90 MB, and the garbage collector sees none.

A record has a fixed size. The first bits of a digest, which are as good as random, choose one of many byte arrays, and
the digest is searched for in it. So nothing is ever copied as a whole when the number of keys grows.

There is a limit. Above it, an array that gains a record drops the one that was not used for longest, its first one. A
filter of the array's own then tells which digests exist. It is made for one array at a time, so nothing takes long.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from struct import Struct

from services.auth.key_cache.credential import Credential
from services.auth.key_cache.filter import DigestFilter
from services.auth.key_cache.terms import Terms, TermsTable

# Digest, id, account, number of the terms, expiry, revocation, change.
_RECORD = Struct("<32s12s12sIqqq")
_DIGEST_SIZE = 32
_MOST_SHARDS = 16_384
# So few records do not need another array. A filter of so many is made in 50 microseconds.
_SMALL_SHARD = 64
# So many of them are pruned at once: of a million keys, this takes about two milliseconds.
_SHARDS_AT_ONCE = 128
_KEY, _ACCOUNT = "key_", "acct_"


class KeyRecords:
    """A credential for each digest: all of them up to a limit, beyond it those that were used last."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        count = min(_MOST_SHARDS, -(-limit // _SMALL_SHARD))
        self._shards = [bytearray() for _ in range(count)]
        self._terms = TermsTable()
        # By shard, those whose ids are not of the form that `new_id` makes.
        self._others: defaultdict[int, dict[bytes, Credential]] = defaultdict(dict)
        # By shard, every digest that was ever kept, once one of them had to go.
        self._filters: dict[int, DigestFilter] = {}
        # The highest change number of what had to go.
        self._last_dropped = -1
        self._kept = 0

    def __len__(self) -> int:
        return self._kept

    def may_exist(self, digest: bytes) -> bool:
        """Whether a digest may be one that had to go. Of digests that never were kept, few seem so."""
        known = self._filters.get(self._index(digest))
        return known is not None and digest in known

    def may_be_old(self, digest: bytes, change_number: int) -> bool:
        """Whether a later change of it may have been kept, and had to go."""
        return change_number <= self._last_dropped and self.may_exist(digest) and self.get(digest) is None

    def get(self, digest: bytes) -> Credential | None:
        """Returns the credential of a digest; None if there is none."""
        index = self._index(digest)
        shard = self._shards[index]
        place = _place(shard, digest)
        if place < 0:
            return self._others[index].get(digest) if index in self._others else None
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
        """Keeps a credential in place of the one that has its digest, as the one that was used last."""
        digest = credential.digest
        index = self._index(digest)
        self._remove(index, digest)
        key, account = _packed(credential.key_id, _KEY), _packed(credential.account_id, _ACCOUNT)
        if key and account:
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
            times = (credential.expires_at_ms, credential.revoked_at_ms, credential.change_number)
            self._shards[index].extend(_RECORD.pack(digest, key, account, number, *times))
        else:
            self._others[index][digest] = credential
        self._kept += 1
        if index in self._filters:
            self._filters[index].add(digest)
        if self._kept > self._limit:
            self._drop_oldest(index)

    def note_use(self, digest: bytes) -> None:
        """Makes a credential the one of its shard that was used last. That matters only once some had to go."""
        index = self._index(digest)
        if index not in self._filters:
            return
        shard = self._shards[index]
        place = _place(shard, digest)
        if place >= 0:
            record = shard[place : place + _RECORD.size]
            del shard[place : place + _RECORD.size]
            shard.extend(record)
        elif digest in (others := self._others.get(index, {})):
            others[digest] = others.pop(digest)

    def prune(self, before_ms: int) -> Iterator[None]:
        """Drops what was revoked or expired at that time or before, in slices: everybody may use it between two."""
        for first in range(0, len(self._shards), _SHARDS_AT_ONCE):
            for index, shard in enumerate(self._shards[first : first + _SHARDS_AT_ONCE], first):
                ended = [
                    digest
                    for digest, _, _, _, expires, revoked, _ in _RECORD.iter_unpack(shard)
                    if 0 < revoked <= before_ms or 0 < expires <= before_ms
                ]
                if index in self._others:
                    ended += [digest for digest, each in self._others[index].items() if each.ended(before_ms)]
                for digest in ended:
                    self._remove(index, digest)
            yield

    def _drop_oldest(self, index: int) -> None:
        """Drops one credential of a shard that has one, and remembers that it exists."""
        shard, others = self._shards[index], self._others.get(index, {})
        if index not in self._filters:
            known = self._filters[index] = DigestFilter(-(-self._limit // len(self._shards)))
            for digest, *_ in _RECORD.iter_unpack(shard):
                known.add(digest)
            for digest in others:
                known.add(digest)
        if shard:
            digest, change_number = bytes(shard[:_DIGEST_SIZE]), _RECORD.unpack_from(shard)[-1]
        else:
            digest, credential = next(iter(others.items()))
            change_number = credential.change_number
        self._last_dropped = max(self._last_dropped, change_number)
        self._remove(index, digest)

    def _remove(self, index: int, digest: bytes) -> None:
        shard = self._shards[index]
        place = _place(shard, digest)
        if place >= 0:
            self._terms.drop(_RECORD.unpack_from(shard, place)[3])
            del shard[place : place + _RECORD.size]
            self._kept -= 1
        elif index in self._others and self._others[index].pop(digest, None) is not None:
            self._kept -= 1

    def _index(self, digest: bytes) -> int:
        return int.from_bytes(digest[:3], "big") % len(self._shards)


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
