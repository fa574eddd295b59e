"""Makes of a grammar the grammar of the arguments `{"input": "…"}` whose text, once decoded, follows it.

Each character becomes what JSON writes for it. llguidance splits a text into lexemes with one byte of foresight, which
is not enough to see where a lexeme ends if an escape follows. So a grammar without recursion becomes one single lexeme.
A grammar whose rules refer to themselves cannot: of its texts, those without any escape are left.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping

from services.common.lark.characters import Characters, Escaped, Unescaped, escaped_text, is_escaped, pattern_of
from services.common.lark.errors import LarkError
from services.common.lark.patterns import MOST_REPETITIONS, rewritten
from services.common.lark.terminals import COMMON
from services.common.lark.tokens import Line, Token, read_lines

# Characters of a grammar and of its form, pieces of one lexeme with all that its names stand for, and names that lead
# to names.
LARGEST_LARK, LARGEST_FORM = 32 * 1024, 64 * 1024
MOST_PIECES = 5000
DEEPEST_NAMES = 100
_HEAD, _TAIL = '{"input": "', '"}'
_HEXADECIMAL = re.compile(r"\\x([0-9A-Fa-f]{2})")
_IGNORED = "IGNORED"


def json_form(grammar: str) -> str:
    """Returns a Lark grammar, its rule being `start`, of the arguments whose `input` follows a Lark grammar.

    Raises LarkError for a grammar that is none, or that cannot be held to.
    """
    if len(grammar) > LARGEST_LARK:
        raise LarkError(f"it has {len(grammar)} characters; at most {LARGEST_LARK} are allowed")
    read = _Grammar(grammar)
    return _bounded(read.nested() if read.recursive() else read.flat())


def json_form_of_pattern(pattern: str) -> str:
    """Returns the same for an `input` that a regular expression matches as a whole; raises LarkError."""
    if len(pattern) > LARGEST_LARK:
        raise LarkError(f"it has {len(pattern)} characters; at most {LARGEST_LARK} are allowed")
    text = rewritten(pattern, Escaped(), anchored=True)
    return _bounded(f"start: {_string(_HEAD)} TEXT {_string(_TAIL)}\nTEXT: /{text or '()'}/")


def _bounded(form: str) -> str:
    if len(form) > LARGEST_FORM:
        raise LarkError(f"it has {len(form)} characters as a grammar of JSON; at most {LARGEST_FORM} are allowed")
    return form


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


class _Grammar:
    """A grammar by the names of its rules and terminals."""

    def __init__(self, grammar: str) -> None:
        self._bodies: dict[Token, list[Token]] = {}
        self._ignored: list[list[Token]] = []
        self._imported: dict[Token, str] = {}
        for line in read_lines(grammar):
            self._add(line)
        start = Token("rule", "start")
        if start not in self._bodies:
            raise LarkError("it has no rule 'start'; add it")
        # Those that the text can come to, each after what it refers to.
        self._reached: list[Token] = []
        self._is_recursive = False
        self._reach(start, ())
        for body in self._ignored:
            for name in _names(body):
                self._reach(name, ())

    def recursive(self) -> bool:
        """Whether a rule refers to itself, or to one that leads back to it."""
        return self._is_recursive

    def flat(self) -> str:
        """Returns the grammar as one terminal; raises LarkError if that would be too large."""
        pieces: dict[Token, int] = {}
        for name in self._reached:
            body = self._bodies.get(name, [])
            pieces[name] = len(body) + sum(pieces[inner] for inner in _names(body))
            if pieces[name] > MOST_PIECES:
                raise LarkError(f"its rules repeat each other {MOST_PIECES} times and more; use repetition")
        characters = Escaped()
        lines = [
            f"start: {_string(_HEAD)} {_flat_name(Token('rule', 'start'))} {_string(_TAIL)}",
            *(f"{_flat_name(name)}: {self._written(name, characters, _flat_name)}" for name in self._reached),
        ]
        if self._ignored:
            ignored = " | ".join(_written(body, characters, _flat_name) for body in self._ignored)
            lines.append(f"{_IGNORED}: ({ignored})*")
        return "\n".join(lines)

    def nested(self) -> str:
        """Returns the grammar as it is, between what stands before and after the text."""
        characters = Unescaped()
        lines = [
            f"start: {_nested_name(Token('rule', 'start'))}",
            *(f"{_nested_name(name)}: {self._written(name, characters, _nested_name)}" for name in self._reached),
            *(f"%ignore {_written(body, characters, _nested_name)}" for body in self._ignored),
        ]
        return f"start: {_string(_HEAD)} %lark {{\n" + "\n".join(lines) + f"\n}} {_string(_TAIL)}"

    def _written(self, name: Token, characters: Characters, rename: Callable[[Token], str]) -> str:
        if name in self._imported:
            return f"/{rewritten(self._imported[name], characters)}/"
        # Between the lexemes of a rule, what is ignored may stand; within a terminal it may not.
        gaps = bool(self._ignored) and rename is _flat_name and name.kind == "rule"
        return _written(self._bodies[name], characters, rename, gaps=gaps)

    def _add(self, line: Line) -> None:
        head, body = line
        if head.text == "%ignore":
            self._ignored.append(body)
        elif head.text == "%import":
            self._import(body)
        elif head.kind == "directive":
            raise LarkError(f"the directive '{head.text}' is not supported; leave it out")
        elif head in self._bodies or head in self._imported:
            raise LarkError(f"'{head.text}' is defined twice; give each rule and terminal its own name")
        else:
            self._bodies[head] = body

    def _import(self, body: list[Token]) -> None:
        texts = [token.text for token in body]
        names = [token for token in body[2:] if token.kind == "terminal"]
        if texts[:1] != ["common"] or texts[1:2] not in (["."], ["("]) or not names:
            raise LarkError("only '%import common.NAME' is supported; define other terminals in the grammar itself")
        if "->" in texts:
            names, known = names[1:], {names[-1]: names[0].text}
        else:
            known = {name: name.text for name in names}
        for name in names:
            if known[name] not in COMMON:
                raise LarkError(f"there is no 'common.{known[name][:64]}'; define it in the grammar itself")
            if name in self._imported or name in self._bodies:
                raise LarkError(f"'{name.text}' is defined twice; give each rule and terminal its own name")
            self._imported[name] = COMMON[known[name]]

    def _reach(self, name: Token, above: tuple[Token, ...]) -> None:
        if name in above:
            self._is_recursive = True
            return
        if name in self._reached:
            return
        if name not in self._imported and name not in self._bodies:
            raise LarkError(f"'{name.text[:64]}' is not defined; add it")
        if len(above) > DEEPEST_NAMES:
            raise LarkError(f"its rules lead to each other more than {DEEPEST_NAMES} times; make it flatter")
        for inner in _names(self._bodies.get(name, [])):
            self._reach(inner, (*above, name))
        self._reached.append(name)


def _names(body: list[Token]) -> list[Token]:
    """Returns the rules and terminals that a body refers to."""
    return [
        token
        for before, token in zip([Token("", ""), *body], body, strict=False)
        if token.kind in {"rule", "terminal"} and before.text != "->"
    ]


def _nested_name(name: Token) -> str:
    """Returns the name of a rule or terminal beside those of the formats of calls."""
    return f"{'r' if name.kind == 'rule' else 'T'}_{name.text}"


def _flat_name(name: Token) -> str:
    """Returns the name of the terminal that a rule or terminal becomes."""
    return f"{'R' if name.kind == 'rule' else 'T'}_{name.text.upper()}"


def _written(body: list[Token], characters: Characters, rename: Callable[[Token], str], *, gaps: bool = False) -> str:
    """Returns the body of a rule or terminal with its names and characters replaced.

    `gaps` says that what is ignored may follow each of its lexemes.
    """
    parts: list[str] = []
    at = 0
    while at < len(body):
        token, following = body[at], body[at + 1].text if at + 1 < len(body) else ""
        at += 1
        if token.text == "->" and token.kind == "sign":
            # The name of an alternative is for syntax trees.
            at += 1
            continue
        if token.kind == "string" and following == "..":
            written = f"/{_range(token, body[at + 1] if at + 1 < len(body) else token, characters)}/"
            at += 2
        elif token.kind == "string":
            written = _literal(token.text, characters)
        elif token.kind == "pattern":
            pattern, _, flags = token.text[1:].rpartition("/")
            written = f"/{rewritten(pattern, characters, flags)}/"
        elif token.kind in {"rule", "terminal"}:
            written = rename(token)
        else:
            parts.append(_sign(token, following))
            continue
        parts.append(f"({written} {_IGNORED})" if gaps and token.kind != "rule" else written)
    return " ".join(parts)


_SIGNS: Mapping[str, str] = {
    "~": "complements with '~' are not supported; write what is allowed",
    "&": "intersections with '&' are not supported; write what is allowed",
    "::": "parameters of rules are not supported; leave them out",
    "=": "attributes of rules are not supported; leave them out",
    ":": "a rule has to end before the next one begins, on a line of its own",
    ".": "priorities are not supported; leave them out",
}


def _sign(token: Token, following: str) -> str:
    if token.kind == "number":
        if len(token.text) > 4 or int(token.text) > MOST_REPETITIONS:
            raise LarkError(f"it repeats something more than {MOST_REPETITIONS} times; use fewer")
        return token.text
    if token.kind == "directive":
        raise LarkError(f"'{token.text}' is not supported within a rule; write its texts in another way")
    if token.text in _SIGNS and not (token.text == "~" and following.isdigit()):
        raise LarkError(_SIGNS[token.text])
    return token.text


def _literal(token: str, characters: Characters) -> str:
    """Returns the expression for the text of a string."""
    text = _text(token.removesuffix("i"))
    if token.endswith("i") or isinstance(characters, Unescaped):
        return f"/{''.join(_one(each, characters, any_case=token.endswith('i')) for each in text)}/" if text else '""'
    return _string(escaped_text(text)).replace("\x7f", "\\u007f")


def _one(character: str, characters: Characters, *, any_case: bool) -> str:
    written = characters.one(character)
    return f"(?i:{written})" if any_case and not is_escaped(character) else written


def _text(quoted: str) -> str:
    try:
        text = json.loads(_HEXADECIMAL.sub(r"\\u00\1", quoted))
        text.encode()
    except (ValueError, AttributeError):
        raise LarkError("it has a string with an escape that JSON does not know; correct it") from None
    return str(text)


def _range(first: Token, last: Token, characters: Characters) -> str:
    low, high = _text(first.text), _text(last.text) if last.kind == "string" else ""
    if not (len(low) == len(high) == 1 and low <= high):
        raise LarkError('a range such as "a".."z" has to go from one character to a higher one')
    return rewritten(f"[{pattern_of(low)}-{pattern_of(high)}]", characters)
