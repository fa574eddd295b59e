"""Prints how soon turns of conversations begin on three runners with the real model: `python -m bench.conversations`.

The first turns are read from their beginning, by whichever runner they come to. That is also what a later turn costs
where another runner has read the ones before: without warm prefixes, two of three.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import Any, NamedTuple

from bench.mesh import RunningMesh, free_port, running_mesh, wait_for_runners

MORE_RUNNERS = 2
WORDS = ["river", "bridge", "stone", "arch", "keeper", "lantern", "winter", "market", "barge", "harbour"]


class Turn(NamedTuple):
    """Seconds to the first token, the answer, and tokens of the prompt: all of them, and those found in the cache."""

    first_token: float
    answer: str
    prompt: int
    cached: int


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m bench.conversations", description=__doc__)
    parser.add_argument("--conversations", type=int, default=6)
    parser.add_argument("--words", type=int, default=220, help="of the first message")
    parser.add_argument("--turns", type=int, default=3)
    arguments = parser.parse_args()
    rng = random.Random(1)
    topics = [" ".join(rng.choices(WORDS, k=arguments.words)) for _ in range(arguments.conversations)]
    with running_mesh(slots=4, engine="llamacpp") as mesh, ExitStack() as stack:
        for _ in range(MORE_RUNNERS):
            stack.enter_context(running_runner(mesh))
        wait_for_runners(mesh, 1 + MORE_RUNNERS)
        conversations = [[{"role": "user", "content": topic}] for topic in topics]
        for number in range(1, arguments.turns + 1):
            turns = [take_turn(mesh, messages) for messages in conversations]
            show(number, turns)


@contextmanager
def running_runner(mesh: RunningMesh) -> Iterator[None]:
    """Runs one more runner beside the mesh's own."""
    settings = {"ENGINE": "llamacpp", **mesh.etcd, "LISTEN": f"127.0.0.1:{free_port()}",
                "ADMIN_LISTEN": f"127.0.0.1:{free_port()}", "LOG_LEVEL": "error"}  # fmt: skip
    environ = os.environ | {f"TIERMESH_RUNNER_{name}": value for name, value in settings.items()}
    process = subprocess.Popen([sys.executable, "-m", "services.runner"], stdout=subprocess.DEVNULL, env=environ)
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


def take_turn(mesh: RunningMesh, messages: list[dict[str, str]]) -> Turn:
    """Takes a turn and adds it, and the next question, to the messages."""
    body = {"model": "tiermesh-pro", "messages": messages, "max_tokens": 16, "temperature": 0, "stream": True,
            "stream_options": {"include_usage": True}}  # fmt: skip
    headers = {"Authorization": f"Bearer {mesh.api_key}", "Content-Type": "application/json"}
    request = urllib.request.Request(mesh.base_url + "/chat/completions", json.dumps(body).encode(), headers)
    began, first_token, answer = time.perf_counter(), 0.0, ""
    usage: dict[str, Any] = {}
    for chunk in chunks(request):
        text = chunk["choices"][0]["delta"].get("content", "") if chunk["choices"] else ""
        if text and not answer:
            first_token = time.perf_counter() - began
        answer += text
        usage = chunk.get("usage") or usage
    messages += [{"role": "assistant", "content": answer}, {"role": "user", "content": "Go on."}]
    return Turn(first_token, answer, usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"])


def chunks(request: urllib.request.Request) -> Iterator[dict[str, Any]]:
    with urllib.request.urlopen(request) as response:
        for line in response:
            if line.startswith(b"data: {"):
                yield json.loads(line.removeprefix(b"data: "))


def show(number: int, turns: list[Turn]) -> None:
    cached = sum(turn.cached for turn in turns) / sum(turn.prompt for turn in turns)
    middle = median(turn.first_token for turn in turns)
    print(f"turn {number}: first token after {middle:.2f} s (median), {cached:.0%} of the prompt in the cache")


if __name__ == "__main__":
    main()
