"""Reads a Lark grammar into tokens, and those into its rules, terminals and directives."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from services.common.lark.errors import LarkError

_TOKEN = re.compile(
    r"""
      (?P<space>[ \t]+|(?:\#|//)[^\n]*)
    | (?P<newline>\r?\n)
    | (?P<string>"(?:\\.|[^"\\\n])*"i?)
    | (?P<pattern>/(?:\\.|[^/\\\n])+/[a-z]*)
    | (?P<directive>%[a-z]+)
    | (?P<name>!?\??_?[A-Za-z][A-Za-z0-9_-]*)
    | (?P<number>[0-9]+)
    | (?P<sign>->|\.\.|::|[:,.(){}\[\]~|&=+*?])
    """,
    re.VERBOSE,
)
_RULE, _TERMINAL = re.compile(r"_?[a-z][a-z0-9_-]*"), re.compile(r"_?[A-Z][A-Z0-9_-]*")
_OPENING, _CLOSING = "([{", ")]}"


class Token(NamedTuple):
    """A piece of a grammar; `kind` is the name of its group above, and names have `rule` or `terminal`."""

    kind: str
    text: str


class Line(NamedTuple):
    """A rule or terminal with its name, or a directive, and what follows it."""

    head: Token
    body: list[Token]


def read_lines(grammar: str) -> Iterator[Line]:
    """Yields what a grammar consists of; raises LarkError for what is none."""
    line: list[Token] = []
    depth = 0
    for token in [*_tokens(grammar), Token("newline", "\n")]:
        # An alternative may begin a line of its own.
        if token.kind != "newline":
            if line and line[-1].kind == "newline":
                if token.text != "|" and depth == 0:
                    yield _line(line[:-1])
                    line = []
                else:
                    line.pop()
            depth += (token.text in _OPENING) - (token.text in _CLOSING) if token.kind == "sign" else 0
            line.append(token)
        elif line and line[-1].kind != "newline":
            line.append(token)
    if line:
        yield _line(line[:-1])


def _line(tokens: list[Token]) -> Line:
    head, *body = tokens
    if head.kind == "directive":
        return Line(head, body)
    if head.kind not in {"rule", "terminal"} or not body or body[0] != Token("sign", ":"):
        raise LarkError("it has a line that is neither 'name: …' nor a directive such as '%ignore'; correct it")
    return Line(head, body[1:])


def _tokens(grammar: str) -> Iterator[Token]:
    at = 0
    while at < len(grammar):
        found = _TOKEN.match(grammar, at)
        if found is None:
            raise LarkError("it has something that Lark does not know; strings stand in double quotation marks")
        at = found.end()
        kind = str(found.lastgroup)
        if kind == "name":
            yield _name(found[0].lstrip("!?"))
        elif kind != "space":
            yield Token(kind, found[0])


def _name(name: str) -> Token:
    if _RULE.fullmatch(name):
        return Token("rule", name)
    if _TERMINAL.fullmatch(name):
        return Token("terminal", name)
    raise LarkError(
        f"the name '{name[:64]}' has letters of both cases; rules are in lower case, terminals in upper case"
    )
