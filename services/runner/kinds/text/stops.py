"""Finds stop strings in the content of an answer, which may come in any pieces.

Content that may still turn out to be the beginning of a stop string is held back, together with its tokens.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Sequence

from msgspec import Struct, field
from msgspec.structs import replace

from services.runner.kinds.text.job import TokenLogprob
from services.runner.kinds.text.prompt.output import CallDelta, ParsedText


class StopSearch:
    """Looks for the stop string that is complete first; of several that end together, for the longest."""

    __slots__ = ("_firsts", "_longest", "_stops", "_tail", "found", "size", "stop")

    def __init__(self, stops: Sequence[str]) -> None:
        # In their order, those with the same beginning stand next to each other.
        self._stops = sorted(stops)
        self._firsts = {stop[0] for stop in stops}
        self._longest = max(map(len, stops))
        # The end of the text with which a stop string may begin.
        self._tail = ""
        # Characters taken so far.
        self.size = 0
        # Where the stop string begins, in characters of the text; None while there is none.
        self.found: int | None = None
        # Which stop string that is; empty while there is none.
        self.stop = ""

    @property
    def certain(self) -> int:
        """How many characters of the text can be no part of a stop string."""
        return self.size - len(self._tail)

    def take(self, text: str) -> bool:
        """Takes the next characters; returns whether a stop string is complete now, and is to be called no more."""
        text = self._tail + text
        start = self.size - len(self._tail)
        self.size = start + len(text)
        found = [(at + len(stop), at) for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            end, at = min(found)
            self.found, self.stop = start + at, text[at:end]
            return True
        self._tail = text[self._undecided(text) :]
        return False

    def _undecided(self, text: str) -> int:
        """Returns where the longest end of the text begins with which a stop string may begin."""
        for at in range(max(0, len(text) - self._longest + 1), len(text)):
            if text[at] in self._firsts and self._is_beginning(text[at:]):
                return at
        return len(text)

    def _is_beginning(self, text: str) -> bool:
        at = bisect_left(self._stops, text)
        return at < len(self._stops) and self._stops[at].startswith(text)


class Segment(Struct):
    """Output that is sent together: the tokens are those of exactly its text."""

    output: ParsedText = field(default_factory=ParsedText)
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to send."""
        output = self.output
        return not (self.token_ids or output.content or output.reasoning or output.calls)


class HeldSegments:
    """Holds segments back until no stop string can begin in them, and ends the answer before the first one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._search = StopSearch(stops)
        # Each with the size of the content up to its end.
        self._held: deque[tuple[int, Segment]] = deque()
        # Pieces of content that were looked through, of the segment that is not complete yet.
        self._seen = 0
        # Characters at the end of the content that are not part of the answer, and calls that came after them.
        self._surplus = 0
        self.calls_dropped = 0

    @property
    def stop(self) -> str:
        """The stop string that ends the answer; empty if none does."""
        return self._search.stop

    def look(self, output: ParsedText) -> bool:
        """Looks through what is new in the segment that is being made; returns whether the answer ends there.

        What follows the stop string is dropped, with the places of what is new. Is to be called no more then.
        """
        content, first = output.content, self._seen
        for at in range(first, len(content)):
            if self._search.take(content[at]):
                # Text without a parser has neither calls nor places.
                calls = output.calls_before[at] if output.calls_before else 0
                self.calls_dropped = sum(1 for call in output.calls[calls:] if call.id)
                del content[at + 1 :], output.places[at + 1 - first :], output.calls[calls:]
                self._surplus = self._search.size - (self._search.found or 0)
                return True
        self._seen = len(content)
        return False

    def add(self, segment: Segment) -> None:
        """Adds a segment that is complete."""
        self._seen = 0
        if not segment.empty:
            self._held.append((self._search.size, segment))

    def certain(self) -> Segment:
        """Takes the segments in which no stop string can begin."""
        certain = self._search.certain
        taken = []
        while self._held and self._held[0][0] <= certain:
            taken.append(self._held.popleft()[1])
        return _joined(taken)

    def rest(self) -> Segment:
        """Takes all segments, up to the stop string if there is one; a token that it cuts through is left out."""
        segment = _joined([segment for _, segment in self._held])
        if self._surplus:
            content = "".join(segment.output.content)
            kept, dropped = content[: -self._surplus], content[-self._surplus :]
            segment.output.content = [kept]
            segment.logprobs = _without_end(segment.logprobs, len(dropped.encode()))
            found = self._search.found or 0
            segment.token_ids = [token_id for end, held in self._held if end <= found for token_id in held.token_ids]
        self._held.clear()
        return segment


def _joined(segments: Sequence[Segment]) -> Segment:
    if len(segments) == 1:
        return replace(segments[0])
    whole = Segment()
    for segment in segments:
        whole.output.content += segment.output.content
        whole.output.reasoning += segment.output.reasoning
        _add_calls(whole.output.calls, segment.output.calls)
        whole.token_ids += segment.token_ids
        whole.logprobs += segment.logprobs
    return whole


def _add_calls(calls: list[CallDelta], more: Iterable[CallDelta]) -> None:
    for call in more:
        if calls and calls[-1].index == call.index:
            calls[-1].arguments += call.arguments
        else:
            calls.append(call)


def _without_end(entries: Sequence[TokenLogprob], size: int) -> list[TokenLogprob]:
    """Returns the entries without their last `size` bytes: of a token that is cut through, its beginning is left."""
    kept = list(entries)
    while kept and size > 0:
        entry = kept.pop()
        if len(entry.token) > size:
            kept.append(replace(entry, token=entry.token[:-size]))
        size -= len(entry.token)
    return kept
