"""gpt-oss writes messages on channels, with or without functions, and forced content keeps its channel."""

from __future__ import annotations

import llguidance

from services.runner.kinds.text.prompt import grammar
from services.runner.kinds.text.prompt.formats import FORMATS
from services.runner.kinds.text.prompt.grammar import answer_grammar, any_object
from services.runner.kinds.text.prompt.output import ParsedText
from services.runner.kinds.text.prompt.parser import OutputParser
from services.runner.kinds.text.prompt.template import ChatTemplate
from services.runner.kinds.text.prompt.tools import Mode, Tool, Toolbox
from tests.unit.runner.kinds.text.prompt.formats.families import HARMONY
from tests.unit.runner.kinds.text.prompt.formats.test_families import tokens
from tests.unit.runner.prompt.said import parse

FORMAT = FORMATS["harmony"]
TIME = Tool("get_time", "", {"type": "object", "properties": {"zone": {"type": "string"}}}, strict=True)
THOUGHT = "<|channel|>analysis<|message|>So.<|end|><|start|>assistant"
CALL = '<|channel|>commentary to=functions.get_time <|constrain|>json<|message|>{"zone": %s}'


def accepts(lark: str, text: str) -> bool:
    matcher = llguidance.LLMatcher(grammar.byte_tokenizer(), lark)
    return bool(matcher.try_consume_tokens(tokens(text)) == len(tokens(text)) and matcher.is_accepting())


def test_without_functions_its_channels_are_read_all_the_same() -> None:
    for reasoning in (False, True):
        parser = OutputParser(calls=False, reasoning=reasoning, new_id=str, tool_format=FORMAT)
        said = parse(["<|channel|>analysis<|message|>So.", "<|start|>assistant<|channel|>final<|message|>Yes."], parser)
        assert (said.reasoning, said.content, said.calls) == ("So.", "Yes.", {})


def test_a_thought_is_counted_as_one() -> None:
    parser = OutputParser(calls=False, reasoning=True, new_id=str, tool_format=FORMAT)
    seen = []
    for text in ("<|channel|>analysis", "<|message|>", "So", "<|start|>assistant<|channel|>final<|message|>"):
        parser.feed(text, ParsedText())
        seen.append(parser.thinking)
    assert seen == [False, True, True, False]


def test_content_of_a_schema_is_on_its_channel() -> None:
    lark = answer_grammar(any_object(), Toolbox((TIME,)), tool_format=FORMAT)
    assert accepts(lark, '<|channel|>final<|message|>{"a": 1}')
    assert accepts(lark, THOUGHT + '<|channel|>final<|message|>{"a": 1}')
    assert accepts(lark, CALL % '"UTC"')
    assert not accepts(lark, '{"a": 1}')
    assert not accepts(lark, THOUGHT + "<|channel|>final<|message|>Yes")


def test_a_strict_function_leaves_other_answers_free() -> None:
    lark = answer_grammar(None, Toolbox((TIME,)), tool_format=FORMAT)
    assert accepts(lark, THOUGHT + "<|channel|>final<|message|>Yes, {it} is.")
    assert accepts(lark, "<|channel|>commentary<|message|>I look.<|end|><|start|>assistant" + CALL % '"UTC"')
    assert not accepts(lark, CALL % "5")
    forced = answer_grammar(None, Toolbox((TIME,), Mode.REQUIRED, required=(TIME,)), tool_format=FORMAT)
    assert accepts(forced, THOUGHT + CALL % '"UTC"')
    assert not accepts(forced, "<|channel|>final<|message|>Yes")


def test_an_earlier_thought_reaches_the_template() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "get_time", "arguments": {}}}
    message = {"role": "assistant", "content": "", "reasoning_content": "THOUGHT", "tool_calls": [call]}
    prompt = ChatTemplate(HARMONY.template).render([{"role": "user", "content": "When?"}, message])
    assert "<|channel|>analysis<|message|>THOUGHT<|end|>" in prompt
