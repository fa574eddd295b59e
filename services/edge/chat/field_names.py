"""Errors about a chat as errors about the body that it was made from, whose fields have other names."""

from __future__ import annotations

import re
from collections.abc import Callable

from services.common.errors import MeshError

# A field in a message: 'messages[2].content'.
_QUOTED = re.compile(r"'([a-z_]+(?:\[\d+\]|\.[a-z_]+)*)'")


def renamed(error: MeshError, name: Callable[[str], str]) -> MeshError:
    """Returns the error with other names for fields, in `param` and in the message; `name` has them, or the same."""
    message = _QUOTED.sub(lambda match: f"'{name(match[1])}'", error.message)
    return error.reworded(message, name(error.param))
