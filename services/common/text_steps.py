"""Steps that bring text and its tokens and nothing else, as nearly all do: in a frame, and in Python.

A message of protobuf for each would cost more than everything else that is done with it, at both ends. So a frame holds
them field by field.
"""

# ruff: noqa: N802 - two methods are called as those of messages.

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import islice
from typing import ClassVar, TypeAlias

from msgspec import Struct

from tiermesh.common.v1.error_pb2 import Error
from tiermesh.runner.v1 import runner_pb2
from tiermesh.runner.v1.runner_pb2 import GenerateReply, GenerateResponse


class TextStep(Struct):
    """One such step. It has the fields of a GenerateReply that has nothing else."""

    id: int
    text: str
    token_ids: list[int]
    finish_reason: ClassVar[runner_pb2.FinishReason.ValueType] = runner_pb2.FINISH_REASON_UNSPECIFIED
    started: ClassVar[bool] = False
    progress: ClassVar[bool] = False
    reasoning: ClassVar[str] = ""
    tool_calls: ClassVar[Sequence[runner_pb2.ToolCallDelta]] = ()
    logprobs: ClassVar[Sequence[runner_pb2.TokenLogprob]] = ()
    prompt_logprobs: ClassVar[Sequence[runner_pb2.TokenLogprob]] = ()
    embeddings: ClassVar[Sequence[runner_pb2.Embedding]] = ()
    audio: ClassVar[bytes] = b""
    image: ClassVar[bytes] = b""
    error: ClassVar[Error] = Error()
    transcript: ClassVar[runner_pb2.Transcript] = runner_pb2.Transcript()
    token_count: ClassVar[runner_pb2.TokenCount] = runner_pb2.TokenCount()
    usage: ClassVar[runner_pb2.Usage] = runner_pb2.Usage()
    stop: ClassVar[str] = ""

    def HasField(self, field_name: str) -> bool:
        """Tells that there is no error, nor anything else that can be asked for."""
        del field_name
        return False

    def ByteSize(self) -> int:
        """Returns about what it takes."""
        return len(self.text) + 4 * len(self.token_ids)


AnyReply: TypeAlias = GenerateReply | TextStep


def pack(*, replies: Collection[AnyReply], draining: bool) -> GenerateResponse:
    """Returns a frame. What is no text step comes after all that are, and so must be the last of its call."""
    steps = [each for each in replies if type(each) is TextStep]
    others = [each for each in replies if not isinstance(each, TextStep)] if len(steps) < len(replies) else []
    if not steps:
        return GenerateResponse(replies=others, draining=draining)
    counts = [len(step.token_ids) for step in steps]
    columns = runner_pb2.TextSteps(
        ids=[step.id for step in steps],
        texts=[step.text for step in steps],
        token_counts=None if counts.count(1) == len(counts) else counts,
        token_ids=[token_id for step in steps for token_id in step.token_ids],
    )
    return GenerateResponse(replies=others, draining=draining, text_steps=columns)


def unpack(frame: GenerateResponse) -> Sequence[AnyReply]:
    """Returns the steps of a frame; raises ValueError if it does not say which tokens belong to which step."""
    if not frame.HasField("text_steps"):
        return frame.replies
    columns = frame.text_steps
    ids, texts, counts, token_ids = columns.ids[:], columns.texts[:], columns.token_counts[:], columns.token_ids[:]
    if counts:
        left = iter(token_ids)
        tokens = [list(islice(left, count)) for count in counts]
    else:
        tokens = [[token_id] for token_id in token_ids]
    if not len(ids) == len(texts) == len(tokens) or (counts and sum(counts) != len(token_ids)):
        raise ValueError("a frame of text steps whose fields have different lengths")
    return [*map(TextStep, ids, texts, tokens), *frame.replies]
