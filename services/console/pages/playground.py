"""The playground: questions to the models for sale, by a key that belongs to the session and ends with it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web

from services.common.catalog import Model
from services.common.errors import Code, MeshError
from services.common.scopes import may_use
from services.common.telemetry.logs import get_logger
from services.console.error_pages import NOTHING_CHARGED, error_json
from services.console.mesh import Mesh, gather
from services.console.metrics import PLAYGROUND_ANSWERS
from services.console.page import Page
from services.console.pages.receipts import OUTCOMES
from services.console.playground.answer import Answer, read_answer
from services.console.playground.edge import SEE_RECEIPTS, Edge, Failure, read_all
from services.console.playground.question import chat_request, question_of, read_question
from services.console.playground.relay import relay
from services.console.rendering import Renderer, dollars
from services.console.sessions import Sessions
from services.console.visit import Visit
from tiermesh.auth.v1 import auth_pb2
from tiermesh.billing.v1 import billing_pb2

log = get_logger()

_PATH = "/playground"
_REQUEST_ID = re.compile(r"req_[0-9a-f]{32}")
_SCOPE = "chat"
# What a page may take beside the answer itself, in seconds.
_SPARE_SECONDS = 30.0


class Playground:
    """Serves the playground. `answer_seconds` is how long an answer may take."""

    def __init__(self, renderer: Renderer, mesh: Mesh, sessions: Sessions, edge: Edge, answer_seconds: float) -> None:
        self._renderer = renderer
        self._mesh = mesh
        self._sessions = sessions
        self._edge = edge
        self._answer_seconds = answer_seconds

    def pages(self) -> tuple[Page, ...]:
        """Returns the routes."""
        seconds = self._answer_seconds + _SPARE_SECONDS
        return (
            Page(path=_PATH, name="playground", handler=self.show),
            Page(method="POST", path=_PATH, name="playground", handler=self.answer, seconds=seconds),
            Page(
                method="POST",
                path=f"{_PATH}/answers",
                name="playground_answer",
                handler=self.stream,
                json=True,
                seconds=seconds,
            ),
            Page(path=f"{_PATH}/receipt", name="playground_receipt", handler=self.receipt, json=True),
        )

    async def show(self, visit: Visit) -> web.StreamResponse:
        """Answers GET /playground."""
        return await self._page(visit)

    async def stream(self, visit: Visit) -> web.StreamResponse:
        """Answers POST /playground/answers: the events of the answer, as the API sends them."""
        try:
            body = _refusing(lambda: chat_request(read_question(visit.take_body()), stream=True))
            key = await self._key(visit)
            asking = self._edge.ask(key, body)
            del body
            async with asking as answering:
                visit.leave()
                return await relay(visit, answering, self._answer_seconds)
        except Failure as failure:
            PLAYGROUND_ANSWERS.labels("refused").inc()
            return error_json(failure.status, failure.message, failure.money)

    async def answer(self, visit: Visit) -> web.StreamResponse:
        """Answers POST /playground, as browsers without scripts send it: the page with the whole answer."""
        try:
            body = _refusing(lambda: chat_request(question_of(visit.form), stream=False))
            answer, request_id = await self._whole(await self._key(visit), body)
        except Failure as failure:
            PLAYGROUND_ANSWERS.labels("refused").inc()
            return await self._page(visit, failure=failure)
        PLAYGROUND_ANSWERS.labels("answered").inc()
        return await self._page(visit, answer=answer, receipt=await self._receipt_of(visit, request_id))

    async def receipt(self, visit: Visit) -> web.StreamResponse:
        """Answers GET /playground/receipt: what one request has cost; of another account, none exists."""
        request_id = visit.request.query.get("id", "")
        if not _REQUEST_ID.fullmatch(request_id):
            raise web.HTTPNotFound
        receipt = await self._mesh.receipt(visit.owner.account_id, request_id)
        body = {
            "settled": receipt.settled_at_ms > 0,
            "charged": receipt.charged,
            "dollars": dollars(receipt.charged),
            "outcome": OUTCOMES.get(receipt.outcome, "ended"),
            "prompt_tokens": receipt.prompt_tokens,
            "completion_tokens": receipt.completion_tokens,
        }
        return web.Response(body=msgspec.json.encode(body), content_type="application/json")

    async def _receipt_of(self, visit: Visit, request_id: str) -> billing_pb2.Receipt | None:
        """Returns what an answer has cost; None if that cannot be read, because the answer is still of use."""
        try:
            return await self._mesh.receipt(visit.owner.account_id, request_id)
        except MeshError as error:
            log.warning("receipt_not_read", request_id=request_id, reason=error.code.name)
            return None

    async def _key(self, visit: Visit) -> str:
        """Returns the key of the session, which nobody but the edge is shown; raises Failure if there is none."""
        try:
            return await self._sessions.key(visit.cookie)
        except MeshError as error:
            if error.code is Code.UNAUTHENTICATED:
                raise Failure(401, error.message, NOTHING_CHARGED) from error
            if error.code in {Code.PERMISSION_DENIED, Code.CONFLICT}:
                raise Failure(403, error.message, NOTHING_CHARGED) from error
            raise

    async def _whole(self, key: str, body: bytes) -> tuple[Answer, str]:
        try:
            async with asyncio.timeout(self._answer_seconds), self._edge.ask(key, body) as answering:
                return read_answer(await read_all(answering.content)), answering.request_id
        except TimeoutError as error:
            raise Failure(503, "The answer took too long, so it was stopped.", SEE_RECEIPTS) from error

    async def _creator(self, owner: auth_pb2.Session) -> auth_pb2.ApiKey | None:
        """Returns the key that has signed in, whose limits bind the playground; None if it was none."""
        return await self._mesh.key(owner.account_id, owner.key_id) if owner.key_id else None

    async def _page(
        self,
        visit: Visit,
        *,
        answer: Answer | None = None,
        receipt: billing_pb2.Receipt | None = None,
        failure: Failure | None = None,
    ) -> web.Response:
        owner, form = visit.owner, visit.form
        creator, balance, available = await gather(
            self._creator(owner),
            self._mesh.balance(owner.account_id),
            self._mesh.available_models(),
        )
        models = _models(self._mesh.catalog.models, creator)
        wished = form.text("model") or visit.request.query.get("model", "")
        return self._renderer.page(
            "playground",
            visit,
            status=failure.status if failure else 200,
            models=models,
            available=available,
            chosen=_chosen(models, wished, available),
            balance=balance,
            may_chat=creator is None or may_use(creator.endpoints, _SCOPE),
            question=form,
            answer=answer,
            receipt=receipt,
            outcomes=OUTCOMES,
            failure=failure,
        )


def _refusing(make: Callable[[], bytes]) -> bytes:
    """Returns the request that is made; raises Failure for a question that cannot be asked."""
    try:
        return make()
    except MeshError as error:
        raise Failure(400, error.message, NOTHING_CHARGED) from error


def _models(models: tuple[Model, ...], creator: auth_pb2.ApiKey | None) -> list[Model]:
    """Returns the models for chats that the key which has signed in may use."""
    allowed: Any = () if creator is None else creator.models
    return [model for model in models if model.kind == "chat" and (not allowed or model.id in allowed)]


def _chosen(models: list[Model], wished: str, available: frozenset[str] | None) -> str:
    """Returns the model that is wished for, or else the first that can answer now."""
    ids = [model.id for model in models]
    if wished in ids:
        return wished
    return next((name for name in ids if available is None or name in available), ids[0] if ids else "")
