"""Transcripts as subtitles: SubRip (.srt) and WebVTT (https://www.w3.org/TR/webvtt1/)."""

from __future__ import annotations

from tiermesh.runner.v1.runner_pb2 import Transcript


def srt(transcript: Transcript) -> str:
    """Returns a SubRip file."""
    return "".join(
        f"{number}\n{_time(segment.start, ',')} --> {_time(segment.end, ',')}\n{_line(segment.text)}\n\n"
        for number, segment in enumerate(transcript.segments, 1)
    )


def vtt(transcript: Transcript) -> str:
    """Returns a WebVTT file."""
    cues = "".join(
        f"{_time(segment.start, '.')} --> {_time(segment.end, '.')}\n{_escape(_line(segment.text))}\n\n"
        for segment in transcript.segments
    )
    return "WEBVTT\n\n" + cues


def _time(seconds: float, point: str) -> str:
    milliseconds = round(max(0.0, seconds) * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{milliseconds // 1000:02}{point}{milliseconds % 1000:03}"


def _line(text: str) -> str:
    """Returns the text as one line: an empty one would end the cue."""
    return " ".join(text.split())


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
