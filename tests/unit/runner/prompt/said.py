"""What a client puts together from the pieces of one answer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from services.runner.kinds.text.prompt.output import ParsedText


class Subject(Protocol):
    """A parser, or a reader of one format."""

    def feed(self, text: str, out: ParsedText) -> None: ...

    def finish(self, out: ParsedText, *, cut: bool) -> None: ...


class Said:
    """What a client has put together."""

    def __init__(self) -> None:
        self.content = self.reasoning = ""
        self.calls: dict[int, tuple[str, str, str]] = {}

    def add(self, out: ParsedText) -> None:
        self.content += "".join(out.content)
        self.reasoning += "".join(out.reasoning)
        for call in out.calls:
            assert (call.index in self.calls) == (not call.id)
            had = self.calls.get(call.index, ("", "", ""))
            self.calls[call.index] = (had[0] + call.id, had[1] + call.name, had[2] + call.arguments)


def parse(pieces: Iterable[str], subject: Subject, *, cut: bool = True) -> Said:
    said = Said()
    for piece in pieces:
        out = ParsedText()
        subject.feed(piece, out)
        said.add(out)
    out = ParsedText()
    subject.finish(out, cut=cut)
    said.add(out)
    return said


def cut(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]
