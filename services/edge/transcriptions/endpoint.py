"""Serves transcriptions."""

from __future__ import annotations

from functools import partial

from aiohttp import web

from services.common.errors import Code, MeshError
from services.edge.authentication import Principal
from services.edge.context import RequestContext
from services.edge.http.bodies.incoming import BODY
from services.edge.http.event_stream import set_content_type
from services.edge.paid.delivery import deliver_stream, deliver_whole
from services.edge.paid.path import Order, PaidPath
from services.edge.settings import EdgeSettings
from services.edge.transcriptions.form import read_form
from services.edge.transcriptions.request import TranscriptionFields, read_fields, transcription_call
from services.edge.transcriptions.response import CONTENT_TYPES, TranscriptEvents, transcription_body


class Transcriptions:
    """Serves POST /v1/audio/transcriptions for requests whose key is good."""

    def __init__(self, path: PaidPath, settings: EdgeSettings) -> None:
        self._path = path
        self._settings = settings

    async def serve(self, request: web.Request, context: RequestContext, principal: Principal) -> web.StreamResponse:
        """Answers one request; raises MeshError for anything that goes wrong before the first byte is sent."""
        order, fields = await self._order(request, context, principal)
        async with self._path.open(order) as delivery:
            if fields.stream:
                return await deliver_stream(delivery, TranscriptEvents())
            response = await deliver_whole(delivery, partial(transcription_body, fields))
            set_content_type(response, CONTENT_TYPES[fields.response_format or "json"])
            return response

    async def translate(self, request: web.Request, context: RequestContext, principal: Principal) -> web.Response:
        """Refuses a translation: no model here was made for it."""
        del request, context, principal
        message = (
            "Translations are not offered. Use /v1/audio/transcriptions, and have a chat model translate the text."
        )
        raise MeshError(Code.NOT_FOUND, message)

    async def _order(
        self, request: web.Request, context: RequestContext, principal: Principal
    ) -> tuple[Order, TranscriptionFields]:
        """Reads the form, which is in memory no longer than this takes: the call that is made of it stays."""
        body = request[BODY]
        note = None if body.digest is None else body.digest.update
        form = await read_form(request, self._settings.max_audio_bytes, body.share, note)
        fields = read_fields(form)
        model = self._path.find_model(fields.model, "transcription", principal)
        order = Order(
            request=request,
            context=context,
            principal=principal,
            model=model,
            calls=[transcription_call(form, fields, model, context.request_id)],
        )
        return order, fields
