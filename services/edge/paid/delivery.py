"""Sends generated text, whole or as a stream. In both the charge is durable before the end is sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from aiohttp import web
from msgspec import UNSET, Struct, UnsetType, field

from services.common.catalog import Model
from services.common.errors import MeshError
from services.common.receipts.claims import Outcome as ReceiptOutcome
from services.common.telemetry.logs import get_logger
from services.common.text_steps import AnyReply, TextStep
from services.edge.http.errors import internal_error
from services.edge.http.event_stream import EventStream, in_lines
from services.edge.http.gathering import Gathering
from services.edge.http.keep_alive import COMMENT
from services.edge.metrics import of_model
from services.edge.paid.charge import Charge
from services.edge.paid.generation import ChoiceStep
from services.edge.paid.hold import Receipt
from services.edge.receipts.issuing import OpenReceipt
from tiermesh.runner.v1 import runner_pb2
from tiermesh.runner.v1.runner_pb2 import GenerateReply

log = get_logger()
# The last reply of each choice that has finished, by its index.
Finished = Mapping[int, GenerateReply]


class PromptTokens(Struct, frozen=True):
    """How many tokens of the prompt were known from an earlier request."""

    cached_tokens: int


class AnswerTokens(Struct, frozen=True):
    """How many tokens of the answer were reasoning."""

    reasoning_tokens: int


class TokenUsage(Struct, frozen=True):
    """How many tokens a request has taken."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokens
    completion_tokens_details: AnswerTokens


class ChargedCredits(Struct, frozen=True, forbid_unknown_fields=True):
    """What a request has cost, and what is left."""

    credits_charged: int
    credits_remaining: int
    # The transaction on the chain, if a wallet has paid.
    transaction: str | UnsetType = UNSET


def usage_body(usages: Sequence[runner_pb2.Usage], *, prompts: int = 1) -> TokenUsage:
    """Returns OpenAI's usage object for all choices: each of the prompts counts once, the answers add up.

    The choices of a prompt stand next to each other, and every prompt has the same number of them.
    """
    if len(usages) == 1:
        # Most requests.
        (usage,) = usages
        prompt, completion = usage.prompt_tokens, usage.completion_tokens
        return TokenUsage(
            prompt,
            completion,
            prompt + completion,
            PromptTokens(usage.cached_tokens),
            AnswerTokens(usage.reasoning_tokens),
        )
    firsts = usages[:: max(len(usages) // prompts, 1)]
    prompt = sum(usage.prompt_tokens for usage in firsts)
    completion = sum(usage.completion_tokens for usage in usages)
    return TokenUsage(
        prompt,
        completion,
        prompt + completion,
        PromptTokens(sum(usage.cached_tokens for usage in firsts)),
        AnswerTokens(sum(usage.reasoning_tokens for usage in usages)),
    )


class Renderer(Protocol):
    """Turns the steps of one answer into the server-sent events of its endpoint."""

    def open(self) -> bytes:
        """Returns the events that precede the first step."""

    def step(self, choice: int, reply: AnyReply) -> bytes:
        """Returns the events for one step, empty if it shows nothing."""

    def end(self, finished: Finished, receipt: Receipt) -> bytes:
        """Returns the events after the last step of a paid answer, up to the end of the stream."""

    def error(self, error: MeshError) -> bytes:
        """Returns the event that tells a reading client that its stream has failed; nothing follows it."""


class Delivery(Struct):
    """One answer on its way to the client."""

    request: web.Request
    headers: Mapping[str, str]
    model: Model
    charge: Charge
    choices: int
    # Seconds since the request came.
    elapsed: Callable[[], float]
    # How many prompts the choices belong to.
    prompts: int
    # What may wait for a slow reader of a stream.
    max_unread_bytes: int
    # How long a stream may be silent before a comment keeps its connection alive, in seconds.
    keep_alive_seconds: float
    # Of the streams of this edge; None if this one has none to share.
    gathering: Gathering | None = None
    # The receipt that is signed at the end; None if none is.
    open_receipt: OpenReceipt | None = None
    finished: dict[int, GenerateReply] = field(default_factory=dict)
    # Whether anything was produced that a client can see.
    has_output: bool = False
    # When the first token of a chat came, in seconds since the request; 0 before, and for other kinds.
    first_at: float = 0.0

    async def next_steps(self, within: float | None = None) -> list[ChoiceStep]:
        """Waits for the next steps and keeps account of them; none if nothing comes `within` seconds.

        Raises what ends the answer, mostly a MeshError.
        """
        first = not self.charge.generation.started
        events = await self.charge.generation.events(within)
        for event in events:
            if isinstance(event.reply, Exception):
                raise event.reply
            self.note(event.choice, event.reply)
        if first and events:
            self.charge.note_first_token()
            if self.model.kind == "chat":
                # Runners tell of the first token of what is sent whole, too.
                self.first_at = self.elapsed()
                of_model(self.model.id).first_token.observe(self.first_at)
        return events

    def note(self, choice: int, step: AnyReply) -> None:
        """Keeps account of one step."""
        if not self.has_output and _shows(step):
            self.has_output = True
            if self.charge.on_output is not None:
                self.charge.on_output()
        if step.finish_reason and not isinstance(step, TextStep):
            self.finished[choice] = step

    @property
    def complete(self) -> bool:
        """Whether every choice has finished."""
        return len(self.finished) == self.choices

    @property
    def last_replies(self) -> list[GenerateReply]:
        """The last reply of each choice, in the order of the choices."""
        return [self.finished[index] for index in sorted(self.finished)]

    async def settle(self) -> Receipt:
        """Charges the complete answer."""
        usage = usage_body([reply.usage for reply in self.last_replies], prompts=self.prompts)
        prompt_tokens, completion_tokens = usage.prompt_tokens, usage.completion_tokens
        seconds = self.elapsed() - self.first_at if self.first_at else 0.0
        receipt = await self.charge.settle(prompt_tokens, completion_tokens, empty=not self.has_output)
        if self.open_receipt is not None:
            outcome: ReceiptOutcome = "completed" if self.has_output else "empty"
            if receipt.transaction:
                self.open_receipt.transaction = receipt.transaction
            self.open_receipt.settle(outcome, receipt.charged, prompt_tokens, completion_tokens)
        metrics = of_model(self.model.id)
        metrics.prompt_tokens.inc(prompt_tokens)
        metrics.completion_tokens.inc(completion_tokens)
        if seconds and completion_tokens > self.choices:
            metrics.output_token.observe(seconds * self.choices / (completion_tokens - self.choices))
        return receipt

    def fail(self) -> None:
        """Notes that the answer cannot be finished: it is free."""
        self.charge.fail()
        if self.open_receipt is not None:
            self.open_receipt.fail()

    @property
    def note_sent(self) -> Callable[[bytes], None] | None:
        """What is given all bytes of a streamed answer as they are sent; None if no receipt is signed."""
        return None if self.open_receipt is None else self.open_receipt.take

    def header(self, answer: bytes) -> dict[str, str]:
        """Returns the header with the signed receipt of a whole answer, if one is signed."""
        return {} if self.open_receipt is None else self.open_receipt.header(answer)

    def with_comment(self, last: bytes) -> bytes:
        """Returns the last events of a stream, and after them the signed receipt of all of it, if one is signed."""
        if self.open_receipt is None:
            return last
        last = in_lines(last)
        return last + self.open_receipt.comment(last)


def _shows(step: AnyReply) -> bool:
    """Tells whether a step holds anything that a client can see, whatever its kind."""
    return bool(
        step.text
        or step.reasoning
        or step.tool_calls
        or step.prompt_logprobs
        or step.embeddings
        or step.audio
        or step.image
        or step.transcript.text
    )


async def deliver_whole(delivery: Delivery, body: Callable[[list[GenerateReply]], bytes]) -> web.Response:
    """Sends the answer as the one JSON body that `body` makes of the last replies."""
    while not delivery.complete:
        await delivery.next_steps()
    # Before it is charged: an answer that cannot be written is not sold.
    content = body(delivery.last_replies)
    receipt = await delivery.settle()
    headers = {**delivery.headers, **receipt_headers(receipt), **delivery.header(content)}
    return web.Response(body=content, content_type="application/json", headers=headers)


def receipt_headers(receipt: Receipt) -> dict[str, str]:
    """Returns the headers that say what a request has cost and what is left."""
    headers = {
        "x-tiermesh-credits-charged": str(receipt.charged),
        "x-tiermesh-credits-remaining": str(receipt.remaining),
    }
    if receipt.payment_response:
        # The second name is that of version 1 of x402.
        headers |= dict.fromkeys(("PAYMENT-RESPONSE", "X-PAYMENT-RESPONSE"), receipt.payment_response)
    return headers


def receipt_body(receipt: Receipt) -> ChargedCredits:
    """Returns the member `tiermesh` of a stream's last event, which says the same: its headers are long gone."""
    return ChargedCredits(receipt.charged, receipt.remaining, receipt.transaction or UNSET)


async def deliver_stream(delivery: Delivery, renderer: Renderer, *, keep_alive: bytes = COMMENT) -> web.StreamResponse:
    """Sends the answer as server-sent events.

    What fails before the first event is raised, as a plain HTTP error; so is a defect later, once the stream has told
    of it. Whenever it is silent for long, `keep_alive` keeps proxies and clients from giving the connection up.
    """
    stream = EventStream(
        delivery.request,
        delivery.headers,
        max_unread_bytes=delivery.max_unread_bytes,
        keep_alive_seconds=delivery.keep_alive_seconds,
        keep_alive=keep_alive,
        note=delivery.note_sent,
        gathering=delivery.gathering,
    )
    steps = await delivery.next_steps(delivery.keep_alive_seconds)
    await stream.open(renderer.open() + _render(renderer, steps) if steps else keep_alive)
    try:
        if not steps:
            stream.write(renderer.open() + _render(renderer, await delivery.next_steps()))
        # Each message of a runner keeps the whole frame that it came in, and this one would do so until the end.
        steps.clear()
        await _send_steps(delivery, renderer, stream)
        await _send_end(delivery, renderer, stream)
    except MeshError as error:
        log.warning("stream_failed", request_id=delivery.charge.request_id, code=error.code.name)
        delivery.fail()
        await _close(delivery, stream, renderer.error(error))
    except Exception:
        # A defect: whoever logs it closes the connection, since nothing more can be said of this stream.
        stream.write(renderer.error(internal_error()))
        raise
    finally:
        stream.stop()
    return stream.response


async def _send_steps(delivery: Delivery, renderer: Renderer, stream: EventStream) -> None:
    def write(choice: int, step: AnyReply) -> None:
        # No last step comes here, so this is all that there is to note.
        if not delivery.has_output:
            delivery.note(choice, step)
        if events := renderer.step(choice, step):
            stream.write(events)

    delivery.charge.generation.write_steps(write)
    while not delivery.complete:
        if events := _render(renderer, await delivery.next_steps()):
            stream.write(events)


def _render(renderer: Renderer, steps: list[ChoiceStep]) -> bytes:
    return b"".join(renderer.step(choice, step) for choice, step in steps if not isinstance(step, Exception))


async def _send_end(delivery: Delivery, renderer: Renderer, stream: EventStream) -> None:
    receipt = await delivery.settle()
    await _close(delivery, stream, renderer.end(delivery.finished, receipt))


async def _close(delivery: Delivery, stream: EventStream, last: bytes) -> None:
    # A receipt is about all that precedes it, so nothing may wait any more, and no comment may come.
    stream.stop()
    await stream.close(delivery.with_comment(last))
