"""Completions through the HTTP listener that llama.cpp opens on the loopback interface.

With an image encoder loaded, the library's own function takes prompts only as plain text. The listener's endpoint
https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md#post-completion takes images and tokens too.
"""

from __future__ import annotations

import http.client
from collections.abc import Callable
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import msgspec

_DATA = (b"data: ", b"error: ")


class Listener:
    """Sends jobs to the listener of an `xllamacpp.Server`. Its method blocks, and several threads may call it."""

    def __init__(self, server: Any, api_key: str) -> None:
        self._address = urlsplit(server.listening_address).netloc
        self._headers = {"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"}

    def complete(self, body: bytes, on_event: Callable[[bytes], bool]) -> None:
        """Calls back with each event, in the form of `handle_completions`, until the end or until told to stop.

        Raises OSError or http.client.HTTPException if the listener fails.
        """
        with closing(http.client.HTTPConnection(self._address)) as connection:
            connection.request("POST", "/completion", body, self._headers)
            response = connection.getresponse()
            if response.status != http.HTTPStatus.OK:
                on_event(response.read())
                return
            # Closing the connection stops llama.cpp, which notices when it next reports.
            for line in response:
                if line.startswith(_DATA) and on_event(_event(line.partition(b": ")[2].strip())):
                    return

    def tokenize(self, prompt: str | list[str | int]) -> list[int]:
        """Returns the tokens of a prompt: of a text, or of texts and tokens that follow one another.

        Control tokens in a text are meant as such. Raises OSError or http.client.HTTPException if the listener fails.
        """
        token_ids: list[int] = []
        with closing(http.client.HTTPConnection(self._address)) as connection:
            for at, part in enumerate([prompt] if isinstance(prompt, str) else prompt):
                if isinstance(part, int):
                    token_ids.append(part)
                    continue
                # Only the first text has the token of the beginning before it.
                body = {"content": part, "add_special": at == 0, "parse_special": True}
                connection.request("POST", "/tokenize", msgspec.json.encode(body), self._headers)
                response = connection.getresponse()
                answer = response.read()
                if response.status != http.HTTPStatus.OK:
                    raise http.client.HTTPException(f"status {response.status}")
                token_ids += msgspec.json.decode(answer, type=_Tokens).tokens
        return token_ids


class _Tokens(msgspec.Struct):
    tokens: list[int]


def _event(data: bytes) -> bytes:
    """Wraps what is the verbose part of the other function's events; errors and progress have the same place in both.

    A text in JSON cannot hold either name with its quotes.
    """
    if data.startswith(b'{"error"') or b'"prompt_progress"' in data:
        return data
    return b'{"__verbose":' + data + b"}"
