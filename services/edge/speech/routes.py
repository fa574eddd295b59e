"""The route of speech."""

from __future__ import annotations

from collections.abc import Sequence

from services.edge.dependencies import Dependencies
from services.edge.route import Content, Operation, Route, event_stream, json_body
from services.edge.speech.endpoint import Speech
from services.edge.speech.frames import CONTENT_TYPES
from services.edge.speech.request import SpeechBody

_SPEAK = Operation(
    summary="Read a text aloud",
    tag="Audio",
    body=json_body(
        SpeechBody,
        {"model": "tiermesh-speech", "input": "Good morning.", "voice": "alloy", "response_format": "wav"},
    ),
    answer={**{name: Content() for name in CONTENT_TYPES.values()}, **event_stream()},
    paid=True,
)


def routes(edge: Dependencies) -> Sequence[Route]:
    """Returns the route of POST /v1/audio/speech."""
    speech = Speech(edge.path)
    return [
        Route(
            method="POST",
            path="/audio/speech",
            name="speech",
            scope="audio",
            handler=speech.serve,
            operation=_SPEAK,
        )
    ]
