"""What is said of files that cannot be served, and what is found in those that can."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import pytest

from services.common.model_file import ModelFile
from services.runner.demonstrations.packaged import find_smollm2
from services.runner.engines.llamacpp.model_file import ModelFileError
from services.runner.engines.llamacpp.model_file.facts import read_facts
from services.runner.engines.llamacpp.model_file.tensor_sizes import BLOCKS
from services.runner.examine import examine
from tests.support.small_gguf import TEMPLATE, write_small_gguf

THINKING = TEMPLATE + "{% if enable_thinking %}{{ '<think>\n' }}{% endif %}"
TOOLS = "{% for tool in tools or [] %}{{ tool | tojson }}{% endfor %}<tool_call>" + TEMPLATE


def content(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data)


def model(**options: Any) -> Callable[[Path], object]:
    return lambda path: write_small_gguf(path, **options)


def replaced(**keys: Any) -> Callable[[Path], object]:
    return model(replaced={name.replace("__", "."): value for name, value in keys.items()})


def changed(change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(change(write_small_gguf(path).read_bytes()))


def with_type(code: int) -> Callable[[bytes], bytes]:
    """Gives the only tensor, a table of 64 rows of 64 numbers, a type of this code."""
    before = struct.pack("<QQ", 64, 64)
    return lambda data: data.replace(before + struct.pack("<I", 0), before + struct.pack("<I", code))


FOREIGN: list[tuple[str, Callable[[Path], object], str]] = [
    ("missing", lambda path: None, "does not exist"),
    ("folder", lambda path: path.mkdir(), "is no file"),
    ("empty", content(b""), "is empty; download the model file itself"),
    ("text", content(b"Hello, this is no model at all.\n"), "is no GGUF file; choose a GGUF file"),
    ("web page", content(b"<!DOCTYPE html><html><body>Sign in</body></html>"), "is a web page"),
    ("other web page", content(b"<html><body>404</body></html>" * 9), "is a web page"),
    (
        "git lfs",
        content(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"),
        "a pointer of Git LFS",
    ),
    ("json", content(b'{"error": "Entry not found"}'), "is a JSON text"),
    ("pytorch", content(b"PK\x03\x04" + bytes(99)), "is an archive or a PyTorch checkpoint; choose a GGUF file"),
    ("pickle", content(b"\x80\x02}q\x00" + bytes(99)), "is a pickle of Python"),
    ("safetensors", content(struct.pack("<Q", 99) + b'{"weights":{}}' + bytes(99)), "is a safetensors file"),
    ("gzip", content(b"\x1f\x8b" + bytes(99)), "is a compressed file; unpack it"),
    ("ggjt", content(struct.pack("<I", 0x67676A74) + bytes(99)), "the format that llama.cpp had before GGUF"),
    ("version 1", content(b"GGUF" + struct.pack("<I", 1) + bytes(99)), "of version 1, and only the versions 2 and 3"),
    ("version 4", content(b"GGUF" + struct.pack("<I", 4) + bytes(99)), "of version 4, and only the versions 2 and 3"),
    ("big-endian", content(b"GGUF" + struct.pack(">I", 3) + bytes(99)), "is a GGUF file for big-endian machines"),
    ("first bytes", content(b"GGUF\x03\0\0\0"), "is cut off after 8 bytes; download it again"),
    ("header", changed(lambda data: data[:3000]), "is cut off or damaged in its header; download it again"),
    ("weights", changed(lambda data: data[:-1]), "is cut off: it has "),
    ("noise", content(b"GGUF\x03\0\0\0" + bytes(range(256)) * 9), "is cut off or damaged in its header"),
]
OTHER_MODELS: list[tuple[str, Callable[[Path], object], str]] = [
    ("projector", replaced(general__type="mmproj"), "is the image encoder (mmproj) of a model"),
    ("clip", model(architecture="clip"), "is the image encoder (mmproj) of a model"),
    ("adapter", replaced(general__type="adapter"), "is an adapter (LoRA)"),
    ("imatrix", replaced(general__type="imatrix"), "holds measurements"),
    ("part", replaced(split__count=3, split__no=0), "is one of 3 parts of a model; join them"),
    (
        "nameless",
        changed(lambda data: data.replace(b"general.architecture", b"general.architectur_")),
        "does not say which architecture",
    ),
    ("embeddings", model(architecture="bert"), "embeds texts and generates none"),
    ("pooled embeddings", model(architecture="qwen3", replaced={"qwen3.pooling_type": 3}), "embeds texts"),
    ("two-way", replaced(llama__attention__causal=False), "embeds texts and generates none"),
    ("unknown", model(architecture="mammoth9"), "has the architecture 'mammoth9', which this release of llama.cpp"),
    ("diffusion", model(architecture="llada"), "has the architecture 'llada', which this release of llama.cpp"),
    ("vocabulary only", model(weights=0), "has a vocabulary and no weights"),
    ("removed numbers", changed(with_type(31)), "has numbers of a format (31) that llama.cpp does not read"),
    ("future numbers", changed(with_type(999)), "has numbers of a format (999) that llama.cpp does not read"),
    ("no context", model(without={"llama.context_length"}), "does not say how long a text its model attends to"),
    ("no vocabulary", model(without={"tokenizer.ggml.tokens"}), "has no vocabulary"),
    ("tokenizer", replaced(tokenizer__ggml__model="rwkv"), "has the tokenizer 'rwkv', which is not supported"),
    ("damaged vocabulary", replaced(tokenizer__ggml__eos_token_id=99_999), "has a damaged vocabulary"),
    ("base", model(without={"tokenizer.chat_template"}), "has no chat template, so it is a base model"),
    ("empty template", replaced(tokenizer__chat_template="  \n"), "has no chat template, so it is a base model"),
    ("broken template", replaced(tokenizer__chat_template="{% for %}"), "the chat template is not valid: line 1"),
    ("unread calls", replaced(tokenizer__chat_template="<|tool_call_start|>" + TEMPLATE), "in the format of LFM2"),
    ("unknown calls", replaced(tokenizer__chat_template="{{ tools }}" + TEMPLATE), "in a format that is not known"),
]


@pytest.mark.parametrize(
    ("make", "words"), [case[1:] for case in FOREIGN + OTHER_MODELS], ids=[case[0] for case in FOREIGN + OTHER_MODELS]
)
def test_a_file_that_cannot_be_served_gets_one_clear_line(
    tmp_path: Path, make: Callable[[Path], object], words: str
) -> None:
    path = tmp_path / "some.gguf"
    make(path)
    with pytest.raises(ModelFileError) as refusal:
        read_facts(path)
    told = str(refusal.value)
    assert told.startswith("the model file some.gguf ")
    assert words in told
    assert "\n" not in told
    assert str(tmp_path) not in told


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_small_gguf(tmp_path / "some.gguf")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    # The owner of everything may read everything.
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ModelFileError, match=r"^the model file some\.gguf cannot be read: Permission denied$"):
        read_facts(path)


def test_wherever_a_file_is_cut_it_is_refused(tmp_path: Path) -> None:
    whole = write_small_gguf(tmp_path / "whole.gguf").read_bytes()
    path = tmp_path / "some.gguf"
    dice = random.Random(1)
    for end in {len(whole) - 1, *dice.sample(range(len(whole)), 30)}:
        path.write_bytes(whole[:end])
        with pytest.raises(ModelFileError, match=r"cut off|empty"):
            read_facts(path)


def test_whatever_is_damaged_is_refused_or_served(tmp_path: Path) -> None:
    whole = write_small_gguf(tmp_path / "whole.gguf", replaced={"tokenizer.chat_template": TOOLS}).read_bytes()
    head = whole.index(b"token_embd.weight") + 60
    path = tmp_path / "some.gguf"
    dice = random.Random(2)
    for _ in range(80):
        damaged = bytearray(whole)
        for at in dice.sample(range(head), dice.choice((1, 2, 8))):
            damaged[at] = dice.randrange(256)
        path.write_bytes(damaged)
        assert "\n" not in examine(str(path)).refusal


@pytest.mark.parametrize(
    ("template", "tools", "thinking"),
    [
        (TEMPLATE, False, "never"),
        (TOOLS, True, "never"),
        (THINKING, False, "optional"),
        (TEMPLATE + "{{ '<think>\n' }}", False, "always"),
        ("{% set parts = '</think>' %}" + TEMPLATE, False, "always"),
    ],
)
def test_tools_and_thinking_are_found_in_the_template(
    tmp_path: Path, template: str, tools: bool, thinking: str
) -> None:
    path = write_small_gguf(tmp_path / "some.gguf", replaced={"tokenizer.chat_template": template})
    facts = read_facts(path)
    assert (facts.tools, facts.tool_format, facts.thinking) == (tools, "hermes", thinking)


def test_context_size_and_title_are_found(tmp_path: Path) -> None:
    names = {"general.basename": "Mammoth", "general.size_label": "9B", "general.name": "A Mammoth"}
    path = write_small_gguf(tmp_path / "some.gguf", replaced=names)
    facts = read_facts(path)
    # Two layers, two heads, keys and values of 16 numbers of two bytes.
    assert (facts.title, facts.context, facts.token_size) == ("Mammoth-9B", 4096, 2 * 2 * (16 + 16) * 2)
    assert facts.size == path.stat().st_size
    lengths = {"llama.attention.key_length": 100, "llama.attention.value_length": 20}
    some_layers = {"llama.attention.head_count_kv": [2, 0], "general.name": "A Mammoth"}
    facts = read_facts(write_small_gguf(path, replaced=lengths | some_layers))
    assert (facts.title, facts.token_size) == ("A Mammoth", 2 * (100 + 20) * 2)


def test_the_packaged_model_is_described() -> None:
    path = find_smollm2()
    assert read_facts(path) == ModelFile(
        title="smollm2-135M",
        size=path.stat().st_size,
        context=8192,
        token_size=30 * 3 * 128 * 2,
        tools=True,
        tool_format="hermes",
        thinking="optional",
    )


def test_the_sizes_of_numbers_are_those_of_the_package_gguf() -> None:
    assert dict(BLOCKS) == {kind.value: size for kind, size in gguf.GGML_QUANT_SIZES.items()}
