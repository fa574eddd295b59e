"""What a question becomes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from services.common.errors import Code, MeshError
from services.console.http.forms import Form
from services.console.playground.question import Question, chat_request, question_of, read_question

HELLO = [{"role": "user", "content": "hi"}]


def request(*, stream: bool = False, **fields: Any) -> Any:
    return json.loads(chat_request(Question(model="m", messages=HELLO, **fields), stream=stream))


def test_a_question_is_a_request_of_the_api() -> None:
    assert request() == {"model": "m", "messages": HELLO}
    assert request(stream=True) == {**request(), "stream": True, "stream_options": {"include_usage": True}}
    whole = request(system="Be brief.", tools='[{"type": "function"}]', max_tokens=" 7 ")
    assert whole == {
        "model": "m",
        "messages": [{"role": "system", "content": "Be brief."}, *HELLO],
        "tools": [{"type": "function"}],
        "max_completion_tokens": 7,
    }


def test_a_form_has_one_message() -> None:
    form = Form({"model": ["m"], "message": [" hi "], "system": [""], "max_tokens": ["5"]})
    assert question_of(form) == Question(model="m", messages=HELLO, max_tokens="5")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": "{}"}, "tools"),
        ({"tools": "[" * 100_000}, "tools"),
        ({"tools": "nonsense"}, "tools"),
        *(({"max_tokens": text}, "max_tokens") for text in ("0", "-1", "1e3", "9" * 11, "٣", "many")),
    ],
)
def test_options_that_are_none_are_refused(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(MeshError) as caught:
        request(**fields)
    assert (caught.value.code, caught.value.param) == (Code.INVALID_REQUEST, param)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"model": "m", "messages": HELLO}', b"[" * 100_000, b'{"x": 1}'])
def test_what_no_page_of_ours_sends_is_refused_without_being_repeated(body: bytes) -> None:
    with pytest.raises(MeshError) as caught:
        read_question(body)
    assert caught.value.message == "The question could not be read. Reload the page and try again."
