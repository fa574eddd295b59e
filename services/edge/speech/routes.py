"""The routes of speech."""

from __future__ import annotations

from collections.abc import Sequence

from services.edge.dependencies import Dependencies
from services.edge.route import AnyRoute, Content, Operation, PublicRoute, Route, event_stream, json_answer, json_body
from services.edge.speech.endpoint import Speech
from services.edge.speech.frames import CONTENT_TYPES
from services.edge.speech.lists import AudioLists, AudioModel, AudioModelList, AudioVoice, AudioVoiceList
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


_LIST_MODELS = Operation(
    summary="List the models that read texts aloud",
    tag="Audio",
    answer=json_answer(AudioModelList([AudioModel("tiermesh-speech", "tiermesh-speech")])),
)
_LIST_VOICES = Operation(
    summary="List the voices", tag="Audio", answer=json_answer(AudioVoiceList([AudioVoice("alloy", "alloy")]))
)


def routes(edge: Dependencies) -> Sequence[AnyRoute]:
    """Returns the route of POST /v1/audio/speech, and those of what it can be asked for."""
    speech, lists = Speech(edge.path), AudioLists(edge.mesh.catalog)
    return [
        Route(
            method="POST",
            path="/audio/speech",
            name="speech",
            scope="audio",
            handler=speech.serve,
            operation=_SPEAK,
        ),
        PublicRoute(path="/audio/models", handler=lists.models, operation=_LIST_MODELS),
        PublicRoute(path="/audio/voices", handler=lists.voices, operation=_LIST_VOICES),
    ]
