from __future__ import annotations

import pytest

from services.auth.labels import check_label, new_id
from services.common.errors import Code, MeshError


@pytest.mark.parametrize("name", ["", "my laptop", "Prüfstand №5", "x" * 200])
def test_labels_for_people_are_taken(name: str) -> None:
    check_label(name)


@pytest.mark.parametrize(("name", "words"), [("x" * 201, "at most 200"), ("two\nlines", "control"), ("\0", "control")])
def test_other_labels_are_refused_with_the_field(name: str, words: str) -> None:
    with pytest.raises(MeshError, match=words) as caught:
        check_label(name)
    assert (caught.value.code, caught.value.param) == (Code.INVALID_REQUEST, "name")


def test_ids_say_what_they_are_of() -> None:
    assert new_id("acct", lambda count: bytes(range(count))) == "acct_000102030405060708090a0b"
    assert new_id("key") != new_id("key")
