"""The life of a payment: claimed before any work, settled once there is output, released if there is none."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from services.common.errors import Code, MeshError
from services.common.telemetry.logs import get_logger
from services.payments.chain.json_rpc import RpcError
from services.payments.chain.settlement_node import Position, SettlementNode
from services.payments.chain.transactions import Signed
from services.payments.x402.authorization import Authorization, AuthorizationCheck, not_paid
from services.payments.x402.books import Books
from tiermesh.billing.v1 import wallet_payments_pb2 as proto

log = get_logger()

# How a payment may fail without anybody's mistake.
_TOLD = frozenset({Code.INSUFFICIENT_CREDITS, Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED})


class Sender(Protocol):
    """Brings payments to the chain: `Relayer`, or `Facilitator`."""

    async def write_down(self, request_id: str, authorization: Authorization) -> Signed:
        """Has billing keep that a payment is sent, before it is; raises MeshError and RpcError."""

    async def follow(self, payment: proto.WalletPayment, raw: str, tx_hash: str) -> str:
        """Returns the transaction that has moved the tokens; raises MeshError if none does."""


class Settlements:
    """Every method raises MeshError. What was begun goes on when its caller has left."""

    def __init__(
        self,
        check: AuthorizationCheck,
        node: SettlementNode,
        books: Books,
        sender: Sender,
        chain_id: int,
        verify: Callable[[Authorization], Awaitable[None]] | None = None,
    ) -> None:
        """`verify` raises MeshError for a payment that somebody else would not send."""
        self._check = check
        self._node = node
        self._books = books
        self._sender = sender
        self._verify = verify
        self._chain_id = chain_id
        # By request.
        self._tasks: dict[str, asyncio.Task[str]] = {}

    async def claim(
        self,
        request_id: str,
        given: Authorization,
        *,
        model: str,
        quantity: int,
        atomic: int,
        idempotency_key: str,
    ) -> bool:
        """Takes a payment for a request, durably; raises INSUFFICIENT_CREDITS if it does not pay.

        Returns whether the balance of the wallet pays, so that nothing is to be sent. Raises CONFLICT if the wallet
        pays for the request already, and UNAVAILABLE if the chain cannot be asked.
        """
        self._check.check(given, atomic)
        position: Position | None = None
        try:
            position = await self._position(given)
            refusal = _refused(position, atomic)
        except MeshError as error:
            # A balance does not need the chain.
            refusal = error
        if position is not None and position.used:
            raise refusal
        if self._verify is not None and position is not None and position.settles:
            await self._verify(given)
        try:
            claimed = await self._books.claim(
                request_id,
                given,
                account_id=f"wallet:eip155:{self._chain_id}:{given.payer}",
                model=model,
                quantity=quantity,
                idempotency_key=idempotency_key,
                from_block=position.block if position is not None else 0,
                balance_only=position is None or not position.settles,
            )
        except MeshError as error:
            raise refusal if error.code is Code.INSUFFICIENT_CREDITS else _claim_error(error) from error
        if claimed.covered or position is None:
            return claimed.covered
        if claimed.outstanding_atomic > position.balance:
            # Each of its payments would go through alone.
            await self._books.end(request_id, proto.WALLET_PAYMENT_STATE_RELEASED)
            raise not_paid("and others of this wallet in progress are more than it has. Add tokens to the wallet")
        return False

    async def settle(self, request_id: str, given: Authorization) -> str:
        """Moves the tokens of a claimed payment; returns the transaction once they have moved and the price is held."""
        return await asyncio.shield(self._begin(request_id, given))

    async def release(self, request_id: str) -> None:
        """Gives up a payment that was not sent to the chain."""
        try:
            await self._books.end(request_id, proto.WALLET_PAYMENT_STATE_RELEASED)
        except MeshError as error:
            # One that has moved on is settled, or fails, by itself. One that never was claimed needs nothing.
            if error.code not in {Code.CONFLICT, Code.NOT_FOUND}:
                raise

    def resume(self, payment: proto.WalletPayment) -> None:
        """Goes on with a payment whose transaction was written down, if nobody here does."""
        self._begin(payment.request_id, None)

    @property
    def in_progress(self) -> int:
        """How many payments this process sends to the chain."""
        return len(self._tasks)

    def _begin(self, request_id: str, given: Authorization | None) -> asyncio.Task[str]:
        task = self._tasks.get(request_id)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._settle(request_id, given))
            self._tasks[request_id] = task
            task.add_done_callback(lambda done: self._end(request_id, done))
        return task

    def _end(self, request_id: str, task: asyncio.Task[str]) -> None:
        del self._tasks[request_id]
        # Nobody may be waiting for it any more.
        error = None if task.cancelled() else task.exception()
        if isinstance(error, MeshError) and error.code in _TOLD:
            log.info("payment_not_settled", request_id=request_id, reason=error.message)
        elif error is not None:
            log.error("settlement_failed", request_id=request_id, reason=str(error), exc_info=error)

    async def _settle(self, request_id: str, given: Authorization | None) -> str:
        payment = await self._books.find(request_id)
        if payment.state == proto.WALLET_PAYMENT_STATE_SETTLED:
            return payment.tx_hash
        if payment.state == proto.WALLET_PAYMENT_STATE_SENT:
            return await self._sender.follow(payment, payment.raw_transaction, payment.tx_hash)
        if payment.state != proto.WALLET_PAYMENT_STATE_CLAIMED:
            raise not_paid("has ended without a transfer. Sign a new one")
        if given is None or (given.payer, given.nonce) != (payment.payer, payment.nonce):
            raise MeshError(Code.INVALID_REQUEST, "The authorization is not the one that was claimed.")
        return await self._send(payment, given)

    async def _send(self, payment: proto.WalletPayment, given: Authorization) -> str:
        self._check.check(given, payment.atomic)
        position = await self._position(given)
        if not position.settles:
            # It would only cost gas. Somebody else may have sent the very authorization meanwhile.
            return await self._settled_by_others(payment, position)
        try:
            signed = await self._sender.write_down(payment.request_id, given)
        except RpcError as error:
            raise _node_away() from error
        except MeshError as error:
            if error.code is Code.CONFLICT and error.param == "state":
                # Another process was faster.
                return await self._settle(payment.request_id, None)
            raise
        return await self._sender.follow(payment, signed.raw, signed.tx_hash)

    async def _settled_by_others(self, payment: proto.WalletPayment, position: Position) -> str:
        terms = payment.payer, payment.nonce, payment.pay_to, payment.atomic
        try:
            transfer = await self._node.transfer_by(*terms, payment.from_block) if position.used else None
        except RpcError as error:
            raise _node_away() from error
        if transfer is None:
            await self._books.end(payment.request_id, proto.WALLET_PAYMENT_STATE_FAILED)
            raise _refused(position, payment.atomic)
        await self._books.settle(payment.request_id, transfer)
        return transfer.tx_hash

    async def _position(self, given: Authorization) -> Position:
        try:
            return await self._node.position(given.payer, given.nonce, given.call())
        except RpcError as error:
            raise _node_away() from error


def _refused(position: Position, atomic: int) -> MeshError:
    if position.used:
        return not_paid("was used or cancelled before. Sign a new one, with another nonce")
    if position.balance < atomic:
        return not_paid("is more than the wallet has. Add tokens to the wallet")
    return not_paid("is refused by the token's contract. Ask the token's issuer whether the wallet is blocked")


def _claim_error(error: MeshError) -> MeshError:
    if error.code is Code.CONFLICT and error.param == "nonce":
        return not_paid("was used for a request before. Sign a new one, with another nonce")
    if error.code is Code.CONFLICT and error.param == "atomic":
        return not_paid("is not the price of this request any more. Sign these terms")
    if error.code in {Code.CONFLICT, Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED}:
        return error
    log.error("claim_refused", code=error.code.name, reason=error.message)
    return MeshError(Code.INTERNAL, "Payments are not set up correctly. Tell the operator of this service.")


def _node_away() -> MeshError:
    message = "Payments are not possible now: the chain cannot be reached. Try again shortly, or use an API key."
    return MeshError(Code.UNAVAILABLE, message, retry_after=5.0)
