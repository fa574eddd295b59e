"""Log probabilities of a prompt's own tokens.

llama.cpp tells them of the tokens alone that it chooses, so a grammar makes it choose those of the prompt: what it
tells is from before the grammar. It tells nothing of a token that is not whole characters. Such a token is looked up
among those that could have stood in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from services.runner.engines.llamacpp.events import Probability, decode, number, read_probability
from services.runner.engines.llamacpp.vocabulary import Vocabulary
from services.runner.kinds.text.job import TokenLogprob

# Sends one request and calls back with each event, until that returns True.
Complete = Callable[[dict[str, Any], Callable[[bytes], bool]], None]
# Tokens of one request.
_MOST_AT_ONCE = 64
# Among so many of the most likely tokens one is looked up first: to tell of all takes a second or two.
_MOST_LIKELY = 512
# What is told to the event loop where there is no event: that the job has come further.
_PROGRESS = b"{}"


class PromptScorer:
    """Scores one prompt. Its methods block."""

    def __init__(
        self,
        complete: Complete,
        vocabulary: Vocabulary,
        top: int,
        place: Mapping[str, Any],
        on_event: Callable[[bytes], bool],
    ) -> None:
        """`top` is how many alternatives each token gets, and `place` the fields that say where the job runs.

        `on_event` hears of progress and of failures, and returns whether the job is over.
        """
        self._complete = complete
        self._vocabulary = vocabulary
        self._top = top
        self._place = place
        self._on_event = on_event
        # Whether there is nothing more to do for the job.
        self.over = False

    def score(self, token_ids: Sequence[int]) -> list[TokenLogprob]:
        """Returns an entry for each token, of which the first has no probability; fewer if the job is over."""
        entries = [TokenLogprob(self._vocabulary.pieces[token_id], 0.0) for token_id in token_ids[:1]]
        for begin, end in self._portions(token_ids):
            if self.over:
                break
            before, portion = token_ids[:begin], token_ids[begin:end]
            if self._told(portion[0]):
                entries += self._chosen(before, portion)
            else:
                entries += self._looked_up(before, portion[0])
        return entries

    def _looked_up(self, before: Sequence[int], token_id: int) -> list[TokenLogprob]:
        # Any token that is told of does.
        chosen = self._vocabulary.spelled("a")[:1]
        for most in (_MOST_LIKELY, len(self._vocabulary.pieces)):
            found = self._request(before, chosen, most)
            if self.over:
                return []
            own = next((other for other in found[0].top_logprobs if other.id == token_id), None)
            if own is not None:
                top = read_probability(found[0], self._top).top
                return [TokenLogprob(self._vocabulary.pieces[token_id], number(own.logprob), top)]
        raise RuntimeError("llama.cpp did not tell of all tokens")

    def _portions(self, token_ids: Sequence[int]) -> Iterator[tuple[int, int]]:
        """Yields where each request begins and ends.

        A token that has to be looked up has its own, and so has one without text, which may end a request.
        """
        begin = 1
        while begin < len(token_ids):
            end = begin + 1
            if self._joins(token_ids[begin]):
                most = min(len(token_ids), begin + _MOST_AT_ONCE)
                while end < most and self._joins(token_ids[end]):
                    end += 1
            yield begin, end
            begin = end

    def _joins(self, token_id: int) -> bool:
        return bool(self._vocabulary.pieces[token_id]) and self._told(token_id)

    def _told(self, token_id: int) -> bool:
        """Whether llama.cpp tells of a token that it chooses."""
        try:
            self._vocabulary.pieces[token_id].decode()
        except UnicodeDecodeError:
            return False
        return True

    def _chosen(self, before: Sequence[int], portion: Sequence[int]) -> list[TokenLogprob]:
        found = self._request(before, portion, max(self._top, 1))
        pieces = self._vocabulary.pieces
        entries = [read_probability(each, self._top) for each in found]
        # There are fewer entries if the job is over.
        told = zip(portion, entries, strict=False)
        return [TokenLogprob(pieces[token_id], entry.logprob, entry.top) for token_id, entry in told]

    def _request(self, before: Sequence[int], chosen: Sequence[int], most: int) -> list[Probability]:
        """Has the model say tokens after others; returns what it tells, `most` alternatives of each.

        Raises RuntimeError if it said something else.
        """
        found: list[Probability] = []

        def on_event(raw: bytes) -> bool:
            event = decode(raw)
            if event.error is not None:
                self._on_event(raw)
                self.over = True
                return True
            if event.verbose is not None and not event.verbose.stop:
                found.extend(event.verbose.completion_probabilities)
            self.over = self._on_event(_PROGRESS)
            return self.over

        fields = {
            "prompt": list(before),
            "n_predict": len(chosen),
            "n_probs": most,
            "grammar": "%llguidance {}\nstart: " + " ".join(f"<[{token_id}]>" for token_id in chosen) + "\n",
            "preserved_tokens": self._vocabulary.shown,
            "stream": True,
            "verbose": True,
            "return_tokens": True,
            "temperature": 0,
            "samplers": ["temperature"],
            **self._place,
        }
        self._complete(fields, on_event)
        if not self.over and [each.id for each in found] != list(chosen):
            raise RuntimeError("llama.cpp did not say the tokens that it was made to say")
        return found
