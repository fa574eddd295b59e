"""Serves speech."""

from __future__ import annotations

from aiohttp import web

from services.edge.authentication import Principal
from services.edge.context import RequestContext
from services.edge.http.bodies.incoming import read_json
from services.edge.http.parsing import parse_body
from services.edge.paid.path import Order, PaidPath
from services.edge.speech.frames import AudioEvents, AudioFile
from services.edge.speech.request import speech_call, speech_decoder
from services.edge.speech.sending import send_audio


class Speech:
    """Serves POST /v1/audio/speech for requests whose key is good."""

    def __init__(self, path: PaidPath) -> None:
        self._path = path

    async def serve(self, request: web.Request, context: RequestContext, principal: Principal) -> web.StreamResponse:
        """Answers one request; raises MeshError for anything that goes wrong before the first byte is sent."""
        body = parse_body(await read_json(request), speech_decoder)
        model = self._path.find_model(body.model, "speech", principal)
        order = Order(
            request=request,
            context=context,
            principal=principal,
            model=model,
            calls=[speech_call(body, model, context.request_id)],
        )
        frames = AudioEvents() if body.stream_format == "sse" else AudioFile(body.response_format or "mp3")
        async with self._path.open(order) as delivery:
            return await send_audio(delivery, frames)
