"""What happens to the logits of one job between the model and the sampler."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy
import torch
from exllamav2.generator.filters import ExLlamaV2Filter

from services.runner.engines.exllamav2.vocabulary import Vocabulary
from services.runner.kinds.text.job import Job, TokenLogprob, TopLogprob


class ShapeLostError(Exception):
    """Raised where a grammar cannot go on, or does not allow the token that was chosen."""


class LogitFilter(ExLlamaV2Filter):
    """Takes log probabilities, takes penalties off, adds biases, and masks what the grammar forbids; in this order.

    The library calls it on its own threads, one call at a time: `mask_logits` and then `feed` for each token. If
    anything fails, the error is kept in `failure` for the engine to end this job, because an exception would end all.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        vocabulary: Vocabulary,
        job: Job,
        matcher: Any,
        prompt_token_ids: Sequence[int] = (),
    ) -> None:
        """`matcher` is an LLMatcher that has seen the resumed tokens, or None; the prompt may have ids of images."""
        super().__init__(model, tokenizer)
        self._vocabulary = vocabulary
        self._sampling = job.sampling
        self._matcher = matcher
        self._mask = numpy.zeros((vocabulary.size + 31) // 32, dtype=numpy.int32)
        self._top = job.logprobs
        self._logprobs: torch.Tensor | None = None
        # Log probabilities of tokens that have been fed, until the engine takes them.
        self.entries: deque[TokenLogprob] = deque()
        self.failure: Exception | None = None
        # Tokens of a prompt that is scored, which are all that the model may say.
        self._forced = deque(prompt_token_ids[1:] if job.score_prompt else ())
        self._offsets: torch.Tensor | None = None
        self._seen: set[int] = set()
        # Which tokens of the vocabulary are in the prompt or the answer, if those are penalised.
        self._present: torch.Tensor | None = None
        if self._sampling.repetition_penalty != 1.0:
            self._present = torch.zeros(vocabulary.size, dtype=torch.bool)
            for token_id in (*prompt_token_ids, *job.resume_token_ids):
                self._note(token_id)
        penalised = bool(self._sampling.presence_penalty or self._sampling.frequency_penalty)
        if penalised or self._sampling.logit_bias:
            self._offsets = torch.zeros(vocabulary.size)
            for token_id, bias in self._sampling.logit_bias.items():
                self._offsets[token_id] = bias
            for token_id in job.resume_token_ids:
                self._penalise(token_id)

    @staticmethod
    def needed(job: Job) -> bool:
        """Whether anything is to be done for a job; without a filter the library samples faster."""
        sampling = job.sampling
        penalised = sampling.presence_penalty or sampling.frequency_penalty or sampling.repetition_penalty != 1.0
        return bool(job.grammar or sampling.logit_bias or penalised or job.logprobs is not None)

    def begin(self, prefix_str: str) -> None:
        """Is called before the first token; everything is ready by then."""

    def use_background_worker(self) -> bool:
        """Lets the grammar compute its mask while the GPU works."""
        return self._matcher is not None

    def can_mask_logits(self) -> bool:
        """Says that `mask_logits` is to be used."""
        return True

    def prepare_logit_mask(self) -> bool:
        """Computes what the grammar allows next."""
        if self._matcher is not None:
            try:
                self._matcher.unsafe_compute_mask_ptr(self._mask.ctypes.data, self._mask.nbytes)
            except Exception as error:  # noqa: BLE001 - whatever fails here ends this job and no other
                self.failure = error
        return True

    def mask_logits(self, logits: torch.Tensor) -> torch.Tensor:
        """Changes the logits (vocabulary, padded) in place and returns them."""
        try:
            self._change(logits)
        except Exception as error:  # noqa: BLE001 - whatever fails here ends this job and no other
            self.failure = error
        return logits

    def feed(self, token: torch.Tensor) -> None:
        """Takes the token that was chosen, shape (1, 1)."""
        try:
            self._take(int(token))
        except Exception as error:  # noqa: BLE001 - whatever fails here ends this job and no other
            self.failure = error

    def _change(self, logits: torch.Tensor) -> None:
        size = min(self._vocabulary.size, logits.shape[-1])
        if self._top is not None:
            # Before anything is changed, which is what OpenAI reports.
            self._logprobs = torch.log_softmax(logits[:size].float(), dim=-1)
        if self._forced:
            logits.fill_(float("-inf"))
            logits[self._forced[0]] = 0.0
            return
        if self._present is not None:
            present, penalty = self._present[:size], self._sampling.repetition_penalty
            values = logits[:size][present]
            logits[:size][present] = torch.where(values > 0, values / penalty, values * penalty)
        if self._offsets is not None:
            logits[:size] += self._offsets[:size]
        if self._matcher is not None:
            if self._matcher.is_error():
                raise ShapeLostError
            bits = numpy.unpackbits(self._mask.view(numpy.uint8), bitorder="little")
            logits[:size].masked_fill_(torch.from_numpy(bits[:size] == 0), float("-inf"))
            logits[size:] = float("-inf")

    def _take(self, token_id: int) -> None:
        if self._logprobs is not None:
            self.entries.append(self._entry(token_id, self._logprobs))
        if self._forced:
            if token_id != self._forced.popleft():
                raise ShapeLostError
            return
        self._note(token_id)
        if self._offsets is not None:
            self._penalise(token_id)
        if self._matcher is not None and not self._matcher.is_stopped() and not self._matcher.consume_token(token_id):
            raise ShapeLostError

    def _note(self, token_id: int) -> None:
        """Notes that a token is there; the end of a turn is not, or a long conversation could not be ended."""
        if self._present is not None and token_id < len(self._present):
            self._present[token_id] = token_id not in self._vocabulary.eos_token_ids

    def _penalise(self, token_id: int) -> None:
        """Counts a token of the answer: OpenAI's penalties apply to what was said, not to what was asked."""
        if self._offsets is not None:
            first = token_id not in self._seen
            self._seen.add(token_id)
            presence = self._sampling.presence_penalty if first else 0.0
            self._offsets[token_id] -= self._sampling.frequency_penalty + presence

    def _entry(self, token_id: int, logprobs: torch.Tensor) -> TokenLogprob:
        top = torch.topk(logprobs, self._top or 0)
        alternatives = zip(top.indices.tolist(), top.values.tolist(), strict=True)
        piece = self._vocabulary.piece
        return TokenLogprob(
            piece(token_id),
            float(logprobs[token_id]),
            tuple(TopLogprob(piece(other), value) for other, value in alternatives),
        )
