"""A model's tokens: text to tokens, tokens to bytes."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from functools import cached_property
from typing import Any

import llguidance
from tokenizers import Tokenizer

from services.runner.engines.exllamav2.model_directory import ModelDirectory
from services.runner.engines.grammar_texts import GrammarTexts
from services.runner.kinds.text.prompt.controls import control_texts
from services.runner.kinds.text.prompt.marks import MARKS
from services.runner.kinds.text.vocabulary_digest import vocabulary_digest
from services.runner.refusals import unknown_tokens


class Vocabulary:
    """Encodes and decodes exactly as the transformers library does; safe to use from several threads."""

    def __init__(self, directory: ModelDirectory) -> None:
        """Reads tokenizer.json."""
        document = (directory.path / "tokenizer.json").read_text(encoding="utf-8")
        content = json.loads(document)
        added = content.get("added_tokens", ())
        special = [token for token in added if token["special"]]
        # What only the chat template may write in a prompt.
        self.control_texts = control_texts(
            [token["content"] for token in special], [token["content"] for token in added], directory.chat_template
        )
        self._tokenizer = Tokenizer.from_str(_exact(document, content, self.control_texts))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._bos_text = directory.bos_text
        self.eos_token_ids = frozenset(directory.eos_token_ids)
        # What grammars are compiled for.
        self.guidance = llguidance.LLTokenizer(document, eos_token=sorted(self.eos_token_ids))
        self.size: int = self.guidance.vocab_size
        # The tokenizer reads these in the fixed texts of a grammar too.
        self.grammar_texts = GrammarTexts(token["content"] for token in special)
        # Special tokens have no text, as an end of turn must not reach a client.
        self._silent = self.eos_token_ids | {token["id"] for token in special if token["content"] not in MARKS}

    @cached_property
    def digest(self) -> str:
        """What other vocabularies have in common with this one only if their tokens spell the same."""
        return vocabulary_digest(map(self.piece, range(self.size)))

    def encode_prompt(self, prompt: str) -> list[int]:
        """Returns the tokens of a prompt, with the beginning-of-sequence token if the model has one."""
        return self.encode(self._bos_text + prompt.removeprefix(self._bos_text))

    def encode(self, text: str) -> list[int]:
        """Returns the tokens of a part of a prompt. Special tokens in the text are parsed as such."""
        # For a single text the library would keep Python's interpreter lock for seconds, and all answers would wait.
        (encoding,) = self._tokenizer.encode_batch_fast([text], add_special_tokens=False)
        token_ids: list[int] = encoding.ids
        return token_ids

    def written(self, token_id: int) -> str:
        """Returns how the vocabulary writes a token."""
        return self._tokenizer.id_to_token(token_id) or ""

    def piece(self, token_id: int) -> bytes:
        """Returns the bytes that a token adds to an answer."""
        if token_id in self._silent:
            return b""
        piece: bytes = self.guidance.decode_bytes([token_id])
        return piece

    def text(self, token_ids: Iterable[int]) -> str:
        """Returns the text of tokens of an answer; raises MeshError for ids that the model does not have."""
        token_ids = list(token_ids)
        if any(token_id >= self.size for token_id in token_ids):
            raise unknown_tokens("resume_token_ids")
        return b"".join(map(self.piece, token_ids)).decode(errors="replace")


def _exact(document: str, content: dict[str, Any], texts: Collection[str]) -> str:
    """Returns the document of a tokenizer that knows control tokens by their exact text alone.

    Others know some of them after they have normalised a text: full-width letters may spell one then.
    """
    loose = [token for token in content.get("added_tokens", ()) if token["normalized"] and token["content"] in texts]
    if not loose or content.get("normalizer") is None:
        return document
    for token in loose:
        token["normalized"] = False
    return json.dumps(content)
