"""Reads streams whose events have names, as the SDK of their protocol does, but strictly."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from services.common.receipts.finding import covered


def read_events(stream: bytes, kind: TypeAdapter[Any]) -> list[Any]:
    """Returns the events of a stream, each valid by a type to the letter and under the name of what it holds."""
    events = []
    for event in covered(stream).split(b"\n\n")[:-1]:
        name, _, content = event.partition(b"\n")
        value = kind.validate_json(content.removeprefix(b"data: "), strict=True)
        assert name == b"event: " + value.type.encode()
        events.append(value)
    return events
