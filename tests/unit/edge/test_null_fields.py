"""Null means the same as leaving a field out, at every place of every body."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest
from msgspec import Struct, inspect

from services.edge.account.keys import CreateKeyBody
from services.edge.chat.request import ChatBody
from services.edge.completions.request import CompletionBody
from services.edge.embeddings.request import EmbeddingsBody
from services.edge.images.request import ImageBody
from services.edge.messages.request import MessagesBody
from services.edge.responses.request import ResponsesBody
from services.edge.speech.request import SpeechBody
from services.edge.token_counts.request import TokenizeBody

BODIES: list[type[Struct]] = [
    ChatBody, CompletionBody, CreateKeyBody, EmbeddingsBody, ImageBody, MessagesBody, ResponsesBody, SpeechBody,
    TokenizeBody,
]  # fmt: skip


def structs(kind: inspect.Type) -> Iterator[type[Struct]]:
    """Yields the types of objects in a type."""
    if isinstance(kind, inspect.StructType):
        yield kind.cls
        for field in kind.fields:
            yield from structs(field.type)
    elif isinstance(kind, inspect.UnionType):
        for variant in kind.types:
            yield from structs(variant)
    elif isinstance(kind, inspect.ListType):
        yield from structs(kind.item_type)
    elif isinstance(kind, inspect.DictType):
        yield from structs(kind.value_type)


FIELDS = {
    (kind, field.encode_name): field.type
    for body in BODIES
    for kind in structs(inspect.type_info(body))
    for field in msgspec.inspect.type_info(kind).fields  # type: ignore[attr-defined] # of a struct
    if not field.required
}


@pytest.mark.parametrize(("kind", "name"), FIELDS, ids=lambda part: part if isinstance(part, str) else part.__name__)
def test_an_optional_field_may_be_null(kind: type[Struct], name: str) -> None:
    variants = FIELDS[kind, name]
    types = variants.types if isinstance(variants, inspect.UnionType) else (variants,)
    assert any(isinstance(one, inspect.NoneType | inspect.AnyType) for one in types)
    assert len(FIELDS) > 80
