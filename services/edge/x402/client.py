"""What the edge asks of the service payments."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

from services.common.errors import Code, MeshError
from services.common.retry.backoff import Backoff
from services.common.rpc.replicas import Replicas
from services.common.telemetry.logs import get_logger
from services.edge.x402.terms import Terms
from tiermesh.payments.v1 import x402_pb2, x402_pb2_grpc

log = get_logger()

# How long to wait before an attempt that failed is made again, and before terms are asked for again, in seconds.
_FIRST_PAUSE, _LONGEST_PAUSE, _TERMS_SECONDS = 0.1, 1.0, 30.0
_AWAY = {Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED}


class PaymentsClient:
    """Claims, settles and releases payments. Times are in seconds; every method raises MeshError."""

    def __init__(
        self,
        replicas: Replicas[x402_pb2_grpc.X402ServiceAsyncStub],
        *,
        settle_timeout: float,
        release_timeout: float,
    ) -> None:
        self._replicas = replicas
        self._settle_timeout = settle_timeout
        self._release_timeout = release_timeout
        self._terms: Terms | None = None
        self._background: set[asyncio.Task[None]] = set()

    @property
    def terms(self) -> Terms:
        """The terms; raises MeshError UNAVAILABLE before payments has told them."""
        if self._terms is None:
            message = "Payments by wallets are not possible now. Try again shortly, or use an API key."
            raise MeshError(Code.UNAVAILABLE, message, retry_after=5.0)
        return self._terms

    async def follow_terms(self) -> None:
        """Asks for the terms now and then, until cancelled."""
        backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        while True:
            try:
                told = await self._replicas.call(lambda stub: stub.GetTerms, x402_pb2.GetTermsRequest())
                self._terms = Terms(
                    *(told.chain_id, told.token, told.token_name, told.token_version, told.pay_to),
                    told.max_timeout_seconds,
                )
                backoff = Backoff(_TERMS_SECONDS, _TERMS_SECONDS)
            except MeshError as error:
                log.debug("terms_unknown", reason=error.message)
            await backoff.pause()

    async def claim(self, asked: x402_pb2.ClaimPaymentRequest) -> bool:
        """Takes a payment for a request, durably; returns whether the balance of the wallet pays."""
        return (await self._replicas.call(lambda stub: stub.ClaimPayment, asked)).covered

    async def settle(self, asked: x402_pb2.SettlePaymentRequest) -> str:
        """Returns the transaction that has moved the tokens, asking again while it is on its way."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._settle_timeout
        backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        while True:
            try:
                return (await self._replicas.call(lambda stub: stub.SettlePayment, asked)).tx_hash
            except MeshError as error:
                if error.code not in _AWAY:
                    raise
                if clock() >= deadline:
                    message = (
                        "The payment did not get through to the chain in time, so the answer could not be completed. "
                        "If it gets through later, it is your wallet's balance. Try again shortly."
                    )
                    raise MeshError(Code.UNAVAILABLE, message, retry_after=5.0) from error
            await backoff.pause()

    def release_later(self, request_id: str) -> None:
        """Gives a payment up, which nobody waits for. One that nobody gives up ends with its authorization."""
        self.later(request_id, self._release(request_id))

    def later(self, request_id: str, work: Coroutine[None, None, None]) -> None:
        """Does something that nobody waits for."""
        task = asyncio.get_running_loop().create_task(self._quietly(request_id, work))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def drain(self, seconds: float) -> None:
        """Waits for what nobody else waits for, at most `seconds`."""
        if self._background:
            await asyncio.wait(self._background, timeout=seconds)

    async def close(self) -> None:
        """Closes the connections."""
        await self._replicas.close()

    async def _release(self, request_id: str) -> None:
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._release_timeout
        backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        asked = x402_pb2.ReleasePaymentRequest(request_id=request_id)
        while True:
            try:
                await self._replicas.call(lambda stub: stub.ReleasePayment, asked)
            except MeshError as error:
                if error.code not in _AWAY or clock() >= deadline:
                    raise
            else:
                return
            await backoff.pause()

    async def _quietly(self, request_id: str, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except MeshError as error:
            log.warning("payment_left", request_id=request_id, error=error.message)
        except Exception:
            # Nobody waits for this task; payments looks after what is left.
            log.exception("payment_left", request_id=request_id)
