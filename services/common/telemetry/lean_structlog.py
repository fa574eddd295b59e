"""Imports structlog without rich, which it loads, where it is installed, for tracebacks that are never printed here.

That is 5 MB in every service (docs/decisions/0009-admin-without-a-framework.md).
"""

import sys

_rich = sys.modules.get("rich")
sys.modules["rich"] = None  # type: ignore[assignment] # This is how Python marks what must not be found.
import structlog  # noqa: E402 - after what it must not find

if _rich is None:
    del sys.modules["rich"]
else:
    sys.modules["rich"] = _rich

__all__ = ["structlog"]
