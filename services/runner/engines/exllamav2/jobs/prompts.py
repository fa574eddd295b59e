"""Brings jobs into the model's own terms, on a thread beside the one that drives the GPU."""

from __future__ import annotations

from itertools import chain

from services.common.limits.chats import MOST_SCORED
from services.runner.engines.exllamav2.jobs.grammar import Grammars
from services.runner.engines.exllamav2.jobs.images import read_image
from services.runner.engines.exllamav2.jobs.run import Prepared, Run
from services.runner.engines.exllamav2.vocabulary import Vocabulary
from services.runner.kinds.text.job import Job
from services.runner.refusals import context_exceeded, images_misplaced, too_many_scored


class Prompts:
    """Tokenises prompts, decodes images and compiles grammars: work for the CPU that must not delay an iteration."""

    def __init__(self, vocabulary: Vocabulary, context: int) -> None:
        """`context` is the most tokens of prompt and answer together."""
        self._vocabulary = vocabulary
        self._grammars = Grammars(vocabulary)
        self._context = context

    def prepare(self, run: Run) -> Prepared:
        """Returns the job; raises MeshError CONTEXT_LENGTH_EXCEEDED, or INVALID_REQUEST for its grammar or images."""
        job = run.job
        parts = self.encode(job)
        prompt_tokens = sum(map(len, parts))
        if prompt_tokens >= self._context:
            raise context_exceeded(self._context, prompt_tokens)
        if job.score_prompt and prompt_tokens > MOST_SCORED:
            raise too_many_scored(prompt_tokens)
        matcher = self._grammars.matcher(job)
        return Prepared(run, parts, [read_image(image) for image in job.images], matcher)

    def encode(self, job: Job, *, bare: bool = False) -> list[list[int]]:
        """Returns the tokens of a prompt before, between and after its images; any thread may ask.

        With `bare`, the beginning-of-sequence token is left out.
        """
        if job.prompt_token_ids:
            return [list(job.prompt_token_ids)]
        (first, *pieces), *parts = job.prompt_pieces
        if len(parts) != len(job.images):
            raise images_misplaced()
        encode = self._vocabulary.encode
        begin = encode if bare else self._vocabulary.encode_prompt
        return [
            [*begin(first), *chain.from_iterable(map(encode, pieces))],
            *(list(chain.from_iterable(map(encode, part))) for part in parts),
        ]
