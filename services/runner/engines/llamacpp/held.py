"""Matches tokens with the text that llama.cpp releases.

Text comes later than its tokens while a UTF-8 character is not complete, and llama.cpp does not tell the ids of tokens
that end within one: only that there were some. They are found here by their bytes.
"""

from __future__ import annotations

from msgspec.structs import replace

from services.runner.engines.llamacpp.vocabulary import Vocabulary
from services.runner.kinds.text.job import TokenLogprob


class HeldTokens:
    """Tokens of one answer whose text has not come yet."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        # For each: how many untold tokens came before it, its id, its log probability if asked for.
        self._held: list[tuple[int, int, TokenLogprob | None]] = []

    def add(self, untold: int, token_id: int, logprob: TokenLogprob | None) -> None:
        """Adds the next token."""
        self._held.append((untold, token_id, logprob))

    def take(self, text: str) -> tuple[list[int], list[TokenLogprob]]:
        """Returns the tokens that lie wholly within the text just released, each with its log probability.

        If several tokens make one character, llama.cpp tells the log probability of the last one alone. Those before it
        have the value 0 and no alternatives, so that a sum over the entries is one of what is known.
        """
        data = text.encode()
        token_ids: list[int] = []
        logprobs: list[TokenLogprob] = []
        at = taken = 0
        for untold, token_id, logprob in self._held:
            # A token without text, such as the end of the turn, goes with text that follows it or not at all.
            matched = self._match(data[at:], untold, token_id) if at < len(data) else None
            if matched is None:
                break
            token_ids += matched[1]
            if logprob is not None:
                pieces = [self._vocabulary.pieces[token_id] for token_id in matched[1]]
                logprobs += [TokenLogprob(piece, 0.0) for piece in pieces[:-1]]
                # Of such a character, llama.cpp says that its last token has all of its bytes.
                logprobs.append(replace(logprob, token=pieces[-1]) if untold else logprob)
            at += matched[0]
            taken += 1
        del self._held[:taken]
        if at < len(data) and self._held:
            # Bytes that are no UTF-8 at all come as U+FFFD: the text cannot be matched, but all of it is here.
            token_ids += [token_id for _, token_id, _ in self._held]
            logprobs += [logprob for _, _, logprob in self._held if logprob is not None]
            self._held.clear()
        return token_ids, logprobs

    def _match(self, data: bytes, untold: int, token_id: int) -> tuple[int, list[int]] | None:
        """Returns how many bytes the token and the untold ones before it make up, and their ids."""
        piece = self._vocabulary.pieces[token_id]
        if not untold:
            return (len(piece), [token_id]) if data.startswith(piece) else None
        for start in range(untold, len(data) - len(piece) + 1):
            if data.startswith(piece, start):
                before = self._vocabulary.split(data[:start], untold)
                if before is not None:
                    return start + len(piece), [*before, token_id]
        return None
