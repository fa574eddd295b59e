from __future__ import annotations

import pytest

from services.common.errors import Code, MeshError
from services.console.http.forms import Form, form_token, is_form_token


def test_a_token_belongs_to_one_cookie() -> None:
    token = form_token("a")
    assert is_form_token(token, "a")
    assert not is_form_token(token, "b")
    assert not is_form_token("", "a")
    assert not is_form_token("é", "a")
    # Without a cookie there is no token, not even the one that everybody can compute.
    assert not is_form_token(form_token(""), "")


def test_a_missing_field_is_an_empty_one() -> None:
    form = Form({"name": [" Zoë "], "model": ["a", "b"]})
    assert (form.text("name"), form.text("other")) == ("Zoë", "")
    assert (list(form.texts("model")), list(form.texts("other"))) == (["a", "b"], [])


@pytest.mark.parametrize(("text", "number"), [("", None), ("0", 0), ("60", 60), ("007", 7), ("100", 100)])
def test_numbers_are_read(text: str, number: int | None) -> None:
    assert Form({"n": [text]}).number("n", "The number", 100) == number


@pytest.mark.parametrize("text", ["101", "-1", "1.5", "1e3", "1_000", "٣", "²", "9" * 5000, "x", "1 0"])
def test_what_is_no_number_in_bounds_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(MeshError) as caught:
        Form({"n": [text]}).number("n", "The number", 100)
    assert (caught.value.code, caught.value.param) == (Code.INVALID_REQUEST, "n")
    assert caught.value.message == "The number must be a whole number from 0 to 100."
