"""Places in memory for large questions."""

from __future__ import annotations

import pytest
from aiohttp.test_utils import make_mocked_request

from services.common.errors import Code, MeshError
from services.console.http.forms import MOST_BYTES
from services.console.http.uploads import Uploads

LARGE = make_mocked_request("POST", "/", headers={"Content-Length": str(MOST_BYTES + 1)})
SMALL = make_mocked_request("POST", "/", headers={"Content-Length": str(MOST_BYTES)})
UNKNOWN = make_mocked_request("POST", "/", headers={"Transfer-Encoding": "chunked"})


def test_large_questions_are_bounded_for_each_account_and_for_all() -> None:
    uploads = Uploads(most=3, most_of_account=2)
    first, again = uploads.take(LARGE, "a"), uploads.take(UNKNOWN, "a")
    for account in ("a", "b", "c"):
        if account == "b":
            uploads.take(LARGE, "b")
            continue
        with pytest.raises(MeshError) as caught:
            uploads.take(LARGE, account)
        assert (caught.value.code, caught.value.retry_after) == (Code.OVERLOADED, 2.0)
    # A small one needs no place.
    uploads.take(SMALL, "a")()
    # A place is given back once, however often that is said.
    first()
    first()
    uploads.take(LARGE, "c")
    with pytest.raises(MeshError):
        uploads.take(LARGE, "d")
    again()
    uploads.take(LARGE, "a")
