"""Chat templates are rendered as in transformers, in a sandbox."""

from __future__ import annotations

import pytest

from services.common.errors import MeshError
from services.runner.kinds.text.prompt.template import ChatTemplate, packaged_template
from services.runner.kinds.text.prompt.thought import Thought
from services.runner.kinds.text.prompt.tools import Tool
from tests.unit.runner.kinds.text.prompt.formats.families import DEEPSEEK, MISTRAL_ARGS

QUESTION = {"role": "user", "content": "What is the capital of France?"}
WEATHER = Tool("get_weather", "Weather in a café", {"type": "object", "properties": {"city": {"type": "string"}}})


@pytest.fixture(scope="module")
def smollm2() -> ChatTemplate:
    return ChatTemplate(packaged_template("smollm2"))


def test_a_conversation(smollm2: ChatTemplate) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        QUESTION,
        {"role": "assistant", "content": "Paris"},
        QUESTION,
    ]
    assert smollm2.render(messages) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n"
        "<|im_start|>assistant\nParis<|im_end|>\n"
        "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_smollm2_always_has_a_system_message(smollm2: ChatTemplate) -> None:
    expected = "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
    assert smollm2.render([QUESTION]).startswith(expected + "<|im_start|>user\n")


def test_tools_are_shown_unescaped_and_in_order(smollm2: ChatTemplate) -> None:
    prompt = smollm2.render([QUESTION], [WEATHER.document()])
    shown = (
        '<tools>\n{"type": "function", "function": {"name": "get_weather", "description": "Weather in a café", '
        '"parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}\n</tools>'
    )
    assert shown in prompt


def test_calls_and_their_results(smollm2: ChatTemplate) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": {"city": "Paris"}}}
    messages: list[dict[str, object]] = [
        dict(QUESTION),
        {"role": "assistant", "content": "", "tool_calls": [call, call]},
        {"role": "tool", "content": "rain", "tool_call_id": "call_1"},
        {"role": "tool", "content": "sun", "tool_call_id": "call_1"},
    ]
    written = '\n<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>'
    assert smollm2.render(messages).endswith(
        f"<|im_start|>assistant{written}{written}<|im_end|>\n"
        "<|im_start|>user\n<tool_response>\nrain\n</tool_response>\n<tool_response>\nsun\n</tool_response><|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_thinking_of_deepseek_can_be_turned_off() -> None:
    template = ChatTemplate(DEEPSEEK.template)
    assert template.hybrid
    assert template.thought(template.render([QUESTION], thinking=True)).opened
    assert not template.thought(template.render([QUESTION], thinking=False)).opened


def test_thoughts_of_mistral_have_tags_of_their_own() -> None:
    template = ChatTemplate(MISTRAL_ARGS.template + "{% if add_generation_prompt %}[THINK]{% endif %}")
    thought = template.thought(template.render([QUESTION]))
    assert thought.opened
    assert thought.tags.close == "[/THINK]"


def test_the_date_comes_from_the_clock() -> None:
    template = ChatTemplate("{{ strftime_now('%d %b %Y') }}", clock=lambda: 86_400.0)
    assert template.render([QUESTION]) == "02 Jan 1970"


def test_a_template_may_refuse_with_its_own_words() -> None:
    template = ChatTemplate("{{ raise_exception('roles must alternate') }}")
    with pytest.raises(MeshError, match="roles must alternate") as refusal:
        template.render([QUESTION])
    assert refusal.value.param == "messages"


def test_a_refusal_never_quotes_the_conversation() -> None:
    template = ChatTemplate("{{ raise_exception('bad: ' + messages[0].content) }}")
    with pytest.raises(MeshError) as refusal:
        template.render([QUESTION])
    assert "France" not in refusal.value.message


@pytest.mark.parametrize(
    "source",
    ["{{ messages.__class__.__mro__ }}", "{{ messages.append(1) }}", "{{ cycler.__init__.__globals__.os.getcwd() }}"],
)
def test_a_template_cannot_leave_its_sandbox(source: str) -> None:
    with pytest.raises(MeshError):
        ChatTemplate(source).render([QUESTION])


def test_a_broken_template_is_reported_when_it_is_loaded() -> None:
    with pytest.raises(ValueError, match="line 1"):
        ChatTemplate("{% if %}")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{% generation %}{{ messages[0].role }}{% endgeneration %}", "user"),
        ("{%- generation -%} a {%- endgeneration -%} b", "ab"),
        ("{% for m in messages %}{% generation %}{{ loop.index }}{{ m.role }}{% endgeneration %}{% endfor %}", "1user"),
        ("{% for m in messages %}{% generation %}x{% break %}{% endgeneration %}y{% endfor %}", "x"),
        ("{% set a = 1 %}{% generation %}{% set a = 2 %}{{ a }}{% endgeneration %}{{ a }}", "21"),
        ("{% generation %}a{% generation %}b{% endgeneration %}{% endgeneration %}", "ab"),
        ("{{ generation is defined }}", "False"),
    ],
)
def test_the_marks_of_training_are_passed_over(source: str, expected: str) -> None:
    assert ChatTemplate(source).render([QUESTION]) == expected


def test_a_mark_of_training_that_is_never_closed_is_reported() -> None:
    with pytest.raises(ValueError, match="endgeneration"):
        ChatTemplate("{% generation %}a")


def test_smollm2_is_given_an_open_and_bounded_thought(smollm2: ChatTemplate) -> None:
    prompt = smollm2.render([QUESTION], thinking=True)
    assert prompt.endswith("<|im_start|>assistant\n<think>\n")
    thought = smollm2.thought(prompt)
    assert thought.opened
    assert thought.longest
    assert smollm2.hybrid
    assert not smollm2.thought(smollm2.render([QUESTION])).opened


def test_a_model_that_ends_its_thoughts_is_not_bounded() -> None:
    template = ChatTemplate("{{ messages[0].content }}<think>\n")
    assert template.thought(template.render([QUESTION])) == Thought(opened=True, longest=None)
    assert not template.hybrid


def test_effort_reaches_templates_that_know_it() -> None:
    template = ChatTemplate("{{ reasoning_effort | default('medium') }}")
    assert template.render([QUESTION]) == "medium"
    assert template.render([QUESTION], effort="high") == "high"
