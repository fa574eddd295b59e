"""The arguments that a grammar's form admits are those whose text, once decoded, follows the grammar."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import llguidance
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.lark.errors import LarkError
from services.common.lark.json_form import LARGEST_LARK, json_form, json_form_of_pattern
from services.common.lark.patterns import MOST_REPETITIONS
from services.runner.kinds.text.prompt.grammar import LIMITS, byte_tokenizer

# A patch of files, line by line: what coding agents ask for.
PATCH = r"""
start: begin hunk+ end
begin: "*** Begin Patch" LF
end: "*** End Patch" LF?

hunk: add | remove | update
add: "*** Add File: " name LF line+
remove: "*** Delete File: " name LF
update: "*** Update File: " name LF change?

name: /(.+)/
line: "+" /(.*)/ LF -> line
change: (place | changed)+
place: ("@@" | "@@ " /(.+)/) LF
changed: ("+" | "-" | " ") /(.*)/ LF

%import common.LF
"""
# Rules that lead back to themselves.
SUM = r"""
?start: sum
sum: product (" + " product)* -> add
    | product
product: factor ("*" factor)*
factor: INT | "(" sum ")" | NAME
NAME: "a".."f" /[a-z_.]*/i
%import common.INT
"""
SPACED = r"""
start: "let" NAME "=" /[0-9]+/ (";"i)? [NOTE]
NAME: ("a".."z" | "é") LETTER{0,3}   # up to four letters
LETTER: /[a-z]/
NOTE: /#[^\n]*/
%import common (WS, INT)
%ignore WS
"""
TEXTS = st.text(st.sampled_from('ab"\\\n\t\x01\x1f /.é€😀\x7f'), max_size=6)


def follows(form: str) -> Callable[[str], bool]:
    matcher = llguidance.LLMatcher(
        byte_tokenizer(), f"%llguidance {{}}\nstart: %lark {{\n{form}\n}}\n", log_level=0, limits=LIMITS
    )
    assert not matcher.get_error()

    def admits(text: str) -> bool:
        """Whether the arguments with this text are admitted, to their end and not before."""
        arguments = json.dumps({"input": text}, ensure_ascii=False).encode()
        copy = matcher.deep_copy()
        return bool(copy.try_consume_tokens(list(arguments)) == len(arguments) and copy.is_accepting())

    return admits


@pytest.mark.parametrize(
    ("grammar", "good", "bad"),
    [
        (
            PATCH,
            [
                '*** Begin Patch\n*** Update File: a "b" \\ c.txt\n@@ def f():\n-old\t1\n+new é\n \n*** End Patch\n',
                "*** Begin Patch\n*** Add File: a\n+\n+x\n*** Delete File: b\n*** End Patch",
            ],
            [
                "", "*** Begin Patch\n*** End Patch\n", "*** Begin Patch\n*** Add File: \n+x\n*** End Patch",
                "*** Begin Patch\n*** Add File: a\nx\n*** End Patch",
                "*** Begin Patch\r\n*** Delete File: b\n*** End Patch",
            ],
        ),
        (SUM, ["1 + (2*f) + a_.B", "((7))"], ["1+2", "(1", "1 + g", "1 + (2*3)\n"]),
        (SPACED, ["let a= 12;", "leté=1", "let abcd\t=\n3 # it \"is\" \\so", "let a = 1\n"],
                 [" let a=1", "let abcde=1", "let a=", "let a==1", "let a=1;;"]),
    ],
)  # fmt: skip
def test_grammars(grammar: str, good: list[str], bad: list[str]) -> None:
    admits = follows(json_form(grammar))
    assert [text for text in good if not admits(text)] == []
    assert [text for text in bad if admits(text)] == []


# Each pattern means the same to Python, which is asked.
PATTERNS = [
    r"a*b", r".*", r"(?s:.)*", r'[^"]*', r'["\\]+', r"\s\S?", r"[\s.]+", r"[\n\t]*|a", r"\\n", r"\n?[^\n]+",
    r"(?i)A[B/]*",
    r"[\x00-\x1f]+", r"\x01|\x{2f}|\t", r"[a-é]+", r"(a|\"){2,3}", r"a{2}b?", r"[^\x20-\x21]*", r"/?", r"\/\\",
    r"[]a]+",
    r"(?P<x>a)(?:b)", r"[\\/]*", r"\W\w", r"[^\s\\]*?", r"(?:)", r"a||b", r"[.\-a]*", r"[\]]?",
]  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_mean_what_they_mean_elsewhere(pattern: str) -> None:
    admits = follows(json_form_of_pattern(pattern))
    meant = re.compile(pattern.replace(r"\x{2f}", "/"))

    @given(TEXTS)
    def check(text: str) -> None:
        # Python counts four separators as white space, and Unicode does not.
        if not any(separator in text for separator in "\x1c\x1d\x1e\x1f") or r"\s" not in pattern.lower():
            assert admits(text) == (meant.fullmatch(text) is not None)

    check()


@given(TEXTS, TEXTS)
def test_a_literal_is_exactly_its_text(text: str, other: str) -> None:
    quoted = json.dumps(text, ensure_ascii=True)
    admits = follows(json_form(f'start: {quoted} | "c" {quoted}'))
    assert admits(text)
    assert admits("c" + text)
    assert admits(other) == (other in (text, "c" + text))


def test_anchors_at_the_ends_of_a_pattern_say_nothing() -> None:
    admits = follows(json_form_of_pattern(r"^a\$$"))
    assert admits("a$")
    assert not admits("a")


@pytest.mark.parametrize(
    ("grammar", "reason"),
    [
        ("start:\n", ""),
        ("x: /a/", "no rule 'start'"),
        ("start: a b\na: /x/", "'b' is not defined"),
        ("start: /a/\nstart: /b/", "'start' is defined twice"),
        ("start: /a/\n%import common.LF\n%import common.LF", "'LF' is defined twice"),
        ("start: 'a'", "double quotation marks"),
        ('start: "a', "double quotation marks"),
        ('start: "\\q"', "an escape that JSON does not know"),
        ("start /a/", "neither 'name: …' nor a directive"),
        ("start: fooBar", "letters of both cases"),
        ("start: /a/ start.2: /b/", "priorities"),
        ("start: /a/ start: /b/", "has to end before the next one begins"),
        ("start.2: /a/", "neither 'name: …' nor a directive"),
        ('start: "b".."a"', "from one character to a higher one"),
        ('start: "ab".."c"', "from one character to a higher one"),
        ("start: A\nA: /a/ & /b/", "intersections"),
        ("start: ~/a/", "complements"),
        ("start: <|end|>", "something that Lark does not know"),
        ("start: @other", "something that Lark does not know"),
        ("start: %json {}", "'%json' is not supported"),
        ('%llguidance {"no_forcing": true}\nstart: /a/', "the directive '%llguidance'"),
        ("start: /a/~2..5000", "more than 1000 times"),
        ("start: NOWHERE\n%import common.NOWHERE", "no 'common.NOWHERE'"),
        ("start: X\n%import .own.X", "only '%import common.NAME'"),
        ('start: s\ns: "(" s ")" | "\\n"', "use repetition instead of recursion"),
        ('start: s\ns: "(" s ")" | /[\\t"]/', "use repetition instead of recursion"),
        ("start: /a(?=b)/", "a look-around"),
        ("start: /a^/", "the anchor '^'"),
        ("start: /(a/", "a '(' without its ')'"),
        ("start: /a)/", "a ')' without its '('"),
        ("start: /" + "(" * 10_000 + ")" * 10_000 + "/", "groups within each other"),
        ("start: /[a/", "a '[' without its ']'"),
        ("start: /[[:alpha:]]/", "a class within a class"),
        ("start: /[z-a]/", "from a lower to a higher character"),
        ("start: /*/", "nothing to repeat"),
        ("start: /a**/", "repeats a repetition"),
        (f"start: /a{{{MOST_REPETITIONS + 1}}}/", "more than 1000 times"),
        (r"start: /\bword/", r"the escape '\b'"),
        (r"start: /\ud800/", "a character that does not exist"),
        ("start: /a/x", "the flag 'x'"),
        ("start: /" + "a" * LARGEST_LARK + "/", "characters; at most"),
        ("start: " + "/./ " * 5000, "as a grammar of JSON"),
        ("start: r0\n" + "\n".join(f"r{at}: r{at + 1} r{at + 1}" for at in range(40)) + "\nr40: /a/", "use repetition"),
        ("\n".join(f"{name}: {after}" for name, after in zip(["start", *(f"r{at}" for at in range(200))],
                   [*(f"r{at}" for at in range(200)), "/a/"], strict=True)), "more than 100 times"),
    ],
)  # fmt: skip
def test_what_cannot_be_held_to_is_refused(grammar: str, reason: str) -> None:
    if not reason:
        # A rule may be empty.
        assert follows(json_form(grammar))("")
        return
    with pytest.raises(LarkError) as caught:
        json_form(grammar)
    assert reason in str(caught.value)


@given(st.text(st.sampled_from('startA:"/\\[](){}|*+?~.-%& \n#_0i,;^$é'), max_size=30))
def test_any_text_has_a_form_or_a_reason(text: str) -> None:
    for make, grammar in ((json_form, f"start: {text}"), (json_form, text), (json_form_of_pattern, text)):
        try:
            form = make(grammar)
        except LarkError:
            continue
        # The compiler may refuse it still, and says why.
        llguidance.LLMatcher(byte_tokenizer(), form, log_level=0, limits=LIMITS).get_error()
