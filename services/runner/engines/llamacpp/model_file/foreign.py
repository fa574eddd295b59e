"""Recognises files that are no GGUF models, so that people learn what they have got instead."""

from __future__ import annotations

import struct

_MAGIC = b"GGUF"
_DOWNLOAD_AGAIN = "download the model file itself"
_CONVERT = "choose a GGUF file of the model, or convert it"
# How files begin that are often taken for models, what they are, and what helps.
_BEGINNINGS: tuple[tuple[bytes, str, str], ...] = (
    (b"version https://git-lfs", "a pointer of Git LFS in place of a model", f"{_DOWNLOAD_AGAIN}: `git lfs pull`"),
    (b"<!doctype", "a web page", _DOWNLOAD_AGAIN),
    (b"<html", "a web page", _DOWNLOAD_AGAIN),
    (b"{", "a JSON text", _DOWNLOAD_AGAIN),
    (b"pk\x03\x04", "an archive or a PyTorch checkpoint", _CONVERT),
    (b"\x80\x02", "a pickle of Python", _CONVERT),
    (b"\x1f\x8b", "a compressed file", "unpack it"),
    # These wrote their names as little-endian numbers.
    (b"tjgg", "a file in the format that llama.cpp had before GGUF", _CONVERT),
    (b"fmgg", "a file in the format that llama.cpp had before GGUF", _CONVERT),
    (b"lmgg", "a file in the format that llama.cpp had before GGUF", _CONVERT),
)
_VERSIONS = (2, 3)
# Long enough for all of these and for a GGUF file's first numbers.
HEAD = 32


def why_foreign(head: bytes) -> str:
    """Returns what a file with these first bytes is instead of a model in GGUF, and what helps; "" for a model."""
    if not head:
        return f"is empty; {_DOWNLOAD_AGAIN}"
    if head[:4] == _MAGIC:
        return _why_unreadable(head)
    lowered = head.lower()
    for beginning, what, advice in _BEGINNINGS:
        if lowered.startswith(beginning):
            return f"is {what}; {advice}"
    if head[8:10] == b'{"':
        return f"is a safetensors file; {_CONVERT}"
    return f"is no GGUF file; {_CONVERT}"


def _why_unreadable(head: bytes) -> str:
    if len(head) < 24:
        return f"is cut off after {len(head)} bytes; download it again"
    (version,) = struct.unpack_from("<I", head, 4)
    if version in _VERSIONS:
        return ""
    if struct.unpack_from(">I", head, 4)[0] in _VERSIONS:
        return "is a GGUF file for big-endian machines; choose the file for little-endian ones"
    known = " and ".join(map(str, _VERSIONS))
    return f"is a GGUF file of version {version}, and only the versions {known} can be read; {_CONVERT} again"
