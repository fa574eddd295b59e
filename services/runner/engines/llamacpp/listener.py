"""Completions and counts through the HTTP listener that llama.cpp opens on the loopback interface.

With an image encoder loaded, the library's own function takes prompts only as plain text. The listener's endpoint
https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md#post-completion takes images and tokens too.
"""

from __future__ import annotations

import http.client
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import msgspec

from services.runner.engines.llamacpp.server import PROMPT_VARIABLE

_DATA = (b"data: ", b"error: ")
# What llama.cpp says of an image, in an answer that holds nothing of a client.
_NOT_DECODED = b"Failed to load image"


class Listener:
    """Sends jobs to the listener of an `xllamacpp.Server`. Its methods block, and several threads may call them."""

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

    def tokenize(self, prompt: str | list[str | int], *, bare: bool = False) -> list[int]:
        """Returns the tokens of a prompt: of a text, or of texts and tokens that follow one another.

        Control tokens in a text are meant as such. With `bare`, the token of the beginning is left out. Raises OSError
        or http.client.HTTPException if the listener fails.
        """
        token_ids: list[int] = []
        with closing(http.client.HTTPConnection(self._address)) as connection:
            for at, part in enumerate([prompt] if isinstance(prompt, str) else prompt):
                if isinstance(part, int):
                    token_ids.append(part)
                    continue
                # Only the first text has the token of the beginning before it.
                body = {"content": part, "add_special": at == 0 and not bare, "parse_special": True}
                status, answer = self._ask(connection, "/tokenize", body)
                if status != http.HTTPStatus.OK:
                    raise http.client.HTTPException(f"status {status}")
                token_ids += msgspec.json.decode(answer, type=_Tokens).tokens
        return token_ids

    def context(self) -> int:
        """Returns how many tokens of context a slot really has, whatever was asked for; 0 if it is not said.

        Raises OSError or http.client.HTTPException if the listener fails.
        """
        with closing(http.client.HTTPConnection(self._address)) as connection:
            connection.request("GET", "/props", headers=self._headers)
            response = connection.getresponse()
            answer = response.read()
        if response.status != http.HTTPStatus.OK:
            raise http.client.HTTPException(f"status {response.status}")
        return msgspec.json.decode(answer, type=_Properties).default_generation_settings.n_ctx

    def count(self, prompt: str, images: Sequence[str]) -> int | None:
        """Returns the tokens of a prompt with markers for images, in base64; None if one of them cannot be decoded.

        The images are not encoded. Raises OSError or http.client.HTTPException if the listener fails.
        """
        urls = [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}} for image in images]
        # The server's chat template writes nothing but the prompt.
        body = {
            "messages": [{"role": "user", "content": urls}],
            "chat_template_kwargs": {PROMPT_VARIABLE: prompt},
        }
        with closing(http.client.HTTPConnection(self._address)) as connection:
            status, answer = self._ask(connection, "/v1/chat/completions/input_tokens", body)
        if status != http.HTTPStatus.OK and _NOT_DECODED in answer:
            return None
        if status != http.HTTPStatus.OK:
            raise http.client.HTTPException(f"status {status}")
        return msgspec.json.decode(answer, type=_Count).input_tokens

    def _ask(self, connection: http.client.HTTPConnection, path: str, body: Mapping[str, Any]) -> tuple[int, bytes]:
        connection.request("POST", path, msgspec.json.encode(body), self._headers)
        response = connection.getresponse()
        return response.status, response.read()


class _Settings(msgspec.Struct):
    n_ctx: int = 0


class _Properties(msgspec.Struct):
    default_generation_settings: _Settings


class _Tokens(msgspec.Struct):
    tokens: list[int]


class _Count(msgspec.Struct):
    input_tokens: int


def _event(data: bytes) -> bytes:
    """Wraps what is the verbose part of the other function's events; errors and progress have the same place in both.

    A text in JSON cannot hold either name with its quotes.
    """
    if data.startswith(b'{"error"') or b'"prompt_progress"' in data:
        return data
    return b'{"__verbose":' + data + b"}"
