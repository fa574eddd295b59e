"""llama.cpp in embedding mode: tokens and vectors."""

from __future__ import annotations

import base64
import http.client
import sys
from array import array
from collections.abc import Sequence
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import msgspec

from services.runner.engines.llamacpp.server import ServerOptions, load_server
from services.runner.engines.minilm.model_file import vocabulary_size
from services.runner.kinds.embedding import Vector

_TIMEOUT = 60.0


class EmbedderError(RuntimeError):
    """llama.cpp refused or failed; the message is its own and never quotes a text."""


class _Embedding(msgspec.Struct, frozen=True):
    embedding: str


class _Problem(msgspec.Struct, frozen=True):
    message: str = ""


class _Answer(msgspec.Struct, frozen=True):
    data: list[_Embedding] = []
    error: _Problem | None = None


class _Tokens(msgspec.Struct, frozen=True):
    tokens: list[int]


_tokens_decoder = msgspec.json.Decoder(_Tokens)


class Embedder:
    """A loaded model. Its methods block, and several threads may call them at once."""

    def __init__(self, options: ServerOptions) -> None:
        """Loads the model; raises RuntimeError if it cannot be loaded."""
        self.vocabulary_size = vocabulary_size(options.model_path)
        self._headers = {"Authorization": f"Bearer {options.api_key}", "Content-Type": "application/json"}
        self._server: Any = load_server(options)
        self._address = urlsplit(self._server.listening_address).netloc

    def tokenize(self, text: str) -> list[int]:
        """Returns the tokens of a text, with those that the model wants before and after it; raises EmbedderError.

        The only way to llama.cpp's tokenizer is the HTTP listener that it opens on the loopback interface.
        """
        # A text that spells a special token, such as "[SEP]", is still only a text.
        body = msgspec.json.encode({"content": text, "add_special": True, "parse_special": False})
        try:
            with closing(http.client.HTTPConnection(self._address, timeout=_TIMEOUT)) as connection:
                connection.request("POST", "/tokenize", body, self._headers)
                response = connection.getresponse()
                content = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise EmbedderError(f"llama.cpp's listener does not answer: {type(error).__name__}") from error
        if response.status != http.HTTPStatus.OK:
            raise EmbedderError(f"tokenizing failed with status {response.status}")
        return _tokens_decoder.decode(content).tokens

    def embed(self, inputs: Sequence[Sequence[int]]) -> list[Vector]:
        """Returns a vector of length 1 for each list of tokens; raises EmbedderError."""
        request = {"input": inputs, "encoding_format": "base64"}
        answer = msgspec.convert(self._server.handle_embeddings(request), _Answer)
        if answer.error is not None:
            raise EmbedderError(answer.error.message)
        return [_vector(entry.embedding) for entry in answer.data]


def _vector(encoded: str) -> Vector:
    vector: Vector = array("f", base64.b64decode(encoded))
    if sys.byteorder == "big":
        vector.byteswap()
    return vector
