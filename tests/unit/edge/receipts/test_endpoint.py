"""The keys that receipts are checked with can be kept for a while, and asked for again at little cost."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from services.common.receipts.signing import ReceiptSigner
from services.common.receipts.signing_keys import SigningKeys, new_key
from services.common.settings import SettingsError
from services.edge.http.errors import error_response
from services.edge.receipts.configured import receipt_issuer
from services.edge.receipts.endpoint import EXAMPLE, ReceiptKeys
from services.edge.receipts.issuing import ReceiptIssuer
from services.edge.settings import EdgeSettings

KEYS = SigningKeys([new_key(), new_key().public])
SIGNER = ReceiptSigner(KEYS)
Client = TestClient[web.Request, web.Application]


def serving(issuer: ReceiptIssuer | None) -> Client:
    keys = ReceiptKeys(issuer)
    app = web.Application()
    app.router.add_get("/", keys.serve)
    return TestClient(TestServer(app))


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with serving(ReceiptIssuer(SIGNER.sign, SIGNER.key_set, lambda: 0.0)) as client:
        yield client


async def test_the_keys_may_be_kept_for_five_minutes(client: Client) -> None:
    async with client.get("/") as response:
        assert response.status == 200
        assert response.content_type == "application/json"
        assert response.headers["Cache-Control"] == "public, max-age=300"
        assert [key["kid"] for key in (await response.json())["keys"]] == [key.kid for key in KEYS.keys]
        assert all("d" not in key for key in (await response.json())["keys"])


async def test_keys_that_have_not_changed_are_not_sent_again(client: Client) -> None:
    async with client.get("/") as response:
        tag = response.headers["ETag"]
    for known in (tag, f'"other", {tag}', "*"):
        async with client.get("/", headers={"If-None-Match": known}) as response:
            assert (response.status, await response.read()) == (304, b"")
            assert response.headers["ETag"] == tag
            assert response.headers["Cache-Control"] == "public, max-age=300"
    async with client.get("/", headers={"If-None-Match": '"other"'}) as response:
        assert response.status == 200


async def test_without_keys_there_is_nothing_to_check_with() -> None:
    keys = ReceiptKeys(None)

    async def serve(request: web.Request) -> web.Response:
        from services.common.errors import MeshError

        try:
            return await keys.serve(request)
        except MeshError as error:
            return error_response(error)

    app = web.Application()
    app.router.add_get("/", serve)
    async with TestClient(TestServer(app)) as client, client.get("/") as response:
        assert response.status == 404
        assert (await response.json())["error"]["message"].startswith("This service does not sign receipts")


def test_the_example_of_the_document_has_the_fields_of_a_key() -> None:
    (example,) = EXAMPLE.keys
    published = json.loads(SIGNER.key_set)["keys"][0]
    assert sorted(published) == sorted(example.__struct_fields__)


def test_wrong_keys_keep_the_edge_from_starting() -> None:
    assert receipt_issuer(EdgeSettings(), lambda: 0.0) is None
    with pytest.raises(SettingsError, match="TIERMESH_EDGE_RECEIPT_KEYS is wrong: the keys must be"):
        receipt_issuer(EdgeSettings(receipt_keys="secret"), lambda: 0.0)
