"""Why a grammar is refused."""

from __future__ import annotations


class LarkError(ValueError):
    """Why a grammar is refused and how to mend it: the end of a sentence."""
