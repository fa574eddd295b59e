"""The families of models that write calls each in its own way, each with a template and answers of its models.

The templates are short ones of our own: they write calls and results with the tags, the white space and the order of
the published template that each names, and leave out what a test does not need.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

# Calls as an answer has them: names with arguments.
Calls = list[tuple[str, dict[str, Any]]]

WEATHER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer"},
        "wind": {"type": "boolean"},
        "hours": {"type": "array", "items": {"type": "number"}},
        "units": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "place": {"$ref": "#/$defs/place"},
    },
    "required": ["city"],
    "$defs": {"place": {"type": "object", "properties": {"lat": {"type": "number"}, "name": {"type": "string"}}}},
}
TIME: dict[str, Any] = {"type": "object", "properties": {}}
FUNCTIONS: dict[str, dict[str, Any]] = {"get_weather": WEATHER, "get_time": TIME}


@dataclass(frozen=True)
class Family:
    """One family."""

    format: str
    template: str
    # What ends the assistant's turn in the template.
    end: str
    # Answers, each with the content and the calls that it is.
    answers: list[tuple[str, str, Calls]]
    # Pieces of answers, for random ones.
    pieces: list[str]
    # Answers that look like calls and are none.
    prose: list[str] = field(default_factory=list)
    # Whether one answer can have several calls.
    parallel: bool = True
    # What the template writes before calls of the past, and no model does.
    opening: str = ""
    # Control tokens that have no text on an engine.
    hidden: tuple[str, ...] = ()
    # The calls of test_forced_calls_as_models_write_them, where the grammar has another form than the template.
    forced: tuple[str, ...] = ()
    # An answer with a thought, and the thought, content and calls that it is.
    thought: tuple[str, str, str, Calls] = ("<think>\nSo it is.\n</think>\n\nYes.", "So it is.", "Yes.", [])
