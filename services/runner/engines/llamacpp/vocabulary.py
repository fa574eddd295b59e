"""A model's tokens as bytes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

from services.runner.engines.grammar_texts import GrammarTexts
from services.runner.engines.llamacpp.gguf import read_metadata
from services.runner.kinds.text.prompt.controls import control_texts
from services.runner.kinds.text.prompt.marks import MARKS
from services.runner.kinds.text.vocabulary_digest import vocabulary_digest
from services.runner.refusals import unknown_tokens

_PREFIX = "tokenizer.ggml."
_KEYS = {
    "general.architecture",
    "general.basename",
    "tokenizer.chat_template",
    *(_PREFIX + key for key in ("model", "tokens", "token_type", "add_bos_token", "bos_token_id", "eos_token_id")),
}
# Follows the name of the architecture.
_CONTEXT = ".context_length"
# Token types of llama.cpp: a control token has no text of its own; a byte token is spelled <0x0A>. Those of the second
# to the fourth type are found in every text before it is made tokens.
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _BYTE = 1, 2, 3, 4, 6
_LONGEST_PIECE = 16
_TAG_BEGINNINGS = (b"<|", "<\uff5c".encode())


class Vocabulary:
    """What a model file says about tokens and templates."""

    def __init__(self, path: Path) -> None:
        """Reads the file; raises ValueError for a kind of tokenizer that is not supported."""
        metadata = read_metadata(path, _KEYS, (_CONTEXT,))
        texts: Sequence[bytes] = metadata[_PREFIX + "tokens"]
        kinds: Sequence[int] = metadata.get(_PREFIX + "token_type") or [1] * len(texts)
        model = metadata.get(_PREFIX + "model", b"").decode()
        if model not in {"gpt2", "llama"}:
            raise ValueError(f"the tokenizer {model!r} of {path.name} is not supported; gpt2 and llama are")
        pieces = _byte_level(texts) if model == "gpt2" else _sentence_piece(texts, kinds)
        # Control tokens that stand in answers as text, because they mark thoughts or calls.
        controls = {text.decode(errors="replace") for text, kind in zip(texts, kinds, strict=True) if kind == _CONTROL}
        self.shown = sorted(controls & MARKS)
        shown = {text.encode() for text in self.shown}
        # The bytes that each token adds to an answer.
        self.pieces = [
            b"" if kind == _CONTROL and text not in shown else piece
            for text, piece, kind in zip(texts, pieces, kinds, strict=True)
        ]
        # llama.cpp takes tokens with well-known names, such as <|im_end|>, for control tokens whatever their type is.
        names: dict[int, list[str]] = {kind: [] for kind in range(_BYTE + 1)}
        for text, kind in zip(texts, kinds, strict=True):
            if kind != _NORMAL or text.startswith(_TAG_BEGINNINGS):
                names[kind].append(text.decode(errors="replace"))
        self._controls = names[_CONTROL] + names[_UNKNOWN]
        self._others = names[_USER_DEFINED] + names[_NORMAL]
        # llama.cpp reads these in the fixed texts of a grammar too, and the unknown token like them.
        self.grammar_texts = GrammarTexts(self._controls)
        # How each token is written in the file.
        self.texts = texts
        self.basename = metadata.get("general.basename", b"").decode(errors="replace").lower()
        self.chat_template = metadata.get("tokenizer.chat_template", b"").decode(errors="replace")
        architecture = metadata.get("general.architecture", b"").decode(errors="replace")
        # The longest text that the model was trained for, in tokens; 0 if the file does not say.
        self.trained_context: int = metadata.get(architecture + _CONTEXT, 0)
        self.eos_token_id: int = metadata.get(_PREFIX + "eos_token_id", -1)
        self.eos_text = texts[self.eos_token_id].decode(errors="replace") if self.eos_token_id >= 0 else ""
        # What llama.cpp puts before every prompt by itself.
        adds_bos = metadata.get(_PREFIX + "add_bos_token", model == "llama")
        self.bos_text = texts[metadata.get(_PREFIX + "bos_token_id", 1)].decode(errors="replace") if adds_bos else ""

    def text(self, token_ids: Iterable[int]) -> str:
        """Returns the text of tokens of an answer; raises MeshError for ids that the model does not have."""
        try:
            return b"".join(self.pieces[token_id] for token_id in token_ids).decode(errors="replace")
        except IndexError:
            raise unknown_tokens("resume_token_ids") from None

    def control_texts(self, template: str) -> frozenset[str]:
        """Returns what only this chat template may write in a prompt."""
        return control_texts(self._controls, self._others, template)

    def spelled(self, character: str) -> list[int]:
        """Returns the tokens of one character, or none if the model cannot spell it."""
        data = character.encode()
        whole = self._ids.get(data)
        if whole is not None:
            return [whole]
        return [self._ids[data[at : at + 1]] for at in range(len(data)) if data[at : at + 1] in self._ids]

    def split(self, data: bytes, count: int) -> list[int] | None:
        """Returns `count` tokens whose bytes are `data`, or None; of several ways it takes the longest first tokens."""
        if count == 0:
            return None if data else []
        for length in range(min(len(data), _LONGEST_PIECE), 0, -1):
            token_id = self._ids.get(data[:length])
            if token_id is not None:
                rest = self.split(data[length:], count - 1)
                if rest is not None:
                    return [token_id, *rest]
        return None

    @cached_property
    def digest(self) -> str:
        """What other vocabularies have in common with this one only if their tokens spell the same."""
        return vocabulary_digest(self.pieces)

    @cached_property
    def _ids(self) -> dict[bytes, int]:
        return {piece: token_id for token_id, piece in enumerate(self.pieces) if 0 < len(piece) <= _LONGEST_PIECE}


def _byte_level(texts: Sequence[bytes]) -> list[bytes]:
    """Undoes the byte-level spelling of GPT-2, in which every byte is a printable character."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [value for value in range(256) if value not in printable]
    table = str.maketrans({chr(256 + at): chr(value) for at, value in enumerate(others)})
    pieces = []
    for text in texts:
        try:
            pieces.append(text.decode().translate(table).encode("latin-1"))
        except UnicodeError:
            # A special token with characters outside the alphabet is spelled as it is.
            pieces.append(text)
    return pieces


def _sentence_piece(texts: Sequence[bytes], kinds: Sequence[int]) -> list[bytes]:
    """Undoes SentencePiece's spelling, in which U+2581 is a space and <0x0A> a byte."""
    return [
        bytes([int(text[3:5], 16)]) if kind == _BYTE else text.replace("\u2581".encode(), b" ")
        for text, kind in zip(texts, kinds, strict=True)
    ]
