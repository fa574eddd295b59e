"""llama.cpp's own build of llguidance says what compiles and what a text follows."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from services.common.errors import Code, MeshError
from services.runner.demonstrations.packaged import find_smollm2
from services.runner.engines.llamacpp.events import EventReader
from services.runner.engines.llamacpp.guidance import Guidance
from services.runner.engines.llamacpp.server import library_path
from services.runner.engines.llamacpp.vocabulary import Vocabulary
from services.runner.kinds.base import FinishReason
from services.runner.kinds.text.job import Job, Sampling, Step
from services.runner.kinds.text.prompt.formats.rules import json_rule

YES = '%llguidance {}\nstart: "yes" | "yesterday"\n'


@pytest.fixture(scope="module")
def guidance() -> Guidance:
    return Guidance(library_path())


def grammar(schema: dict[str, Any]) -> str:
    return f"%llguidance {{}}\nstart: {json_rule(schema)}\n"


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "nonsense"}, "Invalid type: nonsense"),
        # The Python package knows these.
        ({"type": "string", "pattern": "^(^a)$"}, "lookarounds not supported yet"),
        ({"type": "integer", "maximum": -5, "multipleOf": 5}, "NoExtension"),
    ],
)
def test_what_this_build_cannot_compile_is_an_error(guidance: Guidance, schema: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        guidance.follower(grammar(schema))


def test_a_text_is_followed_piece_by_piece(guidance: Guidance) -> None:
    follower = guidance.follower(YES)
    assert follower.take("y")
    assert not follower.may_end()
    assert follower.take("es")
    assert follower.may_end()
    assert follower.take("terday")
    assert follower.may_end()
    assert not follower.take("!")


def test_followers_of_one_grammar_are_apart(guidance: Guidance) -> None:
    first, second = guidance.follower(YES), guidance.follower(YES)
    assert not first.take("no")
    assert second.take("yes")
    assert second.may_end()


def test_a_long_text_costs_no_more_than_a_short_one(guidance: Guidance) -> None:
    follower = guidance.follower(grammar({"type": "string", "pattern": "[0-9]{3}", "maxLength": 1000}))
    text = json.dumps("é" * 997 + "123", ensure_ascii=False)
    assert all(follower.take(character) for character in text)
    assert follower.may_end()


def test_a_library_without_these_functions_is_refused() -> None:
    with pytest.raises(RuntimeError, match="cannot confirm grammars; install the release of xllamacpp"):
        Guidance(msgspec._core.__file__)


class Answer:
    """An answer of llama.cpp with a grammar, told event by event."""

    def __init__(self, guidance: Guidance, **fields: Any) -> None:
        job = Job("request", "prompt", Sampling(), grammar=YES, **fields)
        self._reader = EventReader(job, Vocabulary(find_smollm2()))
        self._reader.follower = guidance.follower(YES)

    def say(self, text: str) -> Step | MeshError | None:
        return self._reader.read(msgspec.json.encode({"__verbose": {"content": text, "tokens_predicted": 1}}))

    def end(self, stop_type: str) -> Step | MeshError | None:
        usage = {"prompt_tokens": 5, "completion_tokens": 2}
        return self._reader.read(
            msgspec.json.encode({"__verbose": {"stop": True, "stop_type": stop_type}, "usage": usage})
        )


def test_a_text_that_leaves_the_grammar_is_an_error(guidance: Guidance) -> None:
    failure = Answer(guidance).say("Sure! yes")
    assert isinstance(failure, MeshError)
    assert failure.code is Code.CANCELLED
    assert "could not keep the required shape" in failure.message


@pytest.mark.parametrize(
    ("said", "stop_type", "finish"),
    [
        ("yes", "eos", FinishReason.STOP),
        ("ye", "limit", FinishReason.LENGTH),
        ("ye", "eos", None),
        ("", "eos", None),
    ],
)
def test_an_answer_ends_where_its_grammar_may_end(
    guidance: Guidance, said: str, stop_type: str, finish: FinishReason | None
) -> None:
    answer = Answer(guidance)
    if said:
        assert isinstance(answer.say(said), Step)
    end = answer.end(stop_type)
    if finish is None:
        assert isinstance(end, MeshError)
        assert end.code is Code.CANCELLED
    else:
        assert isinstance(end, Step)
        assert end.finish_reason is finish
