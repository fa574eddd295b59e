"""The transcript in a server's answer, as phrases whose texts make up the whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec

from services.runner.engines.upstream.events import UpstreamError
from services.runner.kinds.transcription import Segment, Word


class _Word(msgspec.Struct):
    start: float
    end: float
    word: str


class _Segment(msgspec.Struct):
    start: float
    end: float
    text: str
    tokens: list[int] | None = None
    avg_logprob: float | None = None
    compression_ratio: float | None = None
    no_speech_prob: float | None = None
    temperature: float | None = None
    # Where older servers have the times of words.
    words: list[_Word] | None = None


class Transcript(msgspec.Struct):
    """The answer of `/v1/audio/transcriptions`."""

    text: str | None = None
    language: str | None = None
    segments: list[_Segment] | None = None
    words: list[_Word] | None = None


def segments_of(transcript: Transcript, duration: float) -> list[Segment]:
    """Returns the phrases of a recording of so many seconds; raises UpstreamError if there is no text.

    If the phrases that the server tells do not make up its text, or it tells none, the whole text is one phrase.
    """
    if transcript.text is None:
        raise UpstreamError("without a text")
    text = transcript.text.strip()
    given = transcript.segments or []
    pieces = _pieces(text, [each.text for each in given])
    if pieces is None:
        given, pieces = [_Segment(0.0, duration, text)], [text]
    words = transcript.words or [word for each in given for word in each.words or ()]
    return _with_words(
        [_segment(each, piece, duration) for each, piece in zip(given, pieces, strict=True)], words, duration
    )


def _pieces(text: str, phrases: Sequence[str]) -> list[str] | None:
    """Returns the parts of a text that are its phrases, with the spaces before them; None if these are not all of it.

    Some servers keep the spaces between phrases, and others do not.
    """
    pieces, begin = [], 0
    for phrase in phrases:
        found = text.find(phrase.strip(), begin)
        if found < 0 or text[begin:found].strip():
            return None
        end = found + len(phrase.strip())
        pieces.append(text[begin:end])
        begin = end
    return pieces if phrases and begin == len(text) else None


def _segment(given: _Segment, text: str, duration: float) -> Segment:
    start = min(max(given.start, 0.0), duration)
    return Segment(
        start=start,
        end=min(max(given.end, start), duration),
        text=text,
        token_ids=tuple(given.tokens or ()),
        mean_logprob=given.avg_logprob or 0.0,
        compression_ratio=given.compression_ratio or 0.0,
        no_speech_probability=given.no_speech_prob or 0.0,
        temperature=given.temperature or 0.0,
    )


def _with_words(segments: list[Segment], words: Sequence[_Word], duration: float) -> list[Segment]:
    """Returns the phrases, the first of them with the times of all words: only their order matters."""
    if not words:
        return segments
    first, *rest = segments
    timed = tuple(Word(min(max(each.start, 0.0), duration), min(each.end, duration), each.word) for each in words)
    return [replace(first, words=timed), *rest]
