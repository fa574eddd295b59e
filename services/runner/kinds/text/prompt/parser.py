"""Splits a model's text, as it arrives, into content, reasoning and function calls.

Reasoning stands between two tags at the beginning; how calls look is a matter of the model's tool format. White space
next to a tag belongs to the tag. Everything else that is not the syntax of a well-formed call comes out as content, so
that no character is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from services.runner.kinds.text.prompt.formats import FORMATS, ToolFormat
from services.runner.kinds.text.prompt.output import ParsedText, add, add_content, decided
from services.runner.kinds.text.prompt.thought import ThoughtTags


class OutputParser:
    """Parses one answer; `feed` it with text as it comes and `finish` it once."""

    def __init__(
        self,
        *,
        calls: bool,
        forced: bool = False,
        reasoning: bool,
        new_id: Callable[[], str],
        reasoning_open: bool = False,
        thought_tags: ThoughtTags = ThoughtTags(),  # noqa: B008 - it is immutable
        tool_format: ToolFormat = FORMATS["hermes"],
        functions: Mapping[str, dict[str, Any]] = MappingProxyType({}),
    ) -> None:
        """`calls` and `reasoning` say what to look for; `reasoning_open` that the prompt has opened a thought.

        `forced` says that a grammar lets the model write nothing but calls, after its thought.
        `functions` are those on offer, each with the schema of its arguments, and `tool_format` is how the model
        writes calls of them.
        """
        self._reader = tool_format.reader(functions if calls else {}, new_id) if calls or tool_format.framed else None
        self._forced = forced
        self._tags = thought_tags
        # Text that cannot be decided yet.
        self._text = ""
        self._state: Callable[[ParsedText], bool] = self._answer
        # The state after white space that belongs to a tag.
        self._after_space: Callable[[ParsedText], bool] = self._answer
        tagged = reasoning and not tool_format.framed
        if tagged:
            self._state = self._before_thought
        if tagged and reasoning_open:
            self._skip_space(self._in_thought)

    @property
    def holding(self) -> bool:
        """Whether text is held back until more has come."""
        return bool(self._text) or (self._reader is not None and self._reader.holding)

    @property
    def call_count(self) -> int:
        """How many calls have been recognised so far."""
        return self._reader.call_count if self._reader is not None else 0

    @property
    def in_arguments(self) -> bool:
        """Whether the last call is not whole: its arguments have begun and not ended."""
        return self._reader is not None and self._reader.in_arguments

    @property
    def thinking(self) -> bool:
        """Whether what comes next is reasoning, unless it is the closing tag."""
        state = self._after_space if self._state == self._space else self._state
        return state == self._in_thought or (self._reader is not None and self._reader.thinking)

    @property
    def answering(self) -> bool:
        """Whether no reasoning can come any more."""
        state = self._after_space if self._state == self._space else self._state
        return state == self._answer

    def feed(self, text: str, out: ParsedText) -> None:
        """Takes the next characters and adds what they decide to `out`."""
        self._text += text
        while self._text and self._state(out):
            pass

    def finish(self, out: ParsedText, *, cut: bool) -> None:
        """Adds what was still held back: the answer ends here, and `cut` says that a limit ended it."""
        rest, self._text = self._text, ""
        if self._state == self._in_thought:
            add(out.reasoning, rest)
        elif self._state == self._before_thought:
            add_content(out, rest, len(rest))
        # What is left of forced calls is the beginning of one that was cut off: nothing that anybody has said.
        if self._reader is not None and not (self._forced and cut):
            self._reader.finish(out, cut=cut)

    def _before_thought(self, out: ParsedText) -> bool:  # noqa: ARG002 - every state has this signature
        """At the beginning, where a thought may open."""
        start = self._text.lstrip()
        if start.startswith(self._tags.open):
            self._text = start.removeprefix(self._tags.open)
            self._skip_space(self._in_thought)
            return True
        if self._tags.open.startswith(start):
            return False
        self._state = self._answer
        return True

    def _in_thought(self, out: ParsedText) -> bool:
        before, tag, after = self._text.partition(self._tags.close)
        if tag:
            add(out.reasoning, before.rstrip())
            self._text = after
            self._skip_space(self._answer)
            return True
        thought = decided(self._text, self._tags.close)
        add(out.reasoning, thought)
        self._text = self._text[len(thought) :]
        return False

    def _skip_space(self, then: Callable[[ParsedText], bool]) -> None:
        self._state, self._after_space = self._space, then

    def _space(self, out: ParsedText) -> bool:  # noqa: ARG002 - every state has this signature
        """Drops white space."""
        self._text = self._text.lstrip()
        if self._text:
            self._state = self._after_space
        return bool(self._text)

    def _answer(self, out: ParsedText) -> bool:
        text, self._text = self._text, ""
        if self._reader is None:
            add_content(out, text, len(text))
        else:
            self._reader.feed(text, out)
        return False
