"""What several endpoints take in: a text or a list of texts, the tokens of one text or a list of such lists."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import Meta

from services.edge.http.parsing import invalid

TokenId = Annotated[int, Meta(ge=0, le=2**32 - 1)]
# A text, or its tokens.
TextInput: TypeAlias = str | list[int]
# Types cannot say that all of a list must be alike; `split_inputs` does.
TextInputs: TypeAlias = str | Annotated[list[str | TokenId | list[TokenId]], Meta(min_length=1)]


def split_inputs(given: TextInputs, param: str) -> list[TextInput]:
    """Returns the inputs one by one; raises MeshError INVALID_REQUEST if they are mixed or one of them is empty."""
    inputs = _split(given, param)
    if not all(inputs):
        raise invalid(param, f"'{param}' must not hold anything empty; send some text or tokens.")
    return inputs


def _split(given: TextInputs, param: str) -> list[TextInput]:
    if isinstance(given, str):
        return [given]
    tokens = [item for item in given if isinstance(item, int)]
    if len(tokens) == len(given):
        return [tokens]
    texts = [item for item in given if isinstance(item, str)]
    if len(texts) == len(given):
        return [*texts]
    lists = [item for item in given if isinstance(item, list)]
    if len(lists) == len(given):
        return [*lists]
    raise invalid(param, f"'{param}' must hold texts only, token ids only, or lists of token ids only.")
