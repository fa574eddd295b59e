"""Refuses, with one sentence each, the files that llama.cpp or this runner cannot serve.

llama.cpp itself ends the whole process for some of them, and says what is wrong only in a log.
"""

from __future__ import annotations

import importlib.util
import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from services.common.settings import SettingsError
from services.runner.engines.llamacpp.gguf import Header, read_header
from services.runner.engines.llamacpp.model_file.foreign import HEAD, why_foreign
from services.runner.engines.llamacpp.model_file.tensor_sizes import REMOVED, end_of_tensors
from services.runner.engines.llamacpp.vocabulary import Vocabulary

_DOWNLOAD_AGAIN = "download it again"
# What `general.type` calls files beside models, and what helps.
_BESIDE_MODELS = {
    "mmproj": "is the image encoder (mmproj) of a model, not the model; name the model's own file",
    "adapter": "is an adapter (LoRA) for a model, not a model; name the model's own file",
    "imatrix": "holds measurements for quantising a model (imatrix), not the model; name the model's own file",
}
# Architectures that read texts and generate none.
_EMBEDDING = "embeds texts and generates none; choose a model that chats"
_READERS = frozenset(
    {
        "bert", "eurobert", "gemma-embedding", "gemma-embedding2", "jina-bert-v2", "jina-bert-v3", "llama-embed",
        "modern-bert", "neo-bert", "nomic-bert", "nomic-bert-moe", "t5encoder",
    }
)  # fmt: skip
# Those that generate otherwise than token by token from one text, which llama.cpp's server does not serve.
_OTHERS = frozenset({"dream", "llada", "llada-moe", "rnd1", "t5", "wavtokenizer-dec"})
_TOKENIZERS = ("gpt2", "llama")


class ModelFileError(SettingsError):
    """A model file that cannot be served; the message is one sentence, and names the file and what helps."""


def check_model_file(path: Path, *, templated: bool = False) -> Header:
    """Returns the header of a model file that can be served; raises ModelFileError for any other.

    With `templated`, the model needs no chat template of its own.
    """
    try:
        # A pipe would be waited for, and reading a folder fails with other words on each system.
        if not path.is_file():
            raise refusal(path, "is no file" if path.exists() else "does not exist")
        return _checked(path, templated)
    except OSError as error:
        raise refusal(path, f"cannot be read: {error.strerror or error}") from error


def read_vocabulary(path: Path) -> Vocabulary:
    """Returns the vocabulary of a model file that has been checked; raises ModelFileError if it is damaged."""
    try:
        return Vocabulary(path)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise refusal(path, f"has a damaged vocabulary; {_DOWNLOAD_AGAIN}") from error


def refusal(path: Path, why: str) -> ModelFileError:
    """Returns the refusal of a file, as one line whatever is in it."""
    return ModelFileError(" ".join(f"the model file {path.name} {why}".split()))


def _checked(path: Path, templated: bool) -> Header:
    with path.open("rb") as file:
        head = file.read(HEAD)
    if why := why_foreign(head):
        raise refusal(path, why)
    try:
        header = read_header(path)
    except ValueError as error:
        raise refusal(path, f"is cut off or damaged in its header; {_DOWNLOAD_AGAIN}") from error
    why = _why_no_model(header.metadata) or _why_incomplete(path, header)
    why = why or _why_not_served(header.metadata) or _why_silent(header.metadata, templated)
    if why:
        raise refusal(path, why)
    return header


def text(metadata: Mapping[str, Any], key: str) -> str:
    """Returns a text of the metadata; empty if there is none, or something else."""
    value = metadata.get(key, b"")
    return value.decode(errors="replace") if isinstance(value, bytes) else ""


def _why_no_model(metadata: Mapping[str, Any]) -> str:
    if beside := _BESIDE_MODELS.get(text(metadata, "general.type")):
        return beside
    architecture = text(metadata, "general.architecture")
    if not architecture:
        return f"does not say which architecture its model has; {_DOWNLOAD_AGAIN}"
    if architecture == "clip":
        return _BESIDE_MODELS["mmproj"]
    parts = metadata.get("split.count", 0)
    if isinstance(parts, int) and parts > 1:
        return f"is one of {parts} parts of a model; join them with `llama-gguf-split --merge`, or choose a whole file"
    return ""


def _why_incomplete(path: Path, header: Header) -> str:
    if not header.tensors:
        return "has a vocabulary and no weights; choose the file with the model"
    unknown = next((place.type for place in header.tensors.values() if place.type in REMOVED), None)
    try:
        wanted = end_of_tensors(header.tensors)
    except KeyError as error:
        unknown = error.args[0]
    if unknown is not None:
        return f"has numbers of a format ({unknown}) that llama.cpp does not read; choose another quantisation"
    size = path.stat().st_size
    return f"is cut off: it has {size:,} bytes of {wanted:,}; {_DOWNLOAD_AGAIN}" if size < wanted else ""


def _why_not_served(metadata: Mapping[str, Any]) -> str:
    architecture = text(metadata, "general.architecture")
    reads_only = metadata.get(f"{architecture}.attention.causal") is False
    if architecture in _READERS or reads_only or metadata.get(f"{architecture}.pooling_type"):
        return _EMBEDDING
    if architecture in _OTHERS or not _is_known(architecture):
        return f"has the architecture {architecture!r}, which this release of llama.cpp does not serve"
    context = metadata.get(f"{architecture}.context_length")
    if not isinstance(context, int) or context < 1:
        return f"does not say how long a text its model attends to ({architecture}.context_length)"
    return ""


def _why_silent(metadata: Mapping[str, Any], templated: bool) -> str:
    tokenizer = text(metadata, "tokenizer.ggml.model")
    if not tokenizer or "tokenizer.ggml.tokens" not in metadata:
        return "has no vocabulary; choose a file that is made for llama.cpp"
    if tokenizer not in _TOKENIZERS:
        return f"has the tokenizer {tokenizer!r}, which is not supported; {' and '.join(_TOKENIZERS)} are"
    if not templated and not text(metadata, "tokenizer.chat_template").strip():
        return (
            "has no chat template, so it is a base model, which continues texts and does not chat; "
            "choose one that was trained to chat, often called 'instruct' or 'chat'"
        )
    return ""


def _is_known(architecture: str) -> bool:
    """Returns whether llama.cpp's library names the architecture; importing it would take longer than all else here."""
    spec = importlib.util.find_spec("xllamacpp")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        for library in Path(folder).glob("xllamacpp*.so"):
            with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                # Texts end in a zero there.
                return data.find(architecture.encode() + b"\0") >= 0
    return True
