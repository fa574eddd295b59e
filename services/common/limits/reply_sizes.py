"""How large a reply of a runner may be: runners keep to it, and edges read nothing larger."""

from __future__ import annotations

from services.common.catalog import Kind, Model

_MIB = 1 << 20
# A token with twenty alternatives and their bytes, where a whole answer comes in one reply.
_BYTES_PER_TOKEN = 2048
# For embeddings, 2048 vectors of 4096 components; for an image, about four times what 2048 x 2048 pixels take as PNG.
_LARGEST: dict[Kind, int] = {
    "chat": _MIB,
    "embedding": 40 * _MIB,
    "speech": 8 * _MIB,
    "transcription": 32 * _MIB,
    "image": 64 * _MIB,
}


def largest_reply(model: Model) -> int:
    """Returns the most bytes that one reply to a call of this model may have."""
    answer = model.context * _BYTES_PER_TOKEN if model.kind == "chat" else 0
    return _LARGEST[model.kind] + answer
