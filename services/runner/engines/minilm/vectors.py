"""Vectors that are cut to fewer dimensions."""

from __future__ import annotations

import math
from array import array

from services.runner.kinds.embedding import Vector


def shorten(vector: Vector, dimensions: int) -> Vector:
    """Returns the first components, scaled to length 1 again; for models that were trained to be cut so.

    The method is that of Matryoshka representation learning, https://arxiv.org/abs/2205.13147.
    """
    kept = vector[:dimensions]
    length = math.hypot(*kept) or 1.0
    return array("f", (component / length for component in kept))
