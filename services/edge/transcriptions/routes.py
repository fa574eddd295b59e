"""The routes of transcriptions."""

from __future__ import annotations

from collections.abc import Sequence

from services.edge.dependencies import Dependencies
from services.edge.route import TEXT, Content, Operation, Route, event_stream, json_answer
from services.edge.transcriptions.endpoint import Transcriptions
from services.edge.transcriptions.request import TranscriptionFields
from services.edge.transcriptions.response import CONTENT_TYPES, Transcription, TranscriptUsage

_FORM = Content(
    schema={
        "allOf": [
            {"$ref": f"#/components/schemas/{TranscriptionFields.__name__}"},
            {
                "type": "object",
                "required": ["file"],
                "properties": {"file": {"type": "string", "contentMediaType": "application/octet-stream"}},
            },
        ]
    }
)
_TRANSCRIBE = Operation(
    summary="Write down a recording",
    tag="Audio",
    description="`file` is the recording; the other fields of the form are those of `TranscriptionFields`.",
    body={"multipart/form-data": _FORM},
    answer={
        **{name: Content(schema=TEXT) for name in CONTENT_TYPES.values()},
        **json_answer(Transcription(text="Good morning.", usage=TranscriptUsage("duration", 1.2))),
        **event_stream(),
    },
    paid=True,
    further_types=(TranscriptionFields,),
)


def routes(edge: Dependencies) -> Sequence[Route]:
    """Returns the route of POST /v1/audio/transcriptions, and the one that refuses translations."""
    transcriptions = Transcriptions(edge.path, edge.settings)
    return [
        Route(
            method="POST",
            path="/audio/transcriptions",
            name="transcriptions",
            scope="audio",
            handler=transcriptions.serve,
            operation=_TRANSCRIBE,
        ),
        Route(
            method="POST",
            path="/audio/translations",
            name="translations",
            scope="audio",
            handler=transcriptions.translate,
        ),
    ]
