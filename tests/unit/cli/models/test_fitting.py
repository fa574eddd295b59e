from __future__ import annotations

from pathlib import Path

import pytest

from services.cli.errors import CliError
from services.cli.models.fitting import RESERVE, USUAL_CONTEXT, WORK, Share, fit
from services.cli.models.machine import machine_memory
from services.common.model_file import ModelFile

GIB = 1 << 30
# A token takes 100 KiB, so that 32,768 tokens are 3.1 GiB.
TOKEN = 100 << 10


def file(size: int = GIB, context: int = 131_072, token_size: int = TOKEN) -> ModelFile:
    return ModelFile(
        title="", size=size, context=context, token_size=token_size, tools=False, tool_format="hermes", thinking="never"
    )


def shares(*files: ModelFile, memory: int, slots: int = 4, context: int | None = None) -> list[Share]:
    named = [(f"model-{number}", each) for number, each in enumerate(files)]
    return fit(named, slots=slots, memory=memory, context=context)


def test_a_large_machine_gives_what_is_asked_for() -> None:
    assert shares(file(), memory=100 * GIB) == [Share(4, USUAL_CONTEXT)]
    assert shares(file(context=8192), memory=100 * GIB) == [Share(4, 8192)]
    assert shares(file(), memory=100 * GIB, context=65_536) == [Share(4, 65_536)]
    assert shares(file(), file(), file(), memory=100 * GIB) == [Share(4, USUAL_CONTEXT), *[Share(2, USUAL_CONTEXT)] * 2]


def test_scarce_memory_makes_fewer_answers_at_once_and_then_shorter_ones() -> None:
    found = [shares(file(), memory=memory * GIB)[0] for memory in (20, 12, 8, 5)]
    assert [share.slots for share in found] == [4, 2, 1, 1]
    assert [share.context for share in found[:3]] == [USUAL_CONTEXT] * 3
    assert 2048 <= found[3].context < USUAL_CONTEXT
    assert found[3].context % 256 == 0


@pytest.mark.parametrize("memory", range(3, 40))
@pytest.mark.parametrize("count", [1, 2, 3])
def test_what_models_get_is_never_more_than_there_is(memory: int, count: int) -> None:
    files = [file(size=number * GIB // 2, context=4096 << number) for number in range(1, count + 1)]
    try:
        found = shares(*files, memory=memory * GIB)
    except CliError:
        assert sum(each.size + WORK + 2048 * TOKEN for each in files) + RESERVE > memory * GIB
        return
    used = sum(each.size + WORK + share.slots * share.context * TOKEN for each, share in zip(files, found, strict=True))
    assert RESERVE + used <= memory * GIB
    assert all(share.context <= each.context for each, share in zip(files, found, strict=True))


def test_a_model_that_is_too_large_is_refused_with_both_numbers() -> None:
    with pytest.raises(CliError, match=r"^model-0 needs 41\.9 GiB of memory, and this machine has 16\.0 GiB\. Choose"):
        shares(file(size=40 * GIB), memory=16 * GIB)
    with pytest.raises(CliError, match=r"^model-0, model-1 together need 20\.\d GiB of memory, and"):
        shares(file(size=9 * GIB), file(size=9 * GIB), memory=16 * GIB)
    with pytest.raises(CliError, match=r"needs 15\.\d GiB .* 8\.0 GiB\. Lower --context from 131,072"):
        shares(file(), memory=8 * GIB, context=131_072)


def test_a_context_that_the_model_does_not_have_is_refused_with_both_numbers() -> None:
    with pytest.raises(CliError, match=r"^model-0 attends to 8,192 tokens, and --context is 8,193\."):
        shares(file(context=8192), memory=100 * GIB, context=8193)


def test_a_model_that_does_not_say_what_a_token_takes_gets_what_is_asked_for() -> None:
    assert shares(file(token_size=0), memory=4 * GIB) == [Share(4, USUAL_CONTEXT)]


@pytest.mark.parametrize(("limit", "memory"), [("1000000\n", 1_000_000), ("max\n", None), ("9" * 30, None)])
def test_a_container_has_the_memory_that_it_may_use(tmp_path: Path, limit: str, memory: int | None) -> None:
    path = tmp_path / "memory.max"
    path.write_text(limit)
    assert machine_memory([path, tmp_path / "missing"]) == (memory or machine_memory([]))
