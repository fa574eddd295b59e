"""Whether the engine is right: each check returns figures, and raises AssertionError with what is wrong."""

from __future__ import annotations

import asyncio
import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from services.runner.engines.exllamav2 import ExLlamaV2Engine
from services.runner.engines.exllamav2.model_directory import read_model_directory
from services.runner.kinds.text.job import Sampling
from services.runner.kinds.text.prompt.grammar import answer_grammar
from services.runner.kinds.text.prompt.tools import Toolbox
from tests.gpu.bundle import ROOT
from tests.gpu.place import Place
from tests.gpu.report import Figures, NotRunError
from tests.support.engine_contract import CITY, job
from tests.support.recording import Recording, generate, submit
from tests.support.waiting import eventually

FOXES = "The quick brown fox jumps over the lazy dog. "
_TOP = 20
# What sixteen bits may differ from attention in 64 bits.
_ATTENTION_ERROR = 0.02
_PYTEST_SECONDS = 200


async def check_attention(place: Place) -> Figures:
    """The stand-in for flash-attn computes attention; if torch's kernel does not, plain attention is used from here."""
    from tests.gpu.attention_check import largest_error

    if place.stand_in:
        error = largest_error("cpu", torch.float32)
        assert error < 1e-5, error
        return {"largest error": f"{error:.1e}"}
    figures: Figures = {}
    for way in ("kernel", "plain"):
        command = [sys.executable, "-m", "tests.gpu.attention_check", way]
        done = await asyncio.to_thread(
            subprocess.run, command, cwd=ROOT, capture_output=True, text=True, timeout=90, check=False
        )
        error = float(done.stdout.split()[-1]) if done.returncode == 0 else math.inf
        figures[way] = f"{error:.1e}" if done.returncode == 0 else done.stderr[-300:]
        if error < _ATTENTION_ERROR:
            os.environ["FLASH_ATTENTION_STAND_IN"] = way
            return {**figures, "used": way}
    raise AssertionError(f"neither way of attention is right on this GPU: {figures}")


async def check_logits(place: Place, model: Path) -> Figures:
    """Log probabilities are those of transformers, over short prompts, ones of several chunks, and the answers."""
    prompts = [FOXES * length + f"Tell me a story {length}." for length in (0, 1, 12, 60)]
    async with place.engine(model) as engine:
        answers = [await generate(engine, job(engine, prompt, max_tokens=32, logprobs=_TOP)) for prompt in prompts]
        texts = [job(engine, prompt).prompt for prompt in prompts]
    reference = await asyncio.to_thread(_reference, place, model, texts, answers)
    errors: list[float] = []
    for answer, logprobs in zip(answers, reference, strict=True):
        for at, entry in enumerate(answer.logprobs):
            errors.append(abs(entry.logprob - float(logprobs[at, answer.token_ids[at]])))
            # Which token each alternative is does not matter where two are almost alike; the values do.
            best = logprobs[at].topk(_TOP).values.tolist()
            errors += [abs(top.logprob - value) for top, value in zip(entry.top, best, strict=True)]
    mean, largest = sum(errors) / len(errors), max(errors)
    figures = {"values": len(errors), "mean error": f"{mean:.2e}", "largest error": f"{largest:.2e}"}
    assert mean <= place.mean_error, figures
    assert largest <= place.largest_error, figures
    return figures


async def check_contract(place: Place, model: Path) -> Figures:
    """The suite that every engine passes, in a process of its own."""
    file, environ = "tests/torch/test_gpu.py", {"TIERMESH_TEST_EXLLAMAV2_MODEL": str(model)}
    if place.stand_in:
        file, environ = "tests/torch/test_contract.py", {}
    # The machine's own plugins may not fit this pytest.
    environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    command = [sys.executable, "-m", "pytest", "-p", "pytest_asyncio.plugin", "-p", "pytest_timeout", file]
    done = await asyncio.to_thread(
        subprocess.run,
        [*command, "-rf", "--tb=short"],
        cwd=ROOT,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=_PYTEST_SECONDS,
        check=False,
    )
    print(done.stdout[-8000:], done.stderr[-2000:], flush=True)
    failed = [line.removeprefix("FAILED ") for line in done.stdout.splitlines() if line.startswith("FAILED ")]
    assert done.returncode == 0, f"{len(failed)} failed: {failed or done.stdout[-500:]}"
    return {"tests": sum(line.count(".") for line in done.stdout.splitlines() if line.startswith("."))}


async def check_cancel(place: Place, model: Path) -> Figures:
    """Cancelled jobs give all their pages back, whether they were reading or answering."""
    # No answer may end by itself before it is cancelled.
    ends = dict.fromkeys(read_model_directory(model).eos_token_ids, -100.0)
    endless: Figures = {"sampling": Sampling(temperature=0, logit_bias=ends), "max_tokens": 300}
    async with place.engine(model) as engine:
        total = engine.facts().pages_total
        talking = [submit(engine, job(engine, f"Tell me a long story {at}.", **endless)) for at in range(4)]
        reading = [submit(engine, job(engine, f"{at} " + FOXES * 50, **endless)) for at in range(4)]
        await talking[0].tokens(3)
        taken = total - engine.facts().pages_free
        for recording in (*talking, *reading):
            recording.cancel()
        await eventually(lambda: engine.facts().pages_free == total)
        assert taken > 0
        assert engine.active == 0
        facts = engine.facts()
    return {"pages": total, "taken": taken, "free after": facts.pages_free, "gpu GiB used": _gib(facts.gpu_memory_used)}


async def check_schema(place: Place, model: Path) -> Figures:
    """Answers follow a JSON schema, several at once."""
    grammar = answer_grammar(CITY, Toolbox())
    async with place.engine(model) as engine:
        jobs = [job(engine, f"Give a JSON record of a city, number {at}.", grammar=grammar) for at in range(8)]
        answers = [submit(engine, each) for each in jobs]
        values = [json.loads((await answer.end()).text) for answer in answers]
    assert all(set(value) == {"city", "population"} for value in values), values
    return {"answers": len(values), "first": values[0]}


async def check_invariance(place: Place, model: Path) -> Figures:
    """Reports how many greedy answers are the same alone, in a batch of eight, and after a warm prefix.

    Sums in another order give other last bits on a GPU, so the rate is a figure there and not a condition.
    """
    prompts = [FOXES * (at % 24) + f"Tell me a story {at}." for at in range(place.prompts)]
    async with place.engine(model) as engine:
        alone = [(await generate(engine, job(engine, prompt, max_tokens=48))).token_ids for prompt in prompts]
    async with place.engine(model) as engine:
        batched: list[list[int]] = []
        for at in range(0, len(prompts), 8):
            running = [submit(engine, job(engine, prompt, max_tokens=48)) for prompt in prompts[at : at + 8]]
            batched += [(await recording.end()).token_ids for recording in running]
        warm = [await generate(engine, job(engine, prompt, max_tokens=48)) for prompt in prompts]
    found = sum(recording.usage.cached_tokens > 0 for recording in warm)
    figures = {
        "answers": len(prompts),
        "same in a batch": _same(alone, batched),
        "same after a warm prefix": _same(alone, [recording.token_ids for recording in warm]),
        "prefixes found": found,
    }
    assert found == len(prompts), figures
    if place.stand_in:
        assert figures["same in a batch"] == figures["same after a warm prefix"] == len(prompts), figures
    return figures


async def check_caches(place: Place, model: Path) -> Figures:
    """Quantised caches say nearly what the 16-bit one says, and take less memory."""
    if place.stand_in:
        raise NotRunError("quantised caches are kernels of the GPU")
    figures: Figures = {}
    plain: list[float] = []
    for cache_format in ("fp16", "q8", "q6", "q4"):
        async with place.engine(model, cache_format=cache_format) as engine:
            answer = await generate(engine, job(engine, FOXES * 20 + "Tell me a story.", max_tokens=32, logprobs=0))
            values = [entry.logprob for entry in answer.logprobs]
            plain = plain or values
            assert len(values) > 0
            assert all(value > -50 for value in values), (cache_format, values)
            # Once one token differs the answers go apart, so only the first ones are comparable.
            difference = abs(values[0] - plain[0])
            figures[cache_format] = f"first token off by {difference:.3f}, memory {_gib(_used(engine))} GiB"
            assert difference < 0.5, figures
    return figures


async def check_answer(place: Place, model: Path) -> Figures:
    """The real model knows the capital of France, with every format of the cache."""
    said = {}
    for cache_format in ("fp16", "q8", "q6", "q4"):
        async with place.engine(model, cache_format=cache_format) as engine:
            answer = await generate(engine, job(engine, max_tokens=24))
            said[cache_format] = answer.text
            assert cache_format == "q4" or "Paris" in answer.text, said
    return said


def _reference(place: Place, model: Path, texts: Sequence[str], answers: Sequence[Recording]) -> list[torch.Tensor]:
    """Returns transformers' log probabilities at each token of each answer, in 32 bits."""
    from tokenizers import Tokenizer
    from transformers import AutoModelForCausalLM

    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    network: Any = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32, attn_implementation="sdpa")
    network = network.to(place.device).eval()
    results = []
    with torch.inference_mode():
        for text, answer in zip(texts, answers, strict=True):
            prompt: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
            assert len(prompt) == answer.usage.prompt_tokens
            token_ids = torch.tensor([[*prompt, *answer.token_ids]], device=place.device)
            logits = network(token_ids).logits[0, len(prompt) - 1 : -1]
            results.append(torch.log_softmax(logits.float(), dim=-1).cpu())
    del network
    if place.device == "cuda":
        torch.cuda.empty_cache()
    return results


def _same(one: Sequence[list[int]], other: Sequence[list[int]]) -> int:
    return sum(first == second for first, second in zip(one, other, strict=True))


def _used(engine: ExLlamaV2Engine) -> int:
    return engine.facts().gpu_memory_used


def _gib(size: int) -> float:
    return round(size / 2**30, 2)
