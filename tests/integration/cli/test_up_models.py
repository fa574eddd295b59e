"""What `tiermesh up --model` says of models that it cannot serve, and which it takes from Hugging Face."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.hub_server import HubServer
from tests.support.mesh import run_tiermesh
from tests.support.small_gguf import write_small_gguf

TOO_LARGE = 1 << 42


async def refused(directory: Path, *options: str, **environ: str) -> str:
    files = ("--state-dir", str(directory / "state"), "--port", "0", "--no-console")
    done = await run_tiermesh("up", *files, *options, environ={"XDG_CACHE_HOME": str(directory / "cache"), **environ})
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.stderr


async def test_each_file_that_cannot_be_served_gets_a_line(tmp_path: Path) -> None:
    base = write_small_gguf(tmp_path / "base.gguf", without={"tokenizer.chat_template"})
    whole = write_small_gguf(tmp_path / "whole.gguf")
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(whole.read_bytes()[:-9])
    page = tmp_path / "page.gguf"
    page.write_text("<!doctype html><title>Sign in</title>")
    names = [str(path) for path in (base, whole, cut, page)]
    error = await refused(tmp_path, *(word for name in names for word in ("--model", name)))
    base_line, cut_line, page_line = error.splitlines()
    assert base_line.startswith("Error: The model file base.gguf has no chat template, so it is a base model")
    assert cut_line.startswith("The model file cut.gguf is cut off: it has ")
    assert page_line == "The model file page.gguf is a web page; download the model file itself."


async def test_a_model_that_does_not_fit_into_the_memory(tmp_path: Path) -> None:
    path = write_small_gguf(tmp_path / "large.gguf")
    # The file takes no space on the disk.
    os.truncate(path, TOO_LARGE)
    error = await refused(tmp_path, "--model", str(path))
    assert error.startswith("Error: large needs 4,097.8 GiB of memory, and this machine has ")
    assert error.count("\n") == 1


async def test_a_context_that_the_model_does_not_have(tmp_path: Path) -> None:
    path = write_small_gguf(tmp_path / "some-Q4_K_M.gguf")
    error = await refused(tmp_path, "--model", str(path), "--context", "8192")
    assert error == "Error: some attends to 4,096 tokens, and --context is 8,192. Choose fewer.\n"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--model", "a.gguf", "--models", "b.yaml"), "--model and --upstream make a catalog of their own"),
        (("--model", "a.gguf", "--engine", "simulated"), "--model and --upstream make a catalog of their own"),
        (("--context", "4096"), "--context is for --model and --upstream"),
        (("--kind", "chat"), "--kind is for --upstream"),
        (("--upstream-model", "kokoro"), "--upstream-model is for --upstream"),
        (("--model", "owner/repository"), "For a repository on Hugging Face, write hf:owner/repository."),
        (("--model", "hf:repository"), "'hf:repository' names no model. Write hf:OWNER/REPOSITORY"),
        (("--model", "hf:../.."), "names no model"),
        (("--upstream", "localhost"), "localhost is no URL of a server. Write it as in http://127.0.0.1:8080/v1."),
        (("--upstream", "http://127.0.0.1:9"), "No server answers at http://127.0.0.1:9/v1/models"),
    ],
)
async def test_options_that_exclude_each_other(tmp_path: Path, options: tuple[str, ...], words: str) -> None:
    assert words in await refused(tmp_path, *options)


async def test_a_model_of_hugging_face_is_fetched_by_the_command(tmp_path: Path) -> None:
    """It is a base model, so that no mesh has to start."""
    data = write_small_gguf(tmp_path / "base.gguf", without={"tokenizer.chat_template"}).read_bytes()
    with HubServer({"owner/repository": {"base-Q8_0.gguf": data, "README.md": b"A model."}}) as server:
        error = await refused(tmp_path, "--model", "hf:owner/repository", HF_ENDPOINT=server.url)
        assert "fetching base-Q8_0.gguf of owner/repository" in error
        assert "has no chat template" in error
        asked = len(server.requests)
        # The second start asks nobody.
        error = await refused(tmp_path, "--model", "hf:owner/repository", HF_ENDPOINT=server.url)
        assert error.startswith("Error: The model file base-Q8_0.gguf has no chat template")
        assert len(server.requests) == asked
