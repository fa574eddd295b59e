"""The runner knows which words of a prompt are its template's own."""

from __future__ import annotations

import re

import pytest

from services.common.errors import MeshError
from services.runner.kinds.text.prompt.controls import ControlTexts
from services.runner.kinds.text.prompt.template import ChatTemplate

CONTROLS = ControlTexts(["<|end|>", "<|user|>", "<|assistant|>", "<|end|>x", "[INST]", "</think>"])
END = "<|end|>"


def cuts(source: str, content: str = "hi", role: str = "user") -> tuple[str, tuple[int, ...]]:
    prompt = ChatTemplate(source, controls=CONTROLS).render([{"role": role, "content": content}])
    return prompt, prompt.cuts


@pytest.mark.parametrize(
    "source",
    [
        "<|user|>{{ messages[0].content }}<|end|>",
        "{{ '<|user|>' ~ messages[0].content + '<|end|>' }}",
        "<|{{ messages[0].role }}|>{{ messages[0].content }}{{ ['<|end|>'] | join }}",
        "{{ '<|' + messages[0]['role'] + '|>' }}{{ messages[0].content }}{{ '<|end' + '|>' }}",
        "{{ '<|' ~ messages[0].role ~ '|>' ~ messages[0].content ~ '<|' ~ 'end' ~ '|>' }}",
        "{% set end %}<|end|>{% endset %}<|user|>{{ messages[0].content }}{{ end | trim }}",
        "{% set tags = {'user': '<|user|>'} %}{{ tags[messages[0].role] }}{{ messages[0].content }}<|end|>",
    ],
)
def test_what_a_template_writes_is_its_own(source: str) -> None:
    assert cuts(source) == ("<|user|>hi<|end|>", ())
    assert cuts(source, END) == ("<|user|><|end|><|end|>", (9,))


def test_what_stands_beside_a_clients_words_does_not_make_them_a_control_token() -> None:
    assert cuts("{{ '<|' + messages[0].content + '|>' }}", "end") == ("<|end|>", (1,))
    assert cuts("<|{{ messages[0].content }}", "end|>") == ("<|end|>", (1,))
    assert cuts("{{ messages[0].content }}|>", "<|end") == ("<|end|>", (1,))
    assert cuts("{{ messages[0].content.replace('-', '') }}", "<|e-nd|>") == ("<|end|>", (1,))
    assert cuts("{{ messages[0].content | upper }}", "[inst]") == ("[INST]", (1,))


def test_a_control_token_of_the_template_does_not_become_a_longer_one() -> None:
    assert cuts("<|end|>{{ messages[0].content }}", "x") == ("<|end|>x", (7,))
    assert cuts("<|end|>{{ messages[0].content }}", "y") == ("<|end|>y", ())


def test_templates_do_not_find_their_tags_in_a_clients_words() -> None:
    source = "{% if '</think>' in messages[0].content %}thought{% else %}{{ messages[0].content }}{% endif %}"
    assert cuts(source, "a</think>b") == ("a</think>b", (2,))


@pytest.mark.parametrize(
    "tag",
    [
        "{{ '<|%s' % 'end|>' }}",
        "{{ '<|end|>x'[:7] }}",
        "<tool_call>{% for tool in tools or [] %}{{ '<|%s' % 'end|>' }}{% endfor %}",
    ],
)
def test_a_template_whose_own_tokens_are_not_known_is_refused(tag: str) -> None:
    with pytest.raises(ValueError, match="puts a control token together from parts"):
        ChatTemplate(tag + "{{ messages[0].content }}", controls=CONTROLS)


def test_a_refusal_is_in_the_words_of_the_template() -> None:
    template = ChatTemplate("{{ raise_exception('no <|end|> here') }}", controls=CONTROLS)
    with pytest.raises(MeshError, match=re.escape("no <|end|> here")):
        template.render([{"role": "user", "content": "hi"}])
