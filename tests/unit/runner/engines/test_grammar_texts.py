"""Grammars are written without forced texts exactly where an answer may spell a control token."""

from __future__ import annotations

import json
from typing import Any

import pytest

from services.runner.engines.grammar_texts import GrammarTexts

TEXTS = GrammarTexts(["<|im_end|>", "[INST]", "</s>", ""])


def unforced(schema: Any) -> bool:
    grammar = f"%llguidance {{}}\nstart: %json {json.dumps(schema)}\n"
    written = TEXTS.unforced(grammar)
    assert written.replace(' {"no_forcing": true}', " {}", 1) == grammar
    return written != grammar


@pytest.mark.parametrize(
    "schema",
    [
        {"enum": ["<|im_end|>"]},
        {"const": {"a": ["x</s>y"]}},
        {"properties": {"[INST]": True}},
        {"pattern": "^<\\|im_end\\|>$"},
        {"pattern": "^[<][|]im_end[|]>$"},
        {"pattern": "^\\x3c.im_end"},
        {"patternProperties": {"^\\[INST\\]$": True}},
    ],
)
def test_a_text_that_may_be_spelled(schema: dict[str, Any]) -> None:
    assert unforced(schema)


@pytest.mark.parametrize(
    "schema",
    [{"enum": ["<|im_start|>"]}, {"properties": {"INST": True}}, {"pattern": "^[a-z]{2,5}$"}, {"type": "string"}],
)
def test_other_texts_stay_forced(schema: dict[str, Any]) -> None:
    assert not unforced(schema)


def test_the_grammar_of_a_client_may_put_any_text_together() -> None:
    grammar = '%llguidance {}\nstart: %lark {\nstart: "<|im" T_END\nT_END: "_end|>"\n}\n'
    assert TEXTS.unforced(grammar) == grammar.replace(" {}", ' {"no_forcing": true}', 1)
    assert GrammarTexts([]).unforced(grammar) == grammar
