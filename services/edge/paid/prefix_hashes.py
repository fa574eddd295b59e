"""Hashes of a conversation's prefixes: a router knows by them which runner has read most of it already.

The hash of each message covers all that comes before it in the prompt, so that two conversations share exactly the
hashes of what their prompts have in common. The account comes first of all: hashes of two accounts are never the same,
whatever these have sent, so that nobody's requests are placed by what others have sent, and nothing can be compared.
A prompt cannot be read from its hashes, and they are kept nowhere but in the memory of routers.
"""

from __future__ import annotations

import hashlib
from array import array
from functools import lru_cache
from itertools import pairwise

from tiermesh.runner.v1 import runner_pb2

# Of longer conversations only the last so many are sent: a next turn has a few messages more, rarely that many.
MOST_HASHES = 16
# Where a text without messages is first cut, in bytes: shorter ones are read faster than it is worth to look for them.
FIRST_CUT = 1024


def prefix_hashes(account_id: str, call: runner_pb2.GenerateCall) -> list[int]:
    """Returns 64-bit hashes of the longest prefixes of a call for text, the shortest prefix first."""
    # Whatever chat templates write before the messages. Tools whose use is forbidden are not shown to the model.
    tools = () if call.tool_choice.mode == runner_pb2.ToolChoice.MODE_NONE else call.tools
    head = f"{account_id}\0{call.model}\0{call.reasoning_effort}\0{len(tools)}\0"
    read = hashlib.sha256(head.encode())
    for tool in tools:
        read.update(tool.SerializeToString())
    pieces = _pieces(call)
    for piece in pieces[:-MOST_HASHES]:
        read.update(piece)
    hashes = []
    for piece in pieces[-MOST_HASHES:]:
        read.update(piece)
        hashes.append(int.from_bytes(read.digest()[:8], "little"))
    return hashes


@lru_cache(maxsize=4096)
def cache_scope(account_id: str) -> str:
    """Returns what stands for an account at runners: the same at every edge, and without the account's ID."""
    return hashlib.sha256(f"cache_scope\0{account_id}".encode()).hexdigest()[:32]


def _pieces(call: runner_pb2.GenerateCall) -> list[bytes]:
    """Returns what is hashed one after the other: the messages, or the parts of a text that has none."""
    if call.HasField("completion"):
        task = call.completion
        return _cut(task.prompt.encode() or array("I", task.token_ids).tobytes())
    return [message.SerializeToString() for message in call.messages]


def _cut(text: bytes) -> list[bytes]:
    """Cuts a text wherever its length has doubled, so that a longer text with this beginning is cut there too.

    What comes after the last cut, at most a half, is left out.
    """
    cuts = [FIRST_CUT << doublings for doublings in range((len(text) // FIRST_CUT).bit_length())]
    return [text[start:end] for start, end in pairwise([0, *cuts])]
