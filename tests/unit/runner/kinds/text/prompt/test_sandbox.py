"""A chat template has a budget of time and memory, and no failure of a template is the runner's."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from jinja2 import Template, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from services.common.errors import Code, MeshError
from services.runner.kinds.text.prompt.controls import ControlTexts
from services.runner.kinds.text.prompt.template import ChatTemplate, packaged_template
from services.runner.kinds.text.prompt.tools import Tool
from tests.unit.runner.kinds.text.prompt.formats.families import FAMILIES, FUNCTIONS

T = TypeVar("T")
MEBIBYTE = 1 << 20
CONTROLS = ControlTexts(["<|im_start|>", "<|im_end|>", "[INST]", "<|end|>"])
TOOLS = [Tool(name, "", schema).document() for name, schema in FUNCTIONS.items()]
QUESTION = {"role": "user", "content": "What is the capital of France?"}
CONVERSATION = [
    {"role": "system", "content": "Be brief.\n"},
    QUESTION,
    {"role": "assistant", "content": "  Paris & more: 100 % <b>\u2028é"},
    {"role": "user", "content": ""},
]
# Templates whose time alone is too long.
ENDLESS = {
    "loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "loops without calls": "{% set a = range(2000) | list %}{% for b in a %}{% for c in a %}{% endfor %}{% endfor %}",
    "filtered loops": "{% for a in range(99999) if loops(99) %}{% endfor %}",
    "macros": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "chains": "{% for a in range(99999) %}{% set b = range(9999) | map('string') | select | list %}{% endfor %}",
    "comparisons": "{% set a, b = range(9999) | list, range(9999) | list %}" + "{% if a == b %}{% endif %}" * 500,
    "words in loops": "{% for a in range(99999) %}{% for b in range(999) %}abcdefgh{% endfor %}{% endfor %}",
}
DOUBLED = "{% set n = namespace(x=FIRST, y=FIRST) %}{% for i in range(60) %}{% set n.x = MORE %}{% endfor %}"
# Templates that make values that are too large.
LARGE = {
    "text * number": "{{ 'a' * 300000000 }}",
    "number * text": "{{ 300000000 * 'a' }}",
    "list * number": "{{ [1] * 300000000 }}",
    "tuple * number": "{{ (1, 2) * 300000000 }}",
    "more than memory": "{{ 'a' * (10 ** 30) }}",
    "powers": "{{ 10 ** (10 ** 8) }}",
    "long numbers": "{% set a = ('f' * 1000000) | int(base=16) %}{{ a * a }}",
    "doubled by ~": DOUBLED.replace("FIRST", "'aaaa'").replace("MORE", "n.x ~ n.x"),
    "doubled by +": DOUBLED.replace("FIRST", "'aaaa'").replace("MORE", "n.x + n.x"),
    "doubled by %": DOUBLED.replace("FIRST", "'aaaa'").replace("MORE", "'%s%s' % (n.x, n.x)"),
    "doubled by format": DOUBLED.replace("FIRST", "'aaaa'").replace("MORE", "'{0}{0}'.format(n.x)"),
    "doubled by a macro": "{% macro f(x) %}{{ x }}{{ x }}{% endmacro %}"
    + DOUBLED.replace("FIRST", "'aaaa'").replace("MORE", "f(n.x)"),
    "doubled list": DOUBLED.replace("FIRST", "['a']").replace("MORE", "n.x + n.x"),
    "nested lists": DOUBLED.replace("FIRST", "['a']").replace("MORE", "[n.x, n.x]") + "{{ n.x }}",
    "nested tuples": DOUBLED.replace("FIRST", "['a']").replace("MORE", "(n.x, n.x)") + "{{ {n.x: 1} }}",
    "nested objects": DOUBLED.replace("FIRST", "{}").replace("MORE", "{'a': n.x, 'b': n.x}") + "{{ n.x | tojson }}",
    "nested calls": DOUBLED.replace("FIRST", "{}").replace("MORE", "dict(a=n.x, b=n.x)") + "{{ n.x }}",
    "nested batches": DOUBLED.replace("FIRST", "['a']").replace("MORE", "[n.x] | batch(2, n.x) | list"),
    "replace": "{% set a = 'a' * 100000 %}{{ a.replace('a', a) }}",
    "replace nothing": "{% set a = 'a' * 100000 %}{{ a.replace('', a) }}",
    "replace as a filter": "{% set a = 'a' * 100000 %}{{ a | replace('a', a) }}",
    "join": "{% set a = 'a' * 100000 %}{{ a.join(a) }}",
    "join as a filter": "{{ range(99999) | join('a' * 100000) }}",
    "join by attribute": "{{ ([namespace(x='a' * 100000)] * 1000) | join(attribute='x') }}",
    "center": "{{ 'a'.center(10 ** 9) }}",
    "center as a filter": "{{ 'a' | center(1000000000) }}",
    "center by a name": "{{ ('a' | attr('center'))(10 ** 9) }}",
    "center by an item": "{{ 'a'['center'](10 ** 9) }}",
    "center by arguments": "{{ 'a'.center(*[10 ** 9]) }}",
    "center by a keyword": "{{ 'a' | center(width=10 ** 9) }}",
    "center of many": "{{ ['a'] | map('center', 10 ** 9) | list }}",
    "marked text": "{{ (('a' * 9999) | safe).join('a' * 99999) }}",
    "width of format by a name": "{{ ('{:>999999999}' | attr('format'))(1) }}",
    "arguments of a macro": "{% macro f() %}{{ varargs }}{% endmacro %}{{ f(*([['a'] * 999] * 999)) }}",
    "ljust": "{{ 'a'.ljust(10 ** 9) }}",
    "zfill": "{{ 'a'.zfill(10 ** 9) }}",
    "tabs": "{{ ('\t' * 100000).expandtabs(tabsize=100000) }}",
    "width of format": "{{ '{:>999999999}'.format(1) }}",
    "width as a value of format": "{{ '{:{}}'.format(1, 999999999) }}",
    "width of format_map": "{{ '{a:>999999999}'.format_map({'a': 1}) }}",
    "width of %": "{{ '%999999999d' % 1 }}",
    "width as a value of %": "{{ '%*d' % (999999999, 1) }}",
    "precision of %": "{{ '%.999999999f' % 1.5 }}",
    "names of %": "{{ ('%(a)s' * 10000) % {'a': 'a' * 100000} }}",
    "width of the filter format": "{{ '%999999999d' | format(1) }}",
    "indent": "{{ ('\n' * 100000) | indent(100000, blank=true) }}",
    "indent of JSON": "{{ [1] | tojson(indent=10 ** 9) }}",
    "separators of JSON": "{{ (range(9999) | list) | tojson(separators=('a' * 100000, ':')) }}",
    "batch": "{{ [1] | batch(10 ** 9, 0) | list }}",
    "slice": "{{ [1] | slice(10 ** 9) | list }}",
    "round": "{{ 1.5 | round(10 ** 9, 'ceil') }}",
    "sum of lists": "{{ ([[1, 2]] * 60000) | sum(start=[]) }}",
    "long texts from a range": "{{ range(99999) | map('string') | map('center', 100000) | list }}",
    "words in a macro": "{% macro f() %}{% for a in range(99999) %}WORDS{% endfor %}{% endmacro %}{{ f() }}".replace(
        "WORDS", "a" * 9999
    ),
    "words in a block": "{% set b %}{% for a in range(99999) %}WORDS{% endfor %}{% endset %}".replace(
        "WORDS", "a" * 9999
    ),
    "many variables": "".join(f"{{% set a{number} = 'x' * 1000000 %}}" for number in range(200)),
    "many arguments": "{% macro f(n, a) %}{{ f(n - 1, 'x' * 1000000 ~ n) if n }}{% endmacro %}{{ f(90, '') }}",
    "many parts": "{% set a = 'x' * 1000000 %}" + "".join(f"{{% set a{number} = a[1:] %}}" for number in range(200)),
    "strip": "{{ ('a' * 1000000).strip('b' * 1000000 ~ 'a') }}",
    "trim": "{{ ('a' * 1000000) | trim('b' * 1000000 ~ 'a') }}",
    "rfind": "{{ ('a' * 1000000).rfind('b' ~ 'a' * 500000) }}",
}
# Templates that fail, each in its own way.
FAILING = {
    "ZeroDivisionError": "{{ messages | length // 0 }}",
    "OverflowError": "{{ 1e308 ** (messages | length + 1) }}",
    "RecursionError": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "range": "{{ range(10 ** 9) }}",
    "UndefinedError": "{{ a.b.c }}",
    "TypeError": "{{ 'a' + 1 }}",
    "SecurityError": "{{ 'a'.encode() }}",
    "ValueError": "{{ 'ab'.split('') }}",
    "IndexError": "{{ '{}{}'.format(1) }}",
    "bytes": "{{ (1).to_bytes(10 ** 9, 'big') }}",
}


def asked(template: str) -> str:
    """Returns a template that does something for one question only, so that it can be loaded."""
    return "{% if messages[0].content == 'Go.' %}" + template + "{% endif %}"


def refusal(template: ChatTemplate) -> str:
    with pytest.raises(MeshError) as error:
        template.render([{"role": "user", "content": "Go."}])
    assert error.value.code is Code.INVALID_REQUEST
    assert error.value.param == "messages"
    return error.value.message


@pytest.mark.parametrize("source", ENDLESS.values(), ids=ENDLESS)
def test_a_template_that_takes_too_long_ends(source: str) -> None:
    source = source.replace("loops(99)", "(range(999) | list | length)")
    # A clock that goes by its readings, so that the test takes no second of its own.
    clock = itertools.count(0.0, 0.2).__next__
    assert "time or memory" in refusal(ChatTemplate(asked(source), processor_clock=clock))
    with pytest.raises(ValueError, match="too much time or memory for a short conversation"):
        ChatTemplate(source, processor_clock=clock)


def test_the_time_is_that_of_the_processor() -> None:
    assert "time or memory" in refusal(ChatTemplate(asked(ENDLESS["loops"])))


@pytest.mark.parametrize("source", LARGE.values(), ids=LARGE)
def test_a_template_that_makes_large_values_ends_before_it_has_made_them(source: str) -> None:
    template = ChatTemplate(asked(source))
    tracemalloc.start()
    try:
        assert "time or memory" in refusal(template)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 64 * MEBIBYTE


@pytest.mark.parametrize("name", ["text * number", "nested lists", "words in a macro"])
def test_a_template_that_makes_large_values_of_a_short_conversation_is_not_loaded(name: str) -> None:
    with pytest.raises(ValueError, match="too much time or memory for a short conversation"):
        ChatTemplate(LARGE[name])


@pytest.mark.parametrize("source", FAILING.values(), ids=FAILING)
def test_a_template_that_fails_refuses_the_messages(source: str) -> None:
    refusal(ChatTemplate(source))


def test_a_template_renders_again_after_it_has_exceeded_its_budget() -> None:
    template = ChatTemplate(asked(LARGE["doubled by ~"]) + "{{ messages[0].content }}")
    refusal(template)
    assert template.render([QUESTION]) == QUESTION["content"]


@pytest.mark.parametrize("source", ["{{ 1 // 0 }}", "{{ 'a' | center('b') }}", "{{ 1" + " + 1" * 9999 + " }}"])
def test_constants_that_fail_are_no_other_failure_when_a_template_is_loaded(source: str) -> None:
    try:
        template = ChatTemplate(source)
    except ValueError:
        return
    refusal(template)


def test_a_long_conversation_renders_within_the_budget() -> None:
    text = "word " * (MEBIBYTE // 10)
    messages: list[dict[str, str]] = [
        {"role": "user" if number % 2 == 0 else "assistant", "content": f"{number}"} for number in range(1999)
    ]
    messages += [{"role": "assistant", "content": text}, {"role": "user", "content": text}]
    for source in (packaged_template("smollm2"), *(family.template for family in FAMILIES)):
        prompt = ChatTemplate(source).render(messages)
        assert prompt.count(text.strip()) == 2


@pytest.mark.parametrize("size", [1, 9])
def test_the_budget_grows_with_the_conversation(size: int) -> None:
    # Some templates gather the conversation before they write it, and some write it as JSON with escapes.
    gathered = (
        "{% set n = namespace(x='') %}{% for m in messages %}{% set n.x = n.x + m.content %}{% endfor %}{{ n.x }}"
    )
    text = "é" * (size * MEBIBYTE // 4)
    messages = [{"role": "user", "content": text} for _ in range(4)]
    assert ChatTemplate(gathered).render(messages) == text * 4
    escaped = ChatTemplate("{{ messages | map(attribute='content') | list | tojson(ensure_ascii=true) }}").render(
        messages
    )
    assert escaped.count("\\u00e9") == 4 * len(text)


EXPRESSIONS = [
    "{{ messages[1:] | length ~ messages[0].role ~ none ~ 1.5 ~ true ~ missing ~ [1, 'Z'] }}",
    "{{ messages[0].content + '!' * 3 + 'a'.center(9) + '%5.2f|%-5s' % (2, 'é') + '%(a)s' % {'a': 1} }}",
    "{{ '{0}-{a!r:>8}-{1[role]}'.format(1, messages[0], a='b') }}{{ '{a}'.format_map({'a': 2}) }}",
    "{{ [messages[0].role, 'x'] | join('-') }}{{ messages | map(attribute='role') | join(', ') }}",
    "{{ messages | join('|', attribute='content') }}{{ ', '.join(messages | map(attribute='role')) }}",
    "{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | list }}",
    "{{ messages | rejectattr('role', 'in', ['user']) | map(attribute='content') | list }}",
    "{{ messages | groupby('role') | map('first') | list }}",
    "{{ messages | map(attribute='role') | unique | sort | list }}",
    "{{ [[1], [2]] | sum(start=[]) }}{{ [1, 2] | sum }}{{ [1, 2, 3] | batch(2, 0) | list }}",
    "{{ 'a\nb' | indent(2, true) }}",
    "{{ messages[0] | tojson(indent=2) }}{{ messages[0] | items | list }}{{ messages[0].items() | list }}",
    "{{ 7 // 2 + 2 ** 10 - 7 % 4 * 2 / 4 }}{{ 1 if messages[0].name is not defined }}{{ messages[0].get('role') }}",
    "{% for m in messages if m.role != 'system' and m.content != messages[0].content %}{{ m.content }}{% endfor %}",
    "{% for m in messages %}{{ loop.index }}{{ m.content | trim }}{% if loop.last %}{% break %}{% endif %}{% endfor %}",
    "{% set n = namespace(a=[]) %}{% for m in messages %}{% set n.a = n.a + [m.role] %}{% endfor %}{{ n.a }}",
    "{% for x in [1, [2, [3]]] recursive %}{{ loop(x) if x is iterable else x }}{% endfor %}",
    "{% macro f(a, b=2) %}{{ a }}{{ b }}{{ caller() if caller }}{% endmacro %}{{ f(1) }}{% call f(3) %}c{% endcall %}",
    "{% set b %}{{ messages[2].content | e }}{% endset %}{{ b | upper }}{% filter title %}a b{% endfilter %}",
    "{{ messages[2].content.split(' ')[1:] }}{{ messages[2].content.strip().replace('a', 'bb') }}",
    "{{ '\t'.expandtabs(4) }}",
    "{{ messages[0].keys() | list }}{{ messages[0].missing }}{{ messages[-1]['role'][::-1] }}",
]


class Unbounded(ImmutableSandboxedEnvironment):
    """Jinja's own sandbox, in the place of the bounded one."""

    exceeded = False

    def __init__(self, *, processor_clock: object, **options: Any) -> None:
        super().__init__(**options)

    def add_checks(self) -> None:
        """Adds none."""

    def checked_template(self, template: nodes.Template) -> Template:
        return self.from_string(template)

    def bounded(self, _given: object, make: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        return make(*args, **kwargs)


@pytest.mark.parametrize(
    "source", [packaged_template("smollm2"), *(family.template for family in FAMILIES), *EXPRESSIONS]
)
def test_the_budget_changes_no_prompt(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bounded = ChatTemplate(source, controls=CONTROLS)
    monkeypatch.setattr("services.runner.kinds.text.prompt.template.BoundedEnvironment", Unbounded)
    unbounded = ChatTemplate(source, controls=CONTROLS)
    assert bounded.accepted == unbounded.accepted
    assert bounded.shows_tools == unbounded.shows_tools
    rendered = 0
    for messages in (CONVERSATION[:2], CONVERSATION[1:2], CONVERSATION[1:], CONVERSATION):
        for tools in ([], TOOLS):
            try:
                expected = unbounded.render(messages, tools)
            except MeshError:
                with pytest.raises(MeshError, match="are not accepted"):
                    bounded.render(messages, tools)
                continue
            rendered += 1
            prompt = bounded.render(messages, tools)
            assert (prompt, prompt.cuts) == (expected, expected.cuts)
    assert rendered
