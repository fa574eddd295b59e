"""The path of every paid request, whatever it asks for: price → reserve and route → generate; its reply settles."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Protocol

from aiohttp import web
from msgspec import Struct

from services.common.catalog import Catalog, Kind, Model
from services.common.errors import Code, MeshError
from services.common.telemetry.metrics import Sum
from services.common.telemetry.tracing import context_of, step
from services.edge.authentication import Principal
from services.edge.context import RequestContext
from services.edge.http.bodies.incoming import BODY
from services.edge.http.gathering import Gathering
from services.edge.metrics import PLACE, RESERVE
from services.edge.paid.charge import Charge
from services.edge.paid.cut_off import CutOff
from services.edge.paid.delivery import Delivery
from services.edge.paid.generation import Generation
from services.edge.paid.hold import AnyHold, BillingClient, Hold, PaymentHold
from services.edge.paid.idempotency import idempotency_key
from services.edge.paid.prefix_hashes import cache_scope, prefix_hashes
from services.edge.paid.progress import ProgressWatch
from services.edge.paid.routing import Assignment, AvailableModels, Placer
from services.edge.paid.runners import RunnerPool
from services.edge.paid.spans import begin_generation
from services.edge.receipts.issuing import OpenReceipt, Purchase, ReceiptIssuer
from services.edge.scopes import check_model
from services.edge.settings import EdgeSettings
from tiermesh.router.v1 import router_pb2
from tiermesh.runner.v1 import runner_pb2

# How long a place may take to be told of that nobody will use, in seconds: then it is a slot that is waited for.
_PLACE_UNDER_WAY = 0.5
# Where each kind of model is used, for those who took the wrong one.
_URLS = {
    "chat": "/v1/chat/completions",
    "embedding": "/v1/embeddings",
    "speech": "/v1/audio/speech",
    "transcription": "/v1/audio/transcriptions",
    "image": "/v1/images/generations",
}


@dataclass(frozen=True, slots=True)
class Mesh:
    """What serving needs from behind the edge."""

    catalog: Catalog
    available_models: AvailableModels
    placer: Placer
    billing: BillingClient
    runners: RunnerPool
    progress: ProgressWatch
    gathering: Gathering = field(default_factory=Gathering)


class Payment(Protocol):
    """A payment of a wallet that came with a request."""

    async def claim(self, order: Order, idempotency_key: str) -> PaymentHold:
        """Takes the payment for its order; raises MeshError if it does not pay."""


class Wallets(Protocol):
    """Serves requests that wallets pay for one by one."""

    def accept(self, order: Order) -> Order:
        """Returns the order with the payment that came with it, if any; raises MeshError if it has nobody to pay."""

    def offer(self, order: Order, refusal: MeshError) -> MeshError:
        """Returns a refusal for want of credits, with the terms by which a wallet can pay."""


class Order(Struct, frozen=True, kw_only=True):
    """What a validated request asks of the mesh."""

    request: web.Request
    context: RequestContext
    principal: Principal
    model: Model
    # One for each choice. Choices that share one, next to each other, differ in their seeds only.
    calls: list[runner_pb2.GenerateCall]
    # How many prompts the choices belong to.
    prompts: int = 1
    # How many times the price is charged.
    quantity: int = 1
    # What the runner must be able to do beyond the model's plain work.
    capabilities: tuple[str, ...] = ()
    # What pays for it in place of the principal's credits.
    payment: Payment | None = None


class PaidPath:
    """Opens a reply to each order.

    `monotonic` counts seconds and never goes back. Without `receipts` none is signed. Without `wallets`, accounts pay
    for everything.
    """

    def __init__(
        self,
        mesh: Mesh,
        settings: EdgeSettings,
        monotonic: Callable[[], float],
        receipts: ReceiptIssuer | None = None,
        wallets: Wallets | None = None,
    ) -> None:
        self._wallets = wallets
        self._mesh = mesh
        self._settings = settings
        self._monotonic = monotonic
        self._receipts = receipts
        # Of the requests in progress, for an edge that stops.
        self.cut_off = CutOff()
        # The models whose requests wait for a slot or are refused one, as far as this edge has been told.
        self._crowded: set[str] = set()

    def find_model(self, name: str, kind: Kind, principal: Principal) -> Model:
        """Returns the model that a request names; raises MeshError if it does not exist, fit or belong to the key."""
        model = find_model(self._mesh.catalog, name)
        if model.kind != kind:
            message = f"{model.id} is a model of kind {model.kind}: use it with {_URLS[model.kind]}."
            raise MeshError(Code.INVALID_REQUEST, message, param="model")
        check_model(principal, model)
        return model

    def open(self, order: Order) -> OpenOrder:
        """Places and pays for an order and starts its calls; raises MeshError, with nothing charged, if it cannot.

        Use as `async with`, which gives the `Delivery`.
        """
        if self._wallets is not None:
            order = self._wallets.accept(order)
        return OpenOrder(
            *(order, self._mesh, self._settings, self._monotonic, self.cut_off, self._crowded),
            *(self._receipts, self._wallets),
        )


class OpenOrder:
    """An order between its beginning and its end.

    It is a class, because every request passes here: an asynchronous generator costs several times as much.
    """

    def __init__(
        self,
        order: Order,
        mesh: Mesh,
        settings: EdgeSettings,
        monotonic: Callable[[], float],
        cut_off: CutOff,
        crowded: set[str],
        receipts: ReceiptIssuer | None,
        wallets: Wallets | None,
    ) -> None:
        self._order = order
        self._wallets = wallets
        self._mesh = mesh
        self._settings = settings
        self._monotonic = monotonic
        self._cut_off = cut_off
        self._crowded = crowded
        self._receipts = receipts
        self._generation = self._new_generation()
        # None before the price is held.
        self._charge: Charge | None = None
        # The search for a place that goes on beside the hold.
        self._placing: asyncio.Task[Assignment] | None = None
        # A place that was found before the price is held.
        self._unused: Assignment | None = None
        # When the last stage began and ended that its overhead counts, on the monotonic clock.
        self._noted = (0.0, 0.0)

    @property
    def account_id(self) -> str:
        """Who pays: the account of the key, or of the wallet."""
        return self._order.principal.account_id

    async def __aenter__(self) -> Delivery:
        order, generation = self._order, self._generation
        order.context.model = order.model.id
        if order.model.kind == "chat":
            for call in order.calls:
                call.cache_scope = cache_scope(order.principal.account_id)
        try:
            with self._cut_off.while_waiting():
                charge, assignment = await self._pay_and_place()
            charge.start(order.calls, assignment, begin_generation(order.context, order.model, order.calls))
            self._cut_off.add(generation.fail)
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise
        return self._delivery(charge)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._cut_off.remove(self._generation.fail)
            if self._placing is not None:
                self._withdraw(self._placing)
            if self._unused is not None:
                self._give_back(self._unused)
            if error is not None and self._charge is not None:
                await self._charge.__aexit__(kind, error, trace)
        finally:
            # What serves a request refers to itself, and so is there until the garbage collector comes, long after.
            self._generation.forget()
            self._order.calls.clear()

    async def _pay_and_place(self) -> tuple[Charge, Assignment]:
        """Holds the price of the order and finds its runner, at the same time if no slot has to be waited for."""
        order = self._order
        key = idempotency_key(order.request.headers, order.principal.account_id)
        if order.payment is not None:
            # A payment that does not pay must not wait for a slot.
            payment = await order.payment.claim(order, key)
            begin = partial(payment.begin, self._generation.fail)
            charge = self._begin_charge(payment, begin if order.quantity == 1 and not order.calls[0].whole else None)
            return charge, await self._place()
        if order.model.id in self._crowded or not self._mesh.available_models[order.model.id]:
            if key:
                # A repeat must not wait for a slot, perhaps the very one that the first request has, to be told that it
                # is a repeat.
                return self._begin_charge(await self._reserve(key)), await self._place()
            # What waits holds no money.
            assignment = self._unused = await self._place()
            charge = self._begin_charge(await self._reserve(""))
            self._unused = None
            return charge, assignment
        placing = self._placing = asyncio.get_running_loop().create_task(self._place())
        # The refusal to pay counts for more than that of a place, and comes without waiting for one.
        charge = self._begin_charge(await self._reserve(key))
        if not placing.done():
            self._crowded.add(order.model.id)
        assignment = await placing
        self._placing = None
        return charge, assignment

    def _withdraw(self, placing: asyncio.Task[Assignment]) -> None:
        """Gives up a place that nobody will use. One that is being told of is waited for, to be given back."""
        asyncio.get_running_loop().call_later(_PLACE_UNDER_WAY, placing.cancel)
        placing.add_done_callback(self._on_withdrawn)

    def _on_withdrawn(self, placing: asyncio.Task[Assignment]) -> None:
        if not placing.cancelled() and placing.exception() is None:
            self._give_back(placing.result())

    def _give_back(self, place: Assignment) -> None:
        unused = router_pb2.Attempt(runner_id=place.runner_id, result=router_pb2.Attempt.RESULT_UNUSED)
        self._mesh.placer.report(unused, self._order.context.request_id)

    def _begin_charge(self, hold: AnyHold, on_output: Callable[[], None] | None = None) -> Charge:
        """Lets the hold end with the order, however that ends."""
        order = self._order
        charge = self._charge = Charge(
            self._generation,
            hold,
            order.context,
            self._monotonic,
            client_left=lambda: _has_left(order.request),
            by_piece=order.quantity > 1,
            on_output=on_output,
            while_waiting=self._cut_off.while_waiting,
        )
        return charge

    async def _reserve(self, key: str) -> Hold:
        order, began = self._order, self._monotonic()
        try:
            with step(order.context.trace, "reserve") as span:
                hold = await self._mesh.billing.reserve(
                    order.context.request_id,
                    order.principal,
                    order.model.id,
                    quantity=order.quantity,
                    idempotency_key=key,
                    trace=context_of(span),
                )
        except MeshError as error:
            order.context.placing = False
            if self._wallets is None or error.code is not Code.INSUFFICIENT_CREDITS:
                raise
            raise self._wallets.offer(order, error) from error
        self._note(RESERVE, began)
        return hold

    async def _place(self) -> Assignment:
        order = self._order
        # The first request to a tier that is scaled to zero waits for its runner.
        timeout = max(self._settings.queue_timeout, order.model.cold_start_seconds)
        began, order.context.placing = self._monotonic(), True
        try:
            with step(order.context.trace, "place") as span:
                assignment = await self._mesh.placer.place(
                    order.model,
                    order.principal.account_id,
                    timeout,
                    capabilities=order.capabilities,
                    prefix_hashes=self._prefix_hashes(),
                    request_id=order.context.request_id,
                    trace=context_of(span),
                )
        except MeshError:
            self._crowded.add(order.model.id)
            raise
        order.context.placing = False
        (self._crowded.add if assignment.waited > 0 else self._crowded.discard)(order.model.id)
        # Waiting for a free slot is no overhead: the router has a metric for that.
        self._note(PLACE, began, assignment.waited)
        return assignment

    def _note(self, stage: Sum, began: float, waited: float = 0.0) -> None:
        """Counts a stage that has ended. What two stages take at the same time is added once."""
        seconds = max(0.0, self._monotonic() - began - waited)
        stage.observe(seconds)
        first, last = self._noted
        self._order.context.overhead += seconds - max(0.0, min(last, began + seconds) - max(first, began))
        self._noted = began, began + seconds

    def _prefix_hashes(self) -> Sequence[int]:
        """Returns what tells the router where the order's prompt is warm; of several prompts, the first counts."""
        order = self._order
        if order.model.kind != "chat" or not self._mesh.available_models.has_choice(order.model.id):
            return ()
        return prefix_hashes(order.principal.account_id, order.calls[0])

    def _delivery(self, charge: Charge) -> Delivery:
        order, monotonic = self._order, self._monotonic
        return Delivery(
            request=order.request,
            headers=order.context.headers,
            model=order.model,
            charge=charge,
            choices=len(order.calls),
            prompts=order.prompts,
            elapsed=lambda: monotonic() - order.context.arrived,
            max_unread_bytes=self._settings.max_unread_bytes,
            keep_alive_seconds=self._settings.keep_alive_seconds,
            gathering=self._mesh.gathering,
            open_receipt=self._open_receipt(charge),
        )

    def _open_receipt(self, charge: Charge) -> OpenReceipt | None:
        if self._receipts is None:
            return None
        order = self._order
        digest = order.request[BODY].digest
        purchase = Purchase(
            request_id=order.context.request_id,
            model=order.model.id,
            unit_price=charge.held // order.quantity,
            quantity=order.quantity,
            request_sha256=digest.hexdigest() if digest is not None else "",
        )
        return self._receipts.begin(purchase)

    def _new_generation(self) -> Generation:
        order = self._order
        return Generation(
            model=order.model,
            account_id=order.principal.account_id,
            capabilities=order.capabilities,
            placer=self._mesh.placer,
            runners=self._mesh.runners,
            progress=self._mesh.progress,
            queue_timeout=self._settings.queue_timeout,
            request_timeout=self._settings.request_timeout,
            deadline=order.context.arrived + self._settings.request_timeout,
            clock=self._monotonic,
        )


def _has_left(request: web.Request) -> bool:
    """Tells whether the connection of a request is gone: aiohttp cancels handlers when it stops, too."""
    return request.transport is None or request.transport.is_closing()


def find_model(catalog: Catalog, name: str) -> Model:
    """Returns the model of this id or alias; raises MeshError MODEL_NOT_FOUND, naming those that exist."""
    model = catalog.get(name)
    if model is None:
        known = ", ".join(model.id for model in catalog.models)
        message = f"The model {name[:100]!r} does not exist. Available models: {known}."
        raise MeshError(Code.MODEL_NOT_FOUND, message, param="model")
    return model
