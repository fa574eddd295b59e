"""Errors of unary calls, over a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest

from services.common.errors import Code, MeshError
from services.common.rpc.interceptors import ErrorInterceptor, call_unary
from tiermesh.auth.v1 import auth_pb2, auth_pb2_grpc

Behaviour = Callable[["grpc.aio.ServicerContext[Any, Any]"], Any]


class Service:
    """An rpc that does what the test says."""

    behaviour: Behaviour

    async def create_account(self, _: auth_pb2.CreateAccountRequest, context: Any) -> Any:
        return await self.behaviour(context)


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
async def stub(service: Service) -> AsyncIterator[auth_pb2_grpc.AuthServiceAsyncStub]:
    server = grpc.aio.server(interceptors=(ErrorInterceptor(),))
    handler = grpc.unary_unary_rpc_method_handler(
        service.create_account,
        request_deserializer=auth_pb2.CreateAccountRequest.FromString,
        response_serializer=auth_pb2.CreateAccountResponse.SerializeToString,
    )
    name = "tiermesh.auth.v1.AuthService"
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, {"CreateAccount": handler}),))
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    async with grpc.aio.insecure_channel(address) as channel:
        yield auth_pb2_grpc.AuthServiceStub(channel)
    await server.stop(None)


async def failure(stub: auth_pb2_grpc.AuthServiceAsyncStub, timeout: float = 5.0) -> MeshError:
    with pytest.raises(MeshError) as caught:
        await call_unary(stub.CreateAccount(auth_pb2.CreateAccountRequest(name="x"), timeout=timeout))
    return caught.value


def raising(error: Exception) -> Behaviour:
    async def behaviour(_: Any) -> None:
        raise error

    return behaviour


async def test_an_answer_passes_unchanged(service: Service, stub: auth_pb2_grpc.AuthServiceAsyncStub) -> None:
    async def behaviour(_: Any) -> auth_pb2.CreateAccountResponse:
        return auth_pb2.CreateAccountResponse(account=auth_pb2.Account(id="acct_1"))

    service.behaviour = behaviour
    answer = await call_unary(stub.CreateAccount(auth_pb2.CreateAccountRequest()))
    assert answer.account.id == "acct_1"


async def test_a_mesh_error_arrives_whole(service: Service, stub: auth_pb2_grpc.AuthServiceAsyncStub) -> None:
    service.behaviour = raising(MeshError(Code.CONFLICT, "the name is taken: é, 名", param="name", retry_after=2.0))
    error = await failure(stub)
    assert (error.code, error.message) == (Code.CONFLICT, "the name is taken: é, 名")
    assert (error.param, error.retry_after) == ("name", 2.0)


async def test_tools_that_know_only_grpc_see_status_and_text(
    service: Service, stub: auth_pb2_grpc.AuthServiceAsyncStub
) -> None:
    service.behaviour = raising(MeshError(Code.NOT_FOUND, "no such account"))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.CreateAccount(auth_pb2.CreateAccountRequest())
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.NOT_FOUND, "no such account")


async def test_a_long_message_still_arrives(service: Service, stub: auth_pb2_grpc.AuthServiceAsyncStub) -> None:
    service.behaviour = raising(MeshError(Code.INVALID_REQUEST, "é" * 20_000))
    error = await failure(stub)
    assert error.code is Code.INVALID_REQUEST
    assert error.message.startswith("é" * 500)


async def test_any_other_exception_is_hidden(service: Service, stub: auth_pb2_grpc.AuthServiceAsyncStub) -> None:
    service.behaviour = raising(ValueError("sk-secret"))
    error = await failure(stub)
    assert error.code is Code.INTERNAL
    assert "secret" not in error.message


async def test_an_abort_of_the_method_itself_passes(service: Service, stub: auth_pb2_grpc.AuthServiceAsyncStub) -> None:
    async def behaviour(context: grpc.aio.ServicerContext[Any, Any]) -> None:
        await context.abort(grpc.StatusCode.UNAVAILABLE, "not now")

    service.behaviour = behaviour
    assert (await failure(stub)).code is Code.UNAVAILABLE


async def test_a_deadline_is_a_mesh_error_too(service: Service, stub: auth_pb2_grpc.AuthServiceAsyncStub) -> None:
    async def behaviour(context: grpc.aio.ServicerContext[Any, Any]) -> None:
        await asyncio.Event().wait()

    service.behaviour = behaviour
    assert (await failure(stub, timeout=0.1)).code is Code.DEADLINE_EXCEEDED


async def test_a_method_of_a_newer_version_is_an_internal_error(stub: auth_pb2_grpc.AuthServiceAsyncStub) -> None:
    with pytest.raises(MeshError, match="UNIMPLEMENTED") as caught:
        await call_unary(stub.ListKeys(auth_pb2.ListKeysRequest()))
    assert caught.value.code is Code.INTERNAL


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
        error = await failure(auth_pb2_grpc.AuthServiceStub(channel))
    assert error.code is Code.UNAVAILABLE
