"""Bodies made to cost a server as much as they can: by name, and at random by kind."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

MIB = 1024 * 1024
# The limits of an edge with the default settings, in bytes: without images, and with them.
TEXT, WHOLE = 4 * MIB, 28 * MIB
# Where each body goes, and what it holds beside the costly value.
_HELLO = b'"model":"tiermesh-pro","messages":[{"role":"user","content":"Hi"}]'
_TURN = (
    b'{"model":"tiermesh-pro","max_tokens":1,"messages":[{"role":"assistant","content":[%b]},'
    b'{"role":"user","content":""}]}'
)
_PLACES = (
    ("/chat/completions", b"{" + _HELLO + b',"prediction":{"content":%b}}'),
    ("/chat/completions", b"{" + _HELLO + b',"functions":[%b]}'),
    ("/chat/completions", b"{" + _HELLO + b',"unknown":%b}'),
    ("/chat/completions", b"{" + _HELLO + b',"tools":[{"function":{"name":"f","parameters":{"enum":[%b]}}}]}'),
    ("/chat/completions", b'{"model":"tiermesh-pro","messages":[{"role":"user","content":%b}]}'),
    ("/completions", b'{"model":"tiermesh-pro","prompt":%b}'),
    ("/responses", b'{"model":"tiermesh-pro","input":[{"type":"reasoning","content":%b},{"role":"user"}]}'),
    ("/responses", b'{"model":"tiermesh-pro","input":"Hi","tools":[{"type":"function","parameters":{"enum":[%b]}}]}'),
    ("/responses", b'{"model":"tiermesh-pro","input":"Hi","conversation":%b}'),
    ("/messages", b"{" + _HELLO + b',"max_tokens":1,"context_management":%b}'),
    ("/messages", _TURN % b'{"type":"tool_use","id":"a","name":"f","input":{"data":%b}}'),
    ("/messages", _TURN % b'{"type":"of another service","content":%b}'),
    ("/messages", _TURN % b'{"type":"thinking","thinking":"a","signature":%b}'),
    ("/embeddings", b'{"model":"tiermesh-embed","input":%b}'),
    ("/images/generations", b'{"model":"tiermesh-image","prompt":"x","unknown":%b}'),
    ("/audio/speech", b'{"model":"tiermesh-speech","voice":"a","input":%b}'),
    ("/keys", b'{"models":%b}'),
)
_TEXTS = ("a", "\\n", '\\"', "\\\\", "\\u00e9", "é", "語", "😀", "\\ud83d\\ude00", "a" * 500 + "😀", "{},[]:")
_SMALL = (
    "{}",
    "[]",
    "[[]]",
    '{"":0}',
    '{"a":{"b":"c"}}',
    '""',
    '"a"',
    "0",
    "true",
    "null",
    '{"type":"text","text":""}',
)
_NUMBERS = (
    "7",
    "123456",
    "0.5",
    "1e5",
    "1.7976931348623157e308",
    "1.2345678901234567e-300",
    "9" * 300,
    "-0.0",
    "1e400",
)


class Costly(NamedTuple):
    """A body and the path, below the base URL, that it is sent to."""

    name: str
    path: str
    content: bytes
    content_type: str = "application/json"


_ALLOWED = b",".join(
    [
        *[b'{"a":0,"b":1,"c":2}'] * 49_000,
        *[b"1.7976931348623157e308"] * 4_900,
        *[b"7"] * 190_000,
        b'"' + b"\\u00e9" * 300_000 + b'"',
    ]
)


def fill(item: str, size: int, separator: str = ",") -> bytes:
    """Returns as many of one item as fit into `size` bytes."""
    return separator.join([item] * ((size + len(separator)) // (len(item.encode()) + len(separator)))).encode()


def named(size: int = TEXT) -> list[Costly]:
    """Returns the bodies that were once found to cost seconds, of at most `size` bytes each."""
    size -= 200
    biases = b",".join(b'"%d":1' % token for token in range(size // 11))
    call = '{"id":"","function":{"name":"","arguments":""}}'
    lists = b"[" + fill("[]", size // 2 - 200) + b"]"
    arguments = json.dumps({"id": "", "function": {"name": "f", "arguments": lists.decode()}}).encode()
    turn = b'{"model":"tiermesh-pro","messages":[{"role":"assistant","tool_calls":[%b]}]}'
    chats = {
        "logit_bias": b"{" + _HELLO + b',"logit_bias":{' + biases + b"}}",
        "tool_calls": turn % fill(call, size),
        "arguments of a tool call": turn % arguments,
        "tool parameters": b"{" + _HELLO + b',"tools":[{"function":{"name":"f","parameters":{"a":['
        + fill('{"":0}', size) + b"]}}}]}",
        "metadata": b"{" + _HELLO + b',"metadata":{' + fill('"a":"b"', size) + b"}}",
        "functions": b"{" + _HELLO + b',"functions":[' + fill("{}", size) + b"]}",
        # What the bounds of the edge just let through.
        "as much as is allowed": b"{" + _HELLO + b',"prediction":{"a":[' + _ALLOWED + b"]}}",
        "tool calls as allowed": turn % b",".join([call.encode()] * 24_000),
        "biases as allowed": b"{" + _HELLO + b',"logit_bias":{' + b",".join(biases.split(b",")[:149_000]) + b"}}",
        "numbers": b"{" + _HELLO + b',"prediction":{"a":[' + fill("1.7976931348623157e308", size) + b"]}}",
    }  # fmt: skip
    blocks = {
        "texts": '{"type":"text","text":""}',
        "thoughts": '{"type":"thinking","thinking":"","signature":"' + "A" * 60 + '"}',
        "tool uses": '{"type":"tool_use","id":"","name":"","input":{}}',
        "blocks of another service": '{"type":"x"}',
    }
    return [
        *(Costly(name, "/chat/completions", content) for name, content in chats.items()),
        Costly("token ids", "/completions", b'{"model":"tiermesh-pro","prompt":[' + fill("7", size) + b"]}"),
        Costly("lists of token ids", "/completions", b'{"model":"tiermesh-pro","prompt":[' + fill("[7]", size) + b"]}"),
        Costly("embedding inputs", "/embeddings", b'{"model":"tiermesh-embed","input":[' + fill('""', size) + b"]}"),
        Costly("items", "/responses", b'{"model":"tiermesh-pro","input":[' + fill('{"role":"user"}', size) + b"]}"),
        *(Costly(name, "/messages", _TURN % fill(block, size)) for name, block in blocks.items()),
        form("lines before a form", b"\r\n" * (size // 2)),
        form("fields of a form", fill('Content-Disposition: form-data; name="a"\r\n\r\n\r\n', size, "--boundary\r\n")),
    ]


def form(name: str, content: bytes) -> Costly:
    """Returns a form for transcription with any content before its end."""
    content = b"--boundary\r\n" + content if content[:1] == b"C" else content
    return Costly(
        name, "/audio/transcriptions", content + b"\r\n--boundary--\r\n", "multipart/form-data; boundary=boundary"
    )


def image(size: int, name: str = "image") -> Costly:
    """Returns a chat with one image of `size` bytes as a data: URL; it is an image by its first bytes only."""
    url = b"data:image/png;base64," + b"iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ" + b"A" * (size // 4 * 4)
    part = b'{"type":"image_url","image_url":{"url":"%b"}}' % url
    content = b'{"model":"tiermesh-max","max_tokens":1,"messages":[{"role":"user","content":[%b]}]}' % part
    return Costly(name, "/chat/completions", content)


def at_random(seed: int) -> Costly:
    """Returns a body of a random kind, place and size, up to the limits; the same for the same seed."""
    draw = random.Random(seed)
    kind = draw.choice(list(_KINDS))
    path, frame = draw.choice(_PLACES)
    size = TEXT if draw.random() < 0.5 else int(64 * 1024 * (WHOLE / 65536) ** draw.random())
    if kind == "image":
        return image(min(size, 13 * MIB), "image")
    value = _KINDS[kind](draw, size - len(frame))
    return Costly(kind, path, frame % value)


def _deep(draw: random.Random, size: int) -> bytes:
    opening, closing = draw.choice([("[", "]"), ('{"a":', "}"), ('[{"b":', "}]")])
    levels = min(draw.choice([500, 900, size]), size // (len(opening) + len(closing)))
    one = (opening * levels + "0" + closing * levels).encode()
    return b"[" + b",".join([one] * max(1, size // (len(one) + 1))) + b"]"


def _wide(draw: random.Random, size: int) -> bytes:
    if draw.random() < 0.5:
        return b"[" + fill(draw.choice(_SMALL), size) + b"]"
    value = draw.choice(_SMALL)
    return b"{" + b",".join(b'"%d":%b' % (key, value.encode()) for key in range(size // (len(value) + 10))) + b"}"


def _strings(draw: random.Random, size: int) -> bytes:
    return b'"' + fill(draw.choice(_TEXTS), size, "") + b'"'


def _many_strings(draw: random.Random, size: int) -> bytes:
    return b"[" + fill(f'"{draw.choice(_TEXTS)}"', size) + b"]"


def _mixed(draw: random.Random, size: int) -> bytes:
    return b"[" + b",".join(_pieces(draw, size)) + b"]"


def _pieces(draw: random.Random, size: int) -> Iterator[bytes]:
    while size > 0:
        piece = fill(draw.choice([*_SMALL, *_NUMBERS, f'"{draw.choice(_TEXTS)}"']), min(size, 4096))
        size -= len(piece) + 1
        if piece:
            yield piece


def _numbers(draw: random.Random, size: int) -> bytes:
    return b"[" + fill(draw.choice(_NUMBERS), size) + b"]"


_KINDS: dict[str, Callable[[random.Random, int], bytes]] = {
    "deep nesting": _deep,
    "wide containers": _wide,
    "long string": _strings,
    "many strings": _many_strings,
    "mixture": _mixed,
    "numbers": _numbers,
    "image": _strings,
}
