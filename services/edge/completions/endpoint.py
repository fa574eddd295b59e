"""Serves legacy completions."""

from __future__ import annotations

from aiohttp import web

from services.common.clock import Clock
from services.common.errors import MeshError
from services.edge.authentication import Principal
from services.edge.completions.request import completion_calls, completion_decoder, read_prompts, translated
from services.edge.completions.response import CompletionRenderer
from services.edge.context import RequestContext
from services.edge.http.bodies.incoming import read_json
from services.edge.http.parsing import parse_body
from services.edge.paid.delivery import deliver_stream, deliver_whole
from services.edge.paid.path import Order, PaidPath
from services.edge.settings import EdgeSettings


class Completions:
    """Serves POST /v1/completions for requests whose key is good. All prompts of a request share one price."""

    def __init__(self, path: PaidPath, settings: EdgeSettings, clock: Clock) -> None:
        self._path = path
        self._settings = settings
        self._clock = clock

    async def serve(self, request: web.Request, context: RequestContext, principal: Principal) -> web.StreamResponse:
        """Answers one request; raises MeshError for anything that goes wrong before the first byte is sent."""
        order, renderer = await self._order(request, context, principal)
        try:
            async with self._path.open(order) as delivery:
                return await (
                    deliver_whole(delivery, renderer.body)
                    if order.calls[0].whole
                    else deliver_stream(delivery, renderer)
                )
        except MeshError as error:
            raise translated(error) from None

    async def _order(
        self, request: web.Request, context: RequestContext, principal: Principal
    ) -> tuple[Order, CompletionRenderer]:
        """Reads the body, which is in memory no longer than this takes: the calls that are made of it stay."""
        body = parse_body(await read_json(request), completion_decoder)
        model = self._path.find_model(body.model, "chat", principal)
        prompts = read_prompts(body, max_choices=self._settings.max_choices)
        order = Order(
            request=request,
            context=context,
            principal=principal,
            model=model,
            calls=completion_calls(body, prompts, model, context.request_id),
            prompts=len(prompts),
        )
        renderer = CompletionRenderer(
            "cmpl-" + context.request_id.removeprefix("req_"),
            model.id,
            int(self._clock()),
            prompts=len(prompts),
            echo=[call.completion.prompt for call in order.calls] if body.echo else [],
            logprobs=body.logprobs is not None,
            usage=body.include_usage,
            scored=body.scores_prompt,
        )
        return order, renderer
