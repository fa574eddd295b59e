"""Asks an engine for answers of random shapes, as a runner does, and judges what comes.

An answer follows its schema, or is cut by its length, or the request is refused in words: never anything else.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from services.common.catalog import Model
from services.common.errors import Code, MeshError
from services.common.json_schema.arguments import arguments_schema
from services.common.json_schema.checking import SchemaError, check_schema
from services.common.text_steps import AnyReply
from services.runner.kinds.text.engine import TextEngine
from services.runner.kinds.text.prompt.template import ChatTemplate, packaged_template
from services.runner.kinds.text.reader import RequestReader
from services.runner.kinds.text.writer import ReplyWriter
from tests.support.random_schemas import RandomSchemas, is_valid
from tests.support.recording import submit
from tiermesh.runner.v1 import runner_pb2 as pb

MODES = ("whole", "streamed", "required", "named", "thinking", "thinking calls")
# Schemas of one run; `make shapes` sets it.
SCHEMAS = int(os.environ.get("TIERMESH_TEST_SCHEMAS", "24"))
_WORDS = ("Give me an example.", "Hello!", "What is the capital of France?", "{")
_MOST_CALLS = 8
# Whole numbers of the validator, and what every `multipleOf` of the random schemas divides.
_LARGEST_WHOLE, _MULTIPLES = 2**63, 60


@dataclass(frozen=True, slots=True)
class Wish:
    """One schema, and how it is asked for."""

    seed: int
    mode: str

    @property
    def calls(self) -> bool:
        return self.mode in {"required", "named", "thinking calls"}

    @property
    def schema(self) -> dict[str, Any]:
        return RandomSchemas(self.seed).next(of_object=self.calls and self.seed % 5 != 0)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a wish: `valid`, `cut`, `refused`, or else what is wrong."""

    verdict: str
    detail: str = ""


async def check(engine: TextEngine, first_seed: int, count: int, most_tokens: int) -> None:
    """Asks for so many schemas, as many at once as the engine has slots; fails the test for any that went wrong."""
    wishes = [Wish(seed, MODES[seed % len(MODES)]) for seed in range(first_seed, first_seed + count)]
    slots = asyncio.Semaphore(engine.slots)

    async def one(wish: Wish) -> tuple[Wish, Outcome]:
        async with slots:
            return wish, await _ask(engine, wish, most_tokens)

    found = await asyncio.gather(*map(one, wishes))
    print(report(found))  # noqa: T201 - pytest shows it for tests that failed, and `make shapes` for all
    verdicts = [outcome.verdict for _, outcome in found]
    assert set(verdicts) <= {"valid", "cut", "refused"}, report(found)
    # Most are meant to be possible, and most answers are short.
    assert verdicts.count("valid") > count / 3


def report(found: Sequence[tuple[Wish, Outcome]]) -> str:
    """Returns the figures of a run, with every answer that is wrong and every reason for a refusal."""
    lines = [f"{count} {mode} {verdict}" for (mode, verdict), count in sorted(_figures(found).items())]
    lines += [
        f"seed {wish.seed} ({wish.mode}) {outcome.verdict}: {outcome.detail} {json.dumps(wish.schema)[:500]}"
        for wish, outcome in found
        if outcome.verdict not in {"valid", "cut", "refused"}
    ]
    reasons = Counter(outcome.detail for _, outcome in found if outcome.verdict == "refused")
    return "\n".join([*lines, *(f"{count} refused: {reason}" for reason, count in reasons.most_common())])


def _figures(found: Sequence[tuple[Wish, Outcome]]) -> Counter[tuple[str, str]]:
    return Counter((wish.mode, outcome.verdict) for wish, outcome in found)


async def _ask(engine: TextEngine, wish: Wish, most_tokens: int) -> Outcome:
    schema = wish.schema
    try:
        # As the edge does.
        check_schema(schema)
        followed = arguments_schema(schema) if wish.calls else schema
    except SchemaError as error:
        return Outcome("refused" if "#" in str(error) or "object" in str(error) else "unclear", str(error))
    thinks = wish.mode.startswith("thinking")
    fields: dict[str, Any] = {"context": engine.context, "capabilities": ("tools",), "reasoning": thinks}
    model = Model(id="m", kind="chat", tier="pro", price=1, **fields)
    call = _call(wish, schema, most_tokens)
    template = ChatTemplate(packaged_template("smollm2"))
    reader = RequestReader(template, detokenize=engine.detokenize, new_call_id=lambda: "call_1")
    try:
        request = reader.read(call, model)
        steps = (await submit(engine, request.job).end()).steps
    except MeshError as error:
        refused = error.code is Code.INVALID_REQUEST and error.param in {"response_format", "tools"}
        refused = refused or error.code is Code.CONTEXT_LENGTH_EXCEEDED
        return Outcome("refused" if refused else "failed", f"{error.code.name} {error.message}")
    writer = ReplyWriter(1, request)
    replies = [reply for step in steps if (reply := writer.write(step)) is not None]
    return _judged(wish, followed, replies)


def _call(wish: Wish, schema: dict[str, Any], most_tokens: int) -> pb.GenerateCall:
    words = _WORDS[wish.seed % len(_WORDS)]
    temperature = (0.0, 0.7, 1.0, 1.6)[wish.seed // 7 % 4]
    call = pb.GenerateCall(
        messages=[pb.Message(role="user", content=words)],
        sampling=pb.Sampling(temperature=temperature, top_p=1, seed=wish.seed),
        max_tokens=most_tokens,
        whole=wish.mode == "whole",
    )
    written = json.dumps(schema)
    if not wish.calls:
        call.response_format.json_schema = written
        return call
    call.tools.add(name="act", parameters_json=written)
    call.tools.add(name="wait")
    if wish.mode == "named":
        call.tool_choice.CopyFrom(pb.ToolChoice(mode=pb.ToolChoice.MODE_NAMED, name="act", single=True))
    else:
        call.tool_choice.CopyFrom(pb.ToolChoice(mode=pb.ToolChoice.MODE_REQUIRED, single=wish.seed % 2 == 0))
    return call


def _judged(wish: Wish, schema: dict[str, Any], replies: Sequence[AnyReply]) -> Outcome:
    content = "".join(reply.text for reply in replies)
    calls: dict[int, list[str]] = {}
    for delta in (delta for reply in replies for delta in reply.tool_calls):
        parts = calls.setdefault(delta.index, [delta.name, ""])
        parts[1] += delta.arguments
    cut = replies[-1].finish_reason == pb.FINISH_REASON_LENGTH
    if wish.calls:
        return _judged_calls(wish, schema, content, list(calls.values()), cut=cut)
    if calls or replies[-1].finish_reason not in {pb.FINISH_REASON_LENGTH, pb.FINISH_REASON_STOP}:
        return Outcome("calls", content)
    if cut and not _parses(content):
        # What was said so far begins like JSON and is none of the markup around it.
        return Outcome("cut") if content[:1] in {*'{["-0123456789tfn', ""} else Outcome("prose", content)
    return _judged_value(schema, content)


def _judged_calls(wish: Wish, schema: dict[str, Any], content: str, calls: list[list[str]], *, cut: bool) -> Outcome:
    if content:
        return Outcome("prose", content)
    most = 1 if wish.mode == "named" or wish.seed % 2 == 0 else _MOST_CALLS
    if len(calls) > most or (not calls and not cut):
        return Outcome("count", f"{len(calls)} calls")
    for at, (name, arguments) in enumerate(calls):
        if cut and at == len(calls) - 1 and not _parses(arguments):
            continue
        if name == "wait" and wish.mode != "named":
            if arguments != "{}":
                return Outcome("invalid", arguments)
        elif name != "act":
            return Outcome("name", name)
        elif (outcome := _judged_value(schema, arguments)).verdict != "valid":
            return outcome
    return Outcome("cut" if cut else "valid")


def _judged_value(schema: dict[str, Any], text: str) -> Outcome:
    if not _parses(text):
        return Outcome("prose", text)
    value = json.loads(text, parse_int=_number, parse_float=_number)
    return Outcome("valid") if is_valid(schema, value) else Outcome("invalid", text)


def _number(text: str) -> float:
    """Reads a number as the validator can: larger ones become 64 bits that are multiples of as much."""
    value = math.copysign(min(abs(float(text)), sys.float_info.max), float(text))
    if not text.lstrip("-").isdigit():
        return value
    whole = int(text)
    if abs(whole) < _LARGEST_WHOLE:
        return whole
    if int(value) == whole:
        return value
    beyond = _LARGEST_WHOLE - _LARGEST_WHOLE % _MULTIPLES
    return beyond + _MULTIPLES + whole % _MULTIPLES if whole > 0 else -beyond + whole % _MULTIPLES


def _parses(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
