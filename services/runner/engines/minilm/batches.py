"""The inputs of one job as tokens: what is refused, and what is embedded at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from services.runner.kinds.embedding import input_too_long
from services.runner.refusals import invalid


def check_tokens(index: int, tokens: Sequence[int], vocabulary_size: int, context: int) -> None:
    """Raises MeshError for an input, the `index`th from 0, that is too long or has tokens that do not exist."""
    if len(tokens) > context:
        raise input_too_long(index, len(tokens), context)
    if any(token_id >= vocabulary_size for token_id in tokens):
        raise invalid(
            f"Input {index} has tokens that this model does not have. Token IDs must be below {vocabulary_size}.",
            "input",
        )


def split_batches(inputs: Sequence[Sequence[int]], most: int) -> Iterator[list[Sequence[int]]]:
    """Splits inputs, in order, into batches of at most `most` tokens together; none of them alone has more.

    A job can be cancelled, and others have their turn, between two batches.
    """
    batch: list[Sequence[int]] = []
    tokens = 0
    for one in inputs:
        if batch and tokens + len(one) > most:
            yield batch
            batch, tokens = [], 0
        batch.append(one)
        tokens += len(one)
    if batch:
        yield batch
