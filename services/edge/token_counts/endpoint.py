"""Serves the tokens of texts and conversations."""

from __future__ import annotations

from aiohttp import web
from msgspec import Struct

from services.common.catalog import Model
from services.edge.authentication import Principal
from services.edge.chat.call import generate_call
from services.edge.chat.checks import check_chat_body
from services.edge.context import RequestContext
from services.edge.http.bodies.incoming import read_json
from services.edge.http.parsing import json_response, parse_body
from services.edge.paid.path import PaidPath
from services.edge.token_counts.counter import TokenCounter
from services.edge.token_counts.request import chat_body, check_tokenize_body, tokenize_decoder
from tiermesh.runner.v1 import runner_pb2


class TokenizedPrompt(Struct, frozen=True, forbid_unknown_fields=True):
    """The tokens of a prompt; `max_model_len` is how many a prompt and its answer may have together."""

    count: int
    max_model_len: int
    tokens: list[int]
    # How the vocabulary writes them, if that was asked for.
    token_strs: list[str] | None


class Tokenize:
    """Serves POST /tokenize for requests whose key is good."""

    def __init__(self, path: PaidPath, counter: TokenCounter) -> None:
        self._path = path
        self._counter = counter

    async def serve(self, request: web.Request, context: RequestContext, principal: Principal) -> web.Response:
        """Answers one request; raises MeshError."""
        call, model = await self._read(request, context, principal)
        texts = call.token_count.texts
        found = await self._counter.count(call, model, principal, context)
        strings = list(found.token_texts) if texts else None
        return json_response(TokenizedPrompt(found.tokens, model.context, list(found.token_ids), strings))

    async def _read(
        self, request: web.Request, context: RequestContext, principal: Principal
    ) -> tuple[runner_pb2.GenerateCall, Model]:
        """Reads the body, which is in memory no longer than this takes: the call that is made of it stays."""
        content = await read_json(request)
        body = parse_body(content, tokenize_decoder)
        model = self._path.find_model(body.model, "chat", principal)
        check_tokenize_body(body)
        if body.messages is None:
            call = runner_pb2.GenerateCall(request_id=context.request_id, model=model.id)
            call.token_count.prompt = body.prompt or ""
            call.token_count.bare = body.add_special_tokens is False
        else:
            chat = chat_body(body, body.messages)
            await check_chat_body(chat, model, max_choices=1, size=len(content))
            call = generate_call(chat, model, context.request_id)
        call.token_count.listed = True
        call.token_count.texts = bool(body.return_token_strs)
        return call, model
