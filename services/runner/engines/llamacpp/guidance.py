"""The build of llguidance inside llama.cpp's library, asked through its C functions.

llama.cpp drops a grammar that its build cannot compile or follow, and goes on with free text; its server does not
report that. The Python package `llguidance` is another build, so that it knows other formats and patterns. The library
exports the functions of https://github.com/guidance-ai/llguidance/blob/main/parser/llguidance.h, so here its own build
says whether a grammar compiles, and whether a text follows it.
"""

from __future__ import annotations

import ctypes
import threading
import weakref
from collections import OrderedDict
from typing import Any

# Compiled grammars that are kept for the next job with the same one.
_KEPT = 64
# The vocabulary is one token for each byte and an end. What compiles for it compiles for any other.
_END = 256
_PIECES = (*(bytes([value]) for value in range(256)), b"\xff<end>")
# Later releases may add fields at the end, where zero means the default.
_ROOM = ctypes.c_uint8 * 512


class _TokenizerInit(ctypes.Structure):
    """`LlgTokenizerInit`."""

    _fields_ = (
        ("vocab_size", ctypes.c_uint32),
        ("tok_eos", ctypes.c_uint32),
        ("token_lens", ctypes.c_void_p),
        ("token_bytes", ctypes.c_void_p),
        ("tokenizer_json", ctypes.c_void_p),
        ("tokenize_assumes_string", ctypes.c_bool),
        ("tokenize_fn", ctypes.c_void_p),
        ("use_approximate_greedy_tokenize_fn", ctypes.c_bool),
        ("tokenize_user_data", ctypes.c_void_p),
        ("slices", ctypes.c_void_p),
        ("room", _ROOM),
    )


class _ConstraintInit(ctypes.Structure):
    """`LlgConstraintInit`, of which only the beginning is used; the library fills in the rest."""

    _fields_ = (
        ("tokenizer", ctypes.c_void_p),
        ("log_buffer_level", ctypes.c_uint32),
        ("log_stderr_level", ctypes.c_uint32),
        ("room", _ROOM),
    )


class Guidance:
    """Compiles grammars. Its methods may be called on any thread."""

    def __init__(self, library_path: str) -> None:
        """Opens a library that is loaded already; raises RuntimeError if it does not export llguidance."""
        # Calls through the first release Python's interpreter lock; calls through the second are short and keep it.
        self._slow, self._quick = ctypes.CDLL(library_path), ctypes.PyDLL(library_path)
        try:
            _declare(self._slow)
            _declare(self._quick)
        except AttributeError:
            message = "this build of llama.cpp cannot confirm grammars; install the release of xllamacpp that is pinned"
            raise RuntimeError(message) from None
        self._init = _ConstraintInit()
        self._slow.llg_constraint_init_set_defaults(ctypes.byref(self._init), self._new_tokenizer())
        # What it logs quotes answers.
        self._init.log_buffer_level = self._init.log_stderr_level = 0
        self._lock = threading.Lock()
        self._compiled: OrderedDict[str, Follower] = OrderedDict()

    def follower(self, grammar: str) -> Follower:
        """Returns what follows a text from its beginning; raises ValueError, with the reason, for a bad grammar.

        The first call for a grammar takes as long as its compilation.
        """
        with self._lock:
            compiled = self._compiled.get(grammar) or self._compile(grammar)
            self._compiled[grammar] = compiled
            self._compiled.move_to_end(grammar)
            if len(self._compiled) > _KEPT:
                self._compiled.popitem(last=False)
            return compiled.copy()

    def _compile(self, grammar: str) -> Follower:
        pointer = self._slow.llg_new_matcher(ctypes.byref(self._init), b"lark", grammar.encode())
        follower = Follower(self._quick, pointer)
        # What can come first is often as costly as it gets.
        if not self._slow.llg_matcher_is_error(pointer):
            self._slow.llg_matcher_compute_mask(pointer)
        if error := self._slow.llg_matcher_get_error(pointer):
            raise ValueError(error.decode(errors="replace"))
        return follower

    def _new_tokenizer(self) -> int:
        lengths = (ctypes.c_uint32 * len(_PIECES))(*map(len, _PIECES))
        pieces = ctypes.create_string_buffer(b"".join(_PIECES))
        init = _TokenizerInit(
            vocab_size=len(_PIECES),
            tok_eos=_END,
            token_lens=ctypes.addressof(lengths),
            token_bytes=ctypes.addressof(pieces),
            use_approximate_greedy_tokenize_fn=True,
        )
        reason = ctypes.create_string_buffer(256)
        tokenizer: int | None = self._slow.llg_new_tokenizer(ctypes.byref(init), reason, len(reason))
        if not tokenizer:
            raise RuntimeError(f"this build of llama.cpp cannot confirm grammars: {reason.value.decode()}")
        return tokenizer


class Follower:
    """Follows one text; each call takes a few microseconds for each character."""

    def __init__(self, library: ctypes.PyDLL, pointer: int) -> None:
        self._library = library
        self._pointer = pointer
        weakref.finalize(self, library.llg_free_matcher, pointer)

    def copy(self) -> Follower:
        """Returns another one that has come as far as this one."""
        return Follower(self._library, self._library.llg_clone_matcher(self._pointer))

    def take(self, text: str) -> bool:
        """Takes the next characters and returns whether the grammar allows them."""
        data = text.encode()
        tokens = (ctypes.c_uint32 * len(data))(*data)
        # What a text may cost is counted from the last mask, as llama.cpp makes one for each token.
        if self._library.llg_matcher_compute_mask(self._pointer) != 0:
            return False
        return bool(self._library.llg_matcher_consume_tokens(self._pointer, tokens, len(data)) == 0)

    def may_end(self) -> bool:
        """Whether the text may end here."""
        return bool(self._library.llg_matcher_is_accepting(self._pointer))


def _declare(library: Any) -> None:
    """Declares the functions; raises AttributeError if the library has none."""
    pointer, text, size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t
    for name, result, parameters in (
        ("new_tokenizer", pointer, (pointer, text, size)),
        ("constraint_init_set_defaults", None, (pointer, pointer)),
        ("new_matcher", pointer, (pointer, text, text)),
        ("clone_matcher", pointer, (pointer,)),
        ("free_matcher", None, (pointer,)),
        ("matcher_is_error", ctypes.c_bool, (pointer,)),
        ("matcher_get_error", text, (pointer,)),
        ("matcher_compute_mask", ctypes.c_int32, (pointer,)),
        ("matcher_consume_tokens", ctypes.c_int32, (pointer, pointer, size)),
        ("matcher_is_accepting", ctypes.c_bool, (pointer,)),
    ):
        function = getattr(library, f"llg_{name}")
        function.restype, function.argtypes = result, parameters
