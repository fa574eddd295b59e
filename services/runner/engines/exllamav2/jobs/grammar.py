"""Grammars compiled for the model's own vocabulary, each only once."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import llguidance

from services.runner.engines.exllamav2.vocabulary import Vocabulary
from services.runner.kinds.text.job import Job
from services.runner.kinds.text.prompt.grammar import in_few_words, shaped_by
from services.runner.refusals import invalid, not_compiled

# Compiled grammars that are kept for the next job with the same one.
_KEPT = 64


class Grammars:
    """Makes matchers; used by one thread."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._compiled: OrderedDict[str, Any] = OrderedDict()

    def matcher(self, job: Job) -> Any:
        """Returns a matcher that has seen the job's resumed tokens, or None for free text.

        Raises MeshError INVALID_REQUEST for a grammar that cannot be compiled and for tokens that it does not allow.
        """
        if not job.grammar:
            return None
        matcher = self._compile(job.grammar).deep_copy()
        if job.resume_token_ids and not matcher.consume_tokens(list(job.resume_token_ids)):
            message = "'resume_token_ids' do not match the grammar of the answer; generate it from its beginning."
            raise invalid(message, "resume_token_ids")
        return matcher

    def _compile(self, grammar: str) -> Any:
        matcher = self._compiled.get(grammar)
        if matcher is None:
            unforced = self._vocabulary.grammar_texts.unforced(grammar)
            matcher = llguidance.LLMatcher(self._vocabulary.guidance, unforced, log_level=0)
            if matcher.is_error():
                raise not_compiled(shaped_by(grammar), in_few_words(matcher.get_error()))
            self._compiled[grammar] = matcher
            if len(self._compiled) > _KEPT:
                self._compiled.popitem(last=False)
        self._compiled.move_to_end(grammar)
        return matcher
