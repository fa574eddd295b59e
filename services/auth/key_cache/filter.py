"""Remembers which digests exist in 16 bytes for each, and may take another one for one of them.

This is a Bloom filter (Bloom, 1970). A digest is as good as random, so its own bytes choose the bits.
"""

from __future__ import annotations

from struct import Struct

# Four bits for each digest.
_WORDS = Struct("<4I")
# These bytes of a digest choose nothing else.
_OFFSET = 16
_BITS_A_DIGEST = 128


class DigestFilter:
    """Digests that exist.

    With as many digests as it was made for, it takes one of a million others for one of them. With ten times as many,
    one of 200; with thirty times as many, one of seven.
    """

    __slots__ = ("_bits", "_size")

    def __init__(self, digests: int) -> None:
        self._size = digests * _BITS_A_DIGEST
        self._bits = bytearray(self._size // 8)

    def add(self, digest: bytes) -> None:
        """Remembers a digest; it is never forgotten."""
        bits, size = self._bits, self._size
        for word in _WORDS.unpack_from(digest, _OFFSET):
            bit = word % size
            bits[bit >> 3] |= 1 << (bit & 7)

    def __contains__(self, digest: bytes) -> bool:
        chosen = (word % self._size for word in _WORDS.unpack_from(digest, _OFFSET))
        return all(self._bits[bit >> 3] >> (bit & 7) & 1 for bit in chosen)
