"""Makes the library believe that flash-attn is there, which it demands for continuous batching.

Nothing calls its functions on the stand-in: the model's attention is the stand-in's own.
"""

from __future__ import annotations

import sys
import types
from typing import NoReturn


def install() -> None:
    """Makes `import flash_attn` find a version with paged attention."""
    module = types.ModuleType("flash_attn")
    for name in ("flash_attn_func", "flash_attn_varlen_func", "flash_attn_with_kvcache"):
        setattr(module, name, _refuse)
    module.__dict__["__version__"] = "2.8.3"
    sys.modules["flash_attn"] = module
    sys.modules["flash_attn_2_cuda"] = types.ModuleType("flash_attn_2_cuda")


def uninstall() -> None:
    """Forgets it again, once the library has been imported: other libraries would stumble over it."""
    for name in ("flash_attn", "flash_attn_2_cuda"):
        sys.modules.pop(name, None)


def _refuse(*_: object, window_size: object = None, softcap: object = None) -> NoReturn:
    raise AssertionError("the stand-in has no flash attention")
