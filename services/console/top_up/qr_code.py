"""Draws a text as a QR code. The page holds it as a path, so that no picture is loaded and no markup is trusted.

The library segno (BSD) makes the pattern of ISO/IEC 18004. It is in the extra `payments`. Without it, the page shows
the text alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from importlib.util import find_spec
from typing import NamedTuple

INSTALLED = find_spec("segno") is not None
# How many light modules around the pattern the standard asks for.
_QUIET_ZONE = 4


class QrCode(NamedTuple):
    """A square of `size` modules, and a path over all dark ones, as SVG has it."""

    size: int
    path: str


def qr_code(text: str, *, installed: bool = INSTALLED) -> QrCode | None:
    """Returns the QR code of a text; None if the library is not there."""
    if not installed:
        return None
    # Only where payments is installed is it there.
    import segno

    matrix = segno.make(text, error="m", micro=False).matrix
    size = len(matrix) + 2 * _QUIET_ZONE
    return QrCode(size, "".join(_row(row, top) for top, row in enumerate(matrix, _QUIET_ZONE)))


def _row(row: Sequence[int], top: int) -> str:
    """Returns a rectangle for each run of dark modules."""
    parts, left = [], _QUIET_ZONE
    for dark, run in itertools.groupby(row):
        width = len(list(run))
        if dark:
            parts.append(f"M{left} {top}h{width}v1h-{width}z")
        left += width
    return "".join(parts)
