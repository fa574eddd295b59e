"""Only valid calls become jobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import llguidance
import pytest

from services.common.catalog import Model
from services.common.errors import Code, MeshError
from services.common.limits.chats import MOST_MESSAGES_TOOLS, MOST_SCORED, MOST_STOP_SEQUENCES
from services.common.text_digest import text_digest
from services.runner.kinds.text.job import Sampling
from services.runner.kinds.text.prompt.grammar import byte_tokenizer
from services.runner.kinds.text.prompt.template import ChatTemplate, packaged_template
from services.runner.kinds.text.reader import Request, RequestReader
from tests.unit.runner.prompt.said import parse
from tiermesh.runner.v1 import runner_pb2 as pb

MODEL = Model(id="model", kind="chat", tier="pro", price=10, context=2048, capabilities=("tools",))
THINKER = Model(id="thinker", kind="chat", tier="pro", price=10, context=2048, reasoning=True)
PLAIN = Model(id="plain", kind="chat", tier="pro", price=10, context=2048)
WEATHER = pb.Tool(name="get_weather", parameters_json='{"type": "object", "properties": {"city": {"type": "string"}}}')


def detokenize(token_ids: Sequence[int]) -> str:
    return "".join(map(chr, token_ids))


def call(**fields: object) -> pb.GenerateCall:
    sampling = pb.Sampling(temperature=1, top_p=1)
    fields = {"messages": [pb.Message(role="user", content="hi")], "sampling": sampling, **fields}
    return pb.GenerateCall(request_id="r", model="model", **fields)  # type: ignore[arg-type] # fields of the message


def resumed(said: str, shown: str | None = None) -> dict[str, Any]:
    """Returns the fields of a call that goes on after what was said, of which `shown` has reached the client."""
    digest = text_digest(said if shown is None else shown)
    return {"resume_token_ids": list(map(ord, said)), "resume_text_digest": digest}


def read(call: pb.GenerateCall, model: Model = MODEL, template: str = "") -> Request:
    source = template or packaged_template("smollm2")
    reader = RequestReader(ChatTemplate(source), detokenize=detokenize, new_call_id=lambda: "call_1")
    return reader.read(call, model)


def test_a_plain_call() -> None:
    request = read(call(max_tokens=5, stop=["\n"], whole=True, **resumed("hi")))
    assert request.parser is None
    assert request.whole
    job = request.job
    assert (job.request_id, job.max_tokens, request.stop, job.resume_token_ids) == ("r", 5, ("\n",), (104, 105))
    assert (job.sampling, job.logprobs, job.grammar) == (Sampling(), None, "")
    assert job.prompt.endswith("<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n")


@pytest.mark.parametrize(
    ("context", "asked", "bound"),
    [(0, 0, None), (2048, 0, None), (2048, 9000, 9000), (4096, 0, 2048), (4096, 9000, 2048), (4096, 5, 5)],
)
def test_no_answer_is_longer_than_the_context_that_a_model_is_sold_with(
    context: int, asked: int, bound: int | None
) -> None:
    template = ChatTemplate(packaged_template("smollm2"))
    reader = RequestReader(template, detokenize=detokenize, new_call_id=str, context=context)
    assert reader.read(call(max_tokens=asked), MODEL).job.max_tokens == bound
    continued = call(max_tokens=asked, messages=[], completion=pb.CompletionTask(prompt="x"))
    assert reader.read(continued, MODEL).job.max_tokens == bound


def test_earlier_thoughts_reach_templates_that_show_them() -> None:
    said = pb.Message(role="assistant", content="y", reasoning_content="TTT")
    messages = [pb.Message(role="user", content="x"), said, pb.Message(role="user", content="z")]
    shown = "{% for message in messages %}[{{ message.reasoning_content }}]{% endfor %}"
    assert read(call(messages=messages), template=shown).job.prompt == "[][TTT][]"
    # Others do not know of them.
    assert "TTT" not in read(call(messages=messages)).job.prompt
    with pytest.raises(MeshError) as caught:
        read(call(messages=[pb.Message(role="user", content="x", reasoning_content="TTT")]))
    assert caught.value.param == "messages[0].reasoning_content"


def test_a_function_without_parameters_takes_none() -> None:
    forced = pb.ToolChoice(mode=pb.ToolChoice.MODE_REQUIRED)
    grammar = read(call(tools=[pb.Tool(name="now")], tool_choice=forced)).job.grammar
    matcher = llguidance.LLMatcher(byte_tokenizer(), grammar)
    written = b'<tool_call>\n{"name": "now", "arguments": {'
    assert matcher.try_consume_tokens(list(written)) == len(written)
    assert matcher.compute_ff_tokens()[:1] == [ord("}")]


def test_no_limit_and_no_seed_are_told_from_zero() -> None:
    assert read(call()).job.max_tokens is None
    assert read(call()).job.sampling.seed is None
    assert read(call(sampling=pb.Sampling(seed=0))).job.sampling.seed == 0
    assert read(call(logprobs=True)).job.logprobs == 0


def test_what_openai_does_not_have_is_off_until_it_is_sent() -> None:
    off = read(call()).job.sampling
    assert (off.top_k, off.min_p, off.repetition_penalty) == (0, 0.0, 1.0)
    sent = read(call(sampling=pb.Sampling(temperature=1, top_p=1, top_k=5, min_p=0.25, repetition_penalty=1.5)))
    assert sent.job.sampling == Sampling(top_k=5, min_p=0.25, repetition_penalty=1.5)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"sampling": pb.Sampling(temperature=2.1)}, "temperature"),
        ({"sampling": pb.Sampling(temperature=-1)}, "temperature"),
        ({"sampling": pb.Sampling(temperature=float("nan"))}, "temperature"),
        ({"sampling": pb.Sampling(top_p=1.5)}, "top_p"),
        ({"sampling": pb.Sampling(presence_penalty=3)}, "presence_penalty"),
        ({"sampling": pb.Sampling(frequency_penalty=float("inf"))}, "frequency_penalty"),
        ({"sampling": pb.Sampling(logit_bias={1: 101})}, "logit_bias"),
        ({"sampling": pb.Sampling(top_k=1_000_001)}, "top_k"),
        ({"sampling": pb.Sampling(min_p=1.5)}, "min_p"),
        ({"sampling": pb.Sampling(repetition_penalty=-1)}, "repetition_penalty"),
        ({"sampling": pb.Sampling(logit_bias=dict.fromkeys(range(2000), 1.0))}, "logit_bias"),
        ({"stop": ["a"] * (MOST_STOP_SEQUENCES + 1)}, "stop"),
        ({"stop": [""]}, "stop"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"messages": []}, "messages"),
        ({"messages": [pb.Message(role="robot")]}, "messages[0].role"),
        ({"messages": [pb.Message(role="user", tool_calls=[pb.ToolCall()])]}, "messages[0].tool_calls"),
        ({"tools": [pb.Tool(name="no spaces")]}, "tools[0].function.name"),
        ({"tools": [pb.Tool(name="f", parameters_json="[]")]}, "tools[0].function.parameters"),
        ({"tools": [pb.Tool(name="f", parameters_json=r'{"title": "\ud83d"}')]}, "tools[0].function.parameters"),
        ({"tools": [WEATHER, WEATHER]}, "tools"),
        ({"tools": [pb.Tool(name=f"f{at}") for at in range(MOST_MESSAGES_TOOLS + 1)]}, "tools"),
        ({"tool_choice": pb.ToolChoice(mode=pb.ToolChoice.MODE_REQUIRED)}, "tool_choice"),
        ({"tools": [WEATHER], "tool_choice": pb.ToolChoice(mode=pb.ToolChoice.MODE_NAMED, name="x")}, "tool_choice"),
        ({"response_format": pb.ResponseFormat(json_schema="7")}, "response_format"),
        ({"response_format": pb.ResponseFormat(json_schema="[" * 100_000)}, "response_format"),
        ({"response_format": pb.ResponseFormat(json_schema='{"type": "foo"}')}, "response_format"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, object], param: str) -> None:
    with pytest.raises(MeshError) as refusal:
        read(call(**fields))
    assert refusal.value.code is Code.INVALID_REQUEST
    assert refusal.value.param == param


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ('{"city": "Paris"}', '{"city": "Paris"}'),
        ("", "{}"),
        # Cut off by max_tokens.
        ('{"city": "Par', '{"arguments": "{\\"city\\": \\"Par"}'),
        ("Paris, please", '{"arguments": "Paris, please"}'),
        ("[1]", '{"arguments": "[1]"}'),
        ("[" * 100_000, None),
        # Half of a surrogate pair: no engine can be sent it, so it stays escaped.
        (r'{"city": "\ud83d"}', r'{"arguments": "{\"city\": \"\\ud83d\"}"}'),
    ],
)
def test_whatever_a_model_has_called_may_be_sent_back(arguments: str, shown: str | None) -> None:
    calls = [pb.ToolCall(id="c", name="f", arguments=arguments)]
    said = [pb.Message(role="assistant", tool_calls=calls), pb.Message(role="tool", content="?", tool_call_id="c")]
    prompt = read(call(messages=said)).job.prompt
    assert prompt.encode()
    assert shown is None or f'{{"name": "f", "arguments": {shown}}}' in prompt


def test_tools_need_a_model_that_can_call() -> None:
    with pytest.raises(MeshError) as refusal:
        read(call(tools=[WEATHER]), PLAIN)
    assert refusal.value.param == "tools"


def test_a_template_that_shows_no_tools_takes_none() -> None:
    # Gemma 3, whose published template has no place for them.
    template = (
        "{% for message in messages %}<start_of_turn>{{ 'model' if message.role == 'assistant' else message.role }}\n"
        "{{ message.content | trim }}<end_of_turn>\n{% endfor %}"
        "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
    )
    for choice in (pb.ToolChoice.MODE_AUTO, pb.ToolChoice.MODE_REQUIRED):
        with pytest.raises(MeshError, match="not shown to the model") as refusal:
            read(call(tools=[WEATHER], tool_choice=pb.ToolChoice(mode=choice)), template=template)
        assert refusal.value.param == "tools"
    assert read(call(tools=[WEATHER], tool_choice=pb.ToolChoice(mode=pb.ToolChoice.MODE_NONE)), template=template)
    assert read(call(), template=template)


def test_offered_tools_are_shown_and_looked_for() -> None:
    request = read(call(tools=[WEATHER]))
    assert '"name": "get_weather"' in request.job.prompt
    assert request.parser is not None
    assert request.job.grammar == ""


def test_forbidden_tools_are_neither_shown_nor_looked_for() -> None:
    request = read(call(tools=[WEATHER], tool_choice=pb.ToolChoice(mode=pb.ToolChoice.MODE_NONE)))
    assert "get_weather" not in request.job.prompt
    assert request.parser is None


@pytest.mark.parametrize(
    "choice",
    [
        pb.ToolChoice(mode=pb.ToolChoice.MODE_REQUIRED),
        pb.ToolChoice(mode=pb.ToolChoice.MODE_NAMED, name="get_weather"),
    ],
)
def test_forced_tools_have_a_grammar(choice: pb.ToolChoice) -> None:
    request = read(call(tools=[WEATHER], tool_choice=choice))
    assert "get_weather" in request.job.grammar
    # What there is when the limit comes is the beginning of a call, and nothing that anybody has said.
    assert request.parser is not None
    assert parse(["<tool_call>\n{"], request.parser).content == ""


@pytest.mark.parametrize(
    "wanted", [pb.ResponseFormat(json_object=True), pb.ResponseFormat(json_schema='{"type": "object"}')]
)
def test_a_response_format_has_a_grammar(wanted: pb.ResponseFormat) -> None:
    assert "%json" in read(call(response_format=wanted)).job.grammar


def test_an_opened_thought_is_seen_in_the_prompt() -> None:
    request = read(call(), THINKER, "{{ messages[0].content }}<think>\n")
    assert request.parser is not None
    assert request.parser.thinking


def test_a_resumed_answer_is_parsed_on_from_where_it_was() -> None:
    said = "<think>so</think>"
    asked = (resumed(said[:9], shown="<think>so"), resumed(said + "x", shown="<think>sox"))
    parsers = [read(call(**fields), THINKER).parser for fields in asked]
    thinking: Callable[[int], bool] = lambda at: parsers[at] is not None and parsers[at].thinking  # type: ignore[union-attr] # noqa: E731
    assert thinking(0)
    assert not thinking(1)


def test_a_completion_is_the_bare_prompt() -> None:
    task = pb.CompletionTask(prompt="Once upon")
    request = read(call(messages=[], completion=task, max_tokens=3), THINKER)
    assert request.parser is None
    assert (request.job.prompt, request.job.prompt_token_ids, request.job.max_tokens) == ("Once upon", (), 3)


def test_a_completion_of_tokens_has_their_text_too() -> None:
    job = read(call(messages=[], completion=pb.CompletionTask(token_ids=[72, 105]))).job
    assert (job.prompt, job.prompt_token_ids) == ("Hi", (72, 105))


def test_a_completion_may_have_a_required_shape() -> None:
    shape = pb.ResponseFormat(json_object=True)
    assert read(call(messages=[], completion=pb.CompletionTask(prompt="x"), response_format=shape)).job.grammar


def test_a_completion_that_is_scored_is_whole_and_bounded() -> None:
    def scored(**fields: object) -> pb.GenerateCall:
        task = pb.CompletionTask(score_prompt=True, **{"token_ids": [72, 105], **fields})  # type: ignore[arg-type]
        return call(messages=[], completion=task, logprobs=True, top_logprobs=2, whole=True, max_tokens=3)

    job = read(scored()).job
    assert (job.score_prompt, job.max_tokens, job.logprobs) == (True, 3, 2)
    assert read(scored(only_score=True)).job.max_tokens == 0
    streamed, bare, shaped = scored(), scored(), scored()
    streamed.whole = False
    bare.logprobs, bare.top_logprobs = False, 0
    shaped.response_format.json_object = True
    long = scored(token_ids=[72] * (MOST_SCORED + 1))
    ample = Model(id="ample", kind="chat", tier="pro", price=10, context=10_000)
    for refused in (
        streamed,
        bare,
        shaped,
        long,
        call(messages=[], completion=pb.CompletionTask(prompt="x", only_score=True)),
    ):
        with pytest.raises(MeshError) as caught:
            read(refused, ample)
        assert caught.value.code is Code.INVALID_REQUEST


def test_a_completion_of_nothing_or_of_unknown_tokens_is_refused() -> None:
    def unknown(_: Sequence[int]) -> str:
        raise MeshError(Code.INVALID_REQUEST, "these are not tokens of this model", param="resume_token_ids")

    reader = RequestReader(ChatTemplate("x"), detokenize=unknown, new_call_id=str)
    for task in (pb.CompletionTask(), pb.CompletionTask(token_ids=[9])):
        with pytest.raises(MeshError) as caught:
            reader.read(call(messages=[], completion=task), MODEL)
        assert (caught.value.code, caught.value.param) == (Code.INVALID_REQUEST, "prompt")


def test_a_completion_of_too_many_tokens_is_refused_before_anything_else() -> None:
    task = pb.CompletionTask(token_ids=[72] * MODEL.context)
    with pytest.raises(MeshError) as caught:
        read(call(messages=[], completion=task))
    assert caught.value.code is Code.CONTEXT_LENGTH_EXCEEDED


def test_work_of_another_kind_is_refused() -> None:
    with pytest.raises(MeshError, match="an edge has checked") as caught:
        read(call(messages=[], speech=pb.SpeechTask(input="hi")))
    assert caught.value.param == "model"


HYBRID = "{{ messages[0].content }}{{ '<think>' if enable_thinking else '<think>\n\n</think>\n\n' }}"


@pytest.mark.parametrize(("effort", "thinks"), [("", True), ("none", False), ("minimal", True), ("xhigh", True)])
def test_effort_none_turns_a_hybrid_model_off(effort: str, thinks: bool) -> None:
    request = read(call(reasoning_effort=effort), THINKER, HYBRID)
    assert request.parser is not None
    assert request.parser.thinking is thinks
    assert request.job.prompt.endswith("<think>") is thinks


def test_effort_none_does_not_deny_a_model_that_always_thinks() -> None:
    request = read(call(reasoning_effort="none"), THINKER, "{{ messages[0].content }}<think>\n")
    assert request.parser is not None
    assert request.parser.thinking


def test_an_unknown_effort_is_refused() -> None:
    with pytest.raises(MeshError) as refusal:
        read(call(reasoning_effort="enormous"), THINKER)
    assert refusal.value.param == "reasoning_effort"


def test_the_template_says_how_calls_look() -> None:
    choice = pb.ToolChoice(mode=pb.ToolChoice.MODE_REQUIRED)
    request = read(
        call(tools=[WEATHER], tool_choice=choice), template="{{ tools }}{{ messages[0].content }}<|python_tag|>"
    )
    assert '"parameters' in request.job.grammar.replace("\\", "")
    assert "<tool_call>" not in request.job.grammar


def test_a_strict_function_has_a_grammar_even_if_the_model_decides() -> None:
    strict = pb.Tool(name="f", parameters_json='{"type": "object"}', strict=True)
    assert "<tool_call>" in read(call(tools=[strict])).job.grammar


def test_functions_that_are_only_shown_are_bounded_too() -> None:
    deep = '{"items": ' * 200 + "{}" + "}" * 200
    with pytest.raises(MeshError, match="an edge has checked") as refusal:
        read(call(tools=[pb.Tool(name="f", parameters_json=deep)]))
    assert refusal.value.param == "tools"


def test_what_a_custom_tool_takes_follows_its_grammar() -> None:
    tool = {"name": "f", "parameters_json": '{"type": "object", "properties": {"input": {"type": "string"}}}'}
    for grammar in ({"input_lark": 'start: "a"+'}, {"input_pattern": "a+"}):
        offered = [pb.Tool(**tool, **grammar)]  # type: ignore[arg-type] # fields of the message
        for mode in (pb.ToolChoice.MODE_AUTO, pb.ToolChoice.MODE_REQUIRED):
            request = read(call(tools=offered, tool_choice=pb.ToolChoice(mode=mode)))
            matcher = llguidance.LLMatcher(byte_tokenizer(), request.job.grammar, log_level=0)
            answer = '<tool_call>\n{"name": "f", "arguments": {"input": "%s"}}\n</tool_call>'
            assert matcher.validate_tokens(list((answer % "aa").encode())) == len(answer % "aa")
            assert matcher.validate_tokens(list((answer % "ab").encode())) < len(answer % "ab")
    with pytest.raises(MeshError, match="an edge has checked") as refusal:
        read(call(tools=[pb.Tool(**tool, input_lark="start: ~")]))  # type: ignore[arg-type] # fields of the message
    assert refusal.value.param == "tools[0].function"
