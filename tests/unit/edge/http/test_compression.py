"""Only large JSON bodies are compressed, and only for clients that want them so."""

from __future__ import annotations

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from services.common.errors import MeshError
from services.edge.http.compression import check_encoding, compress

LARGE = b"[" + b" " * 20_000 + b"]"


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [("gzip", True), ("br, GZIP;q=0.5", True), ("gzip;q=0", False), ("gzip; q=0.0", False), ("br", False), ("", False)],
)
def test_the_client_decides(accepted: str, *, packed: bool) -> None:
    response = web.Response(body=LARGE, content_type="application/json")
    compress(make_mocked_request("GET", "/", {"Accept-Encoding": accepted}), response)
    assert response.compression is packed
    assert response.headers["Vary"] == "Accept-Encoding"


@pytest.mark.parametrize(("body", "content_type"), [(b"{}", "application/json"), (LARGE, "audio/mpeg")])
def test_what_is_small_or_no_json_stays_as_it_is(body: bytes, content_type: str) -> None:
    response = web.Response(body=body, content_type=content_type)
    compress(make_mocked_request("GET", "/", {"Accept-Encoding": "gzip"}), response)
    assert not response.compression


def test_unknown_encodings_of_a_request_are_refused() -> None:
    check_encoding(make_mocked_request("POST", "/", {"Content-Encoding": "GZIP"}))
    with pytest.raises(MeshError) as caught:
        check_encoding(make_mocked_request("POST", "/", {"Content-Encoding": "br"}))
    assert caught.value.param == "Content-Encoding"
