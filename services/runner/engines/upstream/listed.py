"""What a server's list of its models says of each, beyond OpenAI's fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from services.common.catalog import Kind

Entry = Mapping[str, Any]
# The tasks of models, as Hugging Face names them.
_TASKS: Mapping[str, Kind] = {
    "automatic-speech-recognition": "transcription",
    "feature-extraction": "embedding",
    "sentence-similarity": "embedding",
    "text-generation": "chat",
    "text-to-image": "image",
    "text-to-speech": "speech",
}
WORDS: Mapping[Kind, str] = {
    "chat": "chats",
    "embedding": "embeddings",
    "speech": "speech",
    "transcription": "transcriptions",
    "image": "images",
}


def task_of(entry: Entry) -> tuple[Kind, ...] | None:
    """Returns the kinds that a model is for, none if it does other work than that of this mesh; None if not told."""
    for kind in get_args(Kind):
        # So the edge of another mesh tells it.
        if entry.get("kind") == kind:
            return (kind,)
    task = entry.get("task")
    if not isinstance(task, str):
        return None
    return (_TASKS[task],) if task in _TASKS else ()


def names_of(found: Any) -> tuple[str, ...]:
    """Returns the names in a list of names, or of objects with an `id` or a `name`."""
    if not isinstance(found, list):
        return ()
    named = [each.get("id") or each.get("name") if isinstance(each, dict) else each for each in found]
    return tuple(dict.fromkeys(name for name in named if isinstance(name, str) and name))


def number_of(entry: Entry, name: str) -> int:
    """Returns a number of llama.cpp's `meta`; 0 if it is not there."""
    meta = entry.get("meta")
    found = meta.get(name) if isinstance(meta, dict) else None
    return found if isinstance(found, int) else 0
