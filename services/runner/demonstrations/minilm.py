"""all-MiniLM-L6-v2, the packaged model for embeddings, as a file that llama.cpp loads."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from services.runner.demonstrations.bert_conversion import convert
from services.runner.demonstrations.cache import made_once
from services.runner.demonstrations.packaged import find_minilm

_NAME = "all-MiniLM-L6-v2"
# Raise the number whenever bert_conversion.py writes something else, so that no old file is taken for a new one.
_FILE = f"{_NAME}-f16-1.gguf"


def minilm(cache: Path) -> Path:
    """Returns the GGUF file, which is made at the first call in about two seconds; raises OSError or ValueError."""
    return made_once(cache, _FILE, partial(convert, find_minilm(), _NAME))
