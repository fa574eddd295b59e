"""Turns a `GenerateCall` into a valid request: the only way to a job, so nothing unchecked can be scheduled.

The edge decides what is valid, and tells its users so. Here are guards by the same bounds, because a runner trusts
nobody with its engine; what a runner refuses with a reason, only the files of its model can tell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from services.common.catalog import Model
from services.common.errors import Code, MeshError
from services.common.limits.chats import (
    BIASES,
    LONGEST_STOP,
    MIN_PS,
    MOST_BIASES,
    MOST_SCORED,
    MOST_STOP_SEQUENCES,
    PENALTIES,
    REPETITION_PENALTIES,
    TEMPERATURES,
    TOP_KS,
    TOP_LOGPROBS,
    TOP_PS,
)
from services.common.text_digest import text_digest
from services.runner.kinds.text.arrangement import arrange
from services.runner.kinds.text.conversation import read_messages, read_schema, read_toolbox
from services.runner.kinds.text.format_instructions import format_instructions
from services.runner.kinds.text.images.markers import random_marker, read_images
from services.runner.kinds.text.job import Job, Sampling
from services.runner.kinds.text.prompt.controls import ControlTexts, Prompt
from services.runner.kinds.text.prompt.grammar import answer_grammar, check_offer
from services.runner.kinds.text.prompt.output import ParsedText
from services.runner.kinds.text.prompt.parser import OutputParser
from services.runner.kinds.text.prompt.template import ChatTemplate
from services.runner.kinds.text.prompt.thought import EFFORTS
from services.runner.kinds.text.prompt.tools import Toolbox
from services.runner.kinds.text.reasoning_tokens import ReasoningTokens
from services.runner.refusals import (
    context_exceeded,
    images_misplaced,
    not_continued,
    too_many_scored,
    tools_not_shown,
    unchecked,
    unknown_tokens,
)
from tiermesh.runner.v1 import runner_pb2

# What each number of a call's sampling may be.
_SAMPLING_RANGES = {
    "temperature": TEMPERATURES,
    "top_p": TOP_PS,
    "presence_penalty": PENALTIES,
    "frequency_penalty": PENALTIES,
    "top_k": TOP_KS,
    "min_p": MIN_PS,
    "repetition_penalty": REPETITION_PENALTIES,
}


class Request(Struct, frozen=True):
    """A job, and how its output becomes replies."""

    job: Job
    # None if the output is plain text.
    parser: OutputParser | None
    # One delta with the whole answer instead of one an iteration.
    whole: bool
    # Strings that end the answer where they stand in its content, and are not part of it.
    stop: tuple[str, ...] = ()
    # Counts the tokens of the thought, with those of an interrupted run; None if the model does not reason.
    reasoning: ReasoningTokens | None = None


class RequestReader:
    """Reads the calls for one engine."""

    def __init__(
        self,
        template: ChatTemplate,
        *,
        controls: ControlTexts = ControlTexts(),  # noqa: B008 - it is immutable
        detokenize: Callable[[Sequence[int]], str],
        new_call_id: Callable[[], str],
        new_image_marker: Callable[[], str] = random_marker,
        vocabulary: str = "",
        context: int = 0,
    ) -> None:
        """`detokenize`, `controls`, the digest of the `vocabulary` and the `context` in tokens are the engine's.

        A model that is sold with less than this context gets no longer answer than it is sold with.
        `new_call_id` makes ids for function calls, `call_…`.
        """
        self._vocabulary = vocabulary
        self._context = context
        self._template = template
        self._controls = controls
        self._detokenize = detokenize
        self._new_call_id = new_call_id
        self._new_image_marker = new_image_marker

    def read(self, call: runner_pb2.GenerateCall, model: Model) -> Request:
        """Returns the request; raises MeshError INVALID_REQUEST with `param` for what is wrong with the call."""
        task = call.WhichOneof("task")
        if task == "completion":
            return self._read_completion(call, model)
        if task is not None:
            raise unchecked("model")
        return self._read_conversation(call, model)

    def read_prompt(self, call: runner_pb2.GenerateCall, model: Model) -> Job:
        """Returns a job with the prompt that a call wants to have counted; raises MeshError INVALID_REQUEST."""
        task = call.token_count
        if not task.HasField("prompt"):
            return self._read_conversation(call, model).job
        prompt = self._controls.plain(task.prompt)
        return Job(call.request_id, prompt, Sampling(), cuts=prompt.cuts)

    def _read_conversation(self, call: runner_pb2.GenerateCall, model: Model) -> Request:
        toolbox = read_toolbox(call)
        if toolbox.tools:
            self._check_tools(toolbox, model)
        schema = read_schema(call)
        instructions = format_instructions(call.response_format, schema) if schema and not toolbox.required else ""
        conversation = arrange(call.messages, self._template.accepted, instructions)
        images = read_images(conversation)
        if images and "vision" not in model.capabilities:
            raise unchecked("messages")
        marker = self._new_image_marker() if images else ""
        messages = read_messages(conversation, marker)
        effort = read_effort(call)
        thinking = model.reasoning and not (effort == "none" and self._template.hybrid)
        prompt = self._template.render(messages, toolbox.documents(), thinking=thinking, effort=EFFORTS[effort])
        thought = self._template.thought(prompt) if thinking else None
        grammar = answer_grammar(schema, toolbox, thought=thought, tool_format=self._template.tool_format)
        if images and prompt.count(marker) != len(images):
            raise images_misplaced()
        job = _read_job(call, self._most_tokens(call, model), prompt, grammar)
        if images:
            job = replace(job, images=images, image_marker=marker)
        opened = thought is not None and thought.opened
        parser = self._parser(toolbox, model, opened=opened)
        self._resume(call, job, parser)
        reasoning = self._reasoning(job, opened=opened) if model.reasoning else None
        return Request(job, parser, call.whole, read_stop(call.stop), reasoning)

    def _check_tools(self, toolbox: Toolbox, model: Model) -> None:
        """Raises MeshError INVALID_REQUEST for functions that the model cannot be offered."""
        if "tools" not in model.capabilities:
            raise unchecked("tools")
        check_offer(toolbox)
        if toolbox.callable and not self._template.shows_tools:
            raise tools_not_shown()

    def _read_completion(self, call: runner_pb2.GenerateCall, model: Model) -> Request:
        """Returns the request for a text that is to be continued as it is; nothing in the output has a meaning."""
        prompt, count = self._controls.plain(call.completion.prompt), len(call.completion.token_ids)
        if count >= model.context:
            raise context_exceeded(model.context, count)
        token_ids = tuple(call.completion.token_ids)
        if token_ids:
            try:
                prompt = Prompt(self._detokenize(token_ids))
            except MeshError as error:
                raise (unknown_tokens("prompt") if error.code is Code.INVALID_REQUEST else error) from None
        elif not prompt:
            raise unchecked("prompt")
        grammar = answer_grammar(read_schema(call), Toolbox())
        job = _read_job(call, self._most_tokens(call, model), prompt, grammar, token_ids)
        self._resume(call, job, None)
        job = _scored(call, job)
        return Request(job, None, call.whole, read_stop(call.stop))

    def _parser(self, toolbox: Toolbox, model: Model, *, opened: bool) -> OutputParser | None:
        """Returns the parser of the output."""
        if not (toolbox.callable or model.reasoning or self._template.tool_format.framed):
            return None
        return OutputParser(
            calls=toolbox.callable,
            forced=bool(toolbox.required),
            reasoning=model.reasoning,
            reasoning_open=opened,
            thought_tags=self._template.thought_tags,
            new_id=self._new_call_id,
            tool_format=self._template.tool_format,
            functions=toolbox.schemas,
        )

    def _resume(self, call: runner_pb2.GenerateCall, job: Job, parser: OutputParser | None) -> None:
        """Brings the parser to where an interrupted run has stopped.

        Raises MeshError CANCELLED if the tokens of that run mean something else here than what the client has read.
        """
        if not job.resume_token_ids:
            return
        if call.resume_vocabulary != self._vocabulary:
            raise not_continued()
        text = self._detokenize(job.resume_token_ids)
        if parser is not None:
            # What this recognises has been delivered already.
            delivered = ParsedText()
            parser.feed(text, delivered)
            text = "".join([*delivered.reasoning, *delivered.content])
        if text_digest(text) != call.resume_text_digest:
            raise not_continued()

    def _most_tokens(self, call: runner_pb2.GenerateCall, model: Model) -> int | None:
        """Returns the bound of the answer; None if the engine's context is bound enough.

        An edge takes what is beyond the context of the model for a fault of the runner.
        """
        if model.context >= self._context:
            return call.max_tokens or None
        return min(call.max_tokens or model.context, model.context)

    def _reasoning(self, job: Job, *, opened: bool) -> ReasoningTokens:
        """Returns what counts the tokens of the thought, those of an interrupted run included."""
        parser = OutputParser(
            calls=False,
            reasoning=True,
            reasoning_open=opened,
            thought_tags=self._template.thought_tags,
            new_id=self._new_call_id,
            tool_format=self._template.tool_format,
        )
        tokens = ReasoningTokens(parser, self._detokenize)
        tokens.add(job.resume_token_ids)
        return tokens


def _read_job(
    call: runner_pb2.GenerateCall,
    most_tokens: int | None,
    prompt: Prompt,
    grammar: str,
    prompt_token_ids: tuple[int, ...] = (),
) -> Job:
    return Job(
        request_id=call.request_id,
        prompt=prompt,
        sampling=read_sampling(call.sampling),
        max_tokens=most_tokens,
        logprobs=_read_logprobs(call),
        grammar=grammar,
        resume_token_ids=tuple(call.resume_token_ids),
        prompt_token_ids=prompt_token_ids,
        cuts=prompt.cuts,
        cache_scope=call.cache_scope,
    )


def _scored(call: runner_pb2.GenerateCall, job: Job) -> Job:
    """Returns the job, with the scores of its prompt if the call asks for them."""
    task = call.completion
    if not task.score_prompt:
        if task.only_score:
            raise unchecked("max_tokens")
        return job
    if job.logprobs is None or not call.whole or job.grammar or job.resume_token_ids:
        raise unchecked("echo")
    if len(job.prompt_token_ids) > MOST_SCORED:
        raise too_many_scored(len(job.prompt_token_ids))
    return replace(job, score_prompt=True, max_tokens=0 if task.only_score else job.max_tokens)


def read_sampling(sampling: runner_pb2.Sampling) -> Sampling:
    """Returns how tokens are chosen; raises MeshError INVALID_REQUEST."""
    for param, (low, high) in _SAMPLING_RANGES.items():
        if not low <= getattr(sampling, param) <= high:
            raise unchecked(param)
    return Sampling(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        presence_penalty=sampling.presence_penalty,
        frequency_penalty=sampling.frequency_penalty,
        seed=sampling.seed if sampling.HasField("seed") else None,
        logit_bias=_read_biases(sampling.logit_bias) if sampling.logit_bias else {},
        top_k=sampling.top_k,
        min_p=sampling.min_p,
        repetition_penalty=sampling.repetition_penalty or 1.0,
    )


def _read_biases(biases: Mapping[int, float]) -> dict[int, float]:
    if len(biases) > MOST_BIASES or not all(map(BIASES.holds, biases.values())):
        raise unchecked("logit_bias")
    return dict(biases)


def read_effort(call: runner_pb2.GenerateCall) -> str:
    """Returns OpenAI's degree of reasoning; raises MeshError INVALID_REQUEST."""
    effort = call.reasoning_effort or "medium"
    if effort not in EFFORTS:
        raise unchecked("reasoning_effort")
    return effort


def read_stop(stop: Sequence[str]) -> tuple[str, ...]:
    """Returns the stop strings; raises MeshError INVALID_REQUEST."""
    if not stop:
        return ()
    if len(stop) > MOST_STOP_SEQUENCES or not all(0 < len(text) <= LONGEST_STOP for text in stop):
        raise unchecked("stop")
    return tuple(stop)


def _read_logprobs(call: runner_pb2.GenerateCall) -> int | None:
    if not TOP_LOGPROBS.holds(call.top_logprobs) or (call.top_logprobs and not call.logprobs):
        raise unchecked("top_logprobs")
    return call.top_logprobs if call.logprobs else None
