"""Every operation of the API: the one place where an endpoint says what it takes, what it returns and what for.

Keys are the method and the path without its prefix, as services/edge/service.py registers them.
"""

from __future__ import annotations

from typing import Any

from services.edge.account.balance import BalanceBody
from services.edge.account.keys import DEFAULT_PAGE, MAX_PAGE, CreateKeyBody, KeyBody, KeyList, RevokedKey
from services.edge.account.models import ModelBody, ModelList
from services.edge.account.usage import ReceiptBody, UsageReport
from services.edge.chat.request import ChatBody
from services.edge.completions.request import CompletionBody
from services.edge.embeddings.request import EmbeddingsBody
from services.edge.images.request import ImageBody
from services.edge.openapi import answers, examples
from services.edge.openapi.operation import Content, Operation, Parameter, json_content
from services.edge.responses.request import ResponsesBody
from services.edge.speech.request import SpeechBody
from services.edge.transcriptions.request import TranscriptionFields

# Routes that only say why there is nothing: OpenAI's clients know these paths, so they get better than unknown_url.
REFUSALS = frozenset(
    {
        ("GET", "/responses/{tail}"),
        ("POST", "/responses/{tail}"),
        ("DELETE", "/responses/{tail}"),
        ("POST", "/audio/translations"),
    }
)

_TEXT = {"type": "string"}
# Bytes that are no JSON, as JSON Schema 2020-12 says it.
_BYTES: dict[str, Any] = {}
_EVENTS = "text/event-stream"

OPERATIONS: dict[tuple[str, str], Operation] = {
    ("POST", "/chat/completions"): Operation(
        summary="Answer a conversation",
        tag="Text",
        description="With `stream`, each event is a `ChatCompletionChunk`, and the last is `[DONE]`.",
        body=json_content(ChatBody, examples.CHAT),
        answer={
            **json_content(answers.ChatCompletion, examples.CHAT_COMPLETION),
            _EVENTS: Content(schema=_TEXT, example=examples.CHAT_STREAM),
        },
        paid=True,
        further_types=(answers.ChatCompletionChunk,),
    ),
    ("POST", "/completions"): Operation(
        summary="Continue a text (legacy)",
        tag="Text",
        description="With `stream`, each event is a `TextCompletion`, and the last is `[DONE]`.",
        body=json_content(CompletionBody, examples.TEXT),
        answer={
            **json_content(answers.TextCompletion, examples.TEXT_COMPLETION),
            _EVENTS: Content(schema=_TEXT),
        },
        paid=True,
    ),
    ("POST", "/responses"): Operation(
        summary="Answer as OpenAI's Responses API does",
        tag="Text",
        description="Stateless: nothing is kept, so send the whole conversation in `input`.",
        body=json_content(ResponsesBody, examples.RESPONSES),
        answer={**json_content(answers.Response, examples.RESPONSE), _EVENTS: Content(schema=_TEXT)},
        paid=True,
    ),
    ("POST", "/embeddings"): Operation(
        summary="Turn texts into vectors",
        tag="Embeddings",
        body=json_content(EmbeddingsBody, examples.EMBEDDINGS),
        answer=json_content(answers.EmbeddingList, examples.EMBEDDING_LIST),
        paid=True,
    ),
    ("POST", "/audio/speech"): Operation(
        summary="Read a text aloud",
        tag="Audio",
        body=json_content(SpeechBody, examples.SPEECH),
        answer={
            name: Content(schema=_BYTES)
            for name in ("audio/mpeg", "audio/ogg", "audio/aac", "audio/flac", "audio/wav", "audio/pcm", _EVENTS)
        },
        paid=True,
    ),
    ("POST", "/audio/transcriptions"): Operation(
        summary="Write down a recording",
        tag="Audio",
        description="`file` is the recording; the other fields of the form are those of `TranscriptionFields`.",
        body={
            "multipart/form-data": Content(
                schema={
                    "allOf": [
                        {"$ref": "#/components/schemas/TranscriptionFields"},
                        {
                            "type": "object",
                            "required": ["file"],
                            "properties": {"file": {"type": "string", "contentMediaType": "application/octet-stream"}},
                        },
                    ]
                }
            )
        },
        answer={
            **json_content(answers.Transcription, examples.TRANSCRIPTION),
            **{name: Content(schema=_TEXT) for name in ("text/plain", "application/x-subrip", "text/vtt", _EVENTS)},
        },
        paid=True,
        further_types=(TranscriptionFields,),
    ),
    ("POST", "/images/generations"): Operation(
        summary="Paint images",
        tag="Images",
        body=json_content(ImageBody, examples.IMAGES),
        answer=json_content(answers.ImageList, examples.IMAGE_LIST),
        paid=True,
    ),
    ("GET", "/images/files/{name}"): Operation(
        summary="Fetch an image by its signed URL",
        tag="Images",
        answer={name: Content(schema=_BYTES) for name in ("image/png", "image/jpeg", "image/webp")},
        parameters=(
            Parameter("expires", {"type": "string"}, "The second at which the URL ends."),
            Parameter("signature", {"type": "string"}, "The signature of the URL."),
        ),
        may_be_missing=True,
        public=True,
    ),
    ("GET", "/models"): Operation(
        summary="List the models that the key may use",
        tag="Models",
        answer=json_content(ModelList, examples.MODELS),
    ),
    ("GET", "/models/{model}"): Operation(
        summary="Describe a model",
        tag="Models",
        answer=json_content(ModelBody, examples.MODEL),
        may_be_missing=True,
    ),
    ("GET", "/balance"): Operation(
        summary="Tell the account's credits",
        tag="Account",
        answer=json_content(BalanceBody, examples.BALANCE),
    ),
    ("GET", "/requests/{request_id}"): Operation(
        summary="Tell what became of a request",
        tag="Account",
        description="The id is the `x-request-id` of the response.",
        answer=json_content(ReceiptBody, examples.RECEIPT),
        may_be_missing=True,
    ),
    ("GET", "/usage"): Operation(
        summary="Add up the account's requests",
        tag="Account",
        answer=json_content(UsageReport, examples.USAGE),
        parameters=(
            Parameter("from", _TEXT, "A date (its first moment, UTC) or a datetime; by default a report has 30 days."),
            Parameter("to", _TEXT, "A date, which is included, or a datetime, which is not; by default now."),
            Parameter("group_by", {"type": "string", "enum": ["day", "model", "key"]}, "By default `day`."),
        ),
    ),
    ("GET", "/keys"): Operation(
        summary="List the account's keys",
        tag="Keys",
        answer=json_content(KeyList, examples.KEYS),
        parameters=(
            Parameter("limit", {"type": "integer", "minimum": 1, "maximum": MAX_PAGE}, f"By default {DEFAULT_PAGE}."),
            Parameter("after", _TEXT, "The `last_id` of the page before."),
        ),
    ),
    ("POST", "/keys"): Operation(
        summary="Make a key, which is shown once",
        tag="Keys",
        body=json_content(CreateKeyBody, examples.NEW_KEY),
        body_optional=True,
        answer=json_content(KeyBody, examples.CREATED_KEY),
        may_be_missing=True,
    ),
    ("DELETE", "/keys/{key_id}"): Operation(
        summary="Revoke a key",
        tag="Keys",
        parameters=(
            Parameter(
                "descendants", {"type": "boolean"}, "Whether to revoke also what it has made; by default `false`."
            ),
        ),
        answer=json_content(RevokedKey, examples.REVOKED_KEY),
        may_be_missing=True,
    ),
    ("GET", "/openapi.json"): Operation(
        summary="Return this document",
        tag="Document",
        answer={"application/json": Content(schema={"type": "object"})},
        public=True,
    ),
}
