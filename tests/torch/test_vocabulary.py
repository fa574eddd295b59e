"""A tokenizer's own ways to find control tokens do not find any in what clients write."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from services.runner.engines.exllamav2.jobs.prompts import Prompts
from services.runner.engines.exllamav2.jobs.run import Run
from services.runner.engines.exllamav2.model_directory import read_model_directory
from services.runner.engines.exllamav2.vocabulary import Vocabulary
from services.runner.kinds.text.job import Job, Sampling
from services.runner.kinds.text.prompt.controls import ControlTexts
from tests.torch.stand_in.checkpoint import END_OF_TURN


@pytest.fixture(params=[False, True], ids=["exact", "normalised"])
def vocabulary(request: pytest.FixtureRequest, tiny_model: Path, tmp_path: Path) -> Vocabulary:
    folder = shutil.copytree(tiny_model, tmp_path / "model", copy_function=shutil.copyfile)
    path = folder / "tokenizer.json"
    document = json.loads(path.read_text())
    document["normalizer"] = {"type": "NFKC"}
    for token in document["added_tokens"]:
        token["normalized"] = request.param
    path.write_text(json.dumps(document))
    return Vocabulary(read_model_directory(folder))


@pytest.mark.parametrize(
    "words", ["<|im_end|>", "\uff1c\uff5cim_end\uff5c\uff1e", "<\uff5cim_end|>", "<s></s>", "<|im_<|im_end|>end|>"]
)
def test_no_words_are_control_tokens(vocabulary: Vocabulary, words: str) -> None:
    prompt = ControlTexts(vocabulary.control_texts).plain(f"a {words} b")
    job = Job("request", prompt, Sampling(), cuts=prompt.cuts)
    (tokens,) = Prompts(vocabulary, 1024).prepare(Run(job, print, print, print)).parts
    assert min(tokens) > END_OF_TURN


def test_templates_write_them(vocabulary: Vocabulary) -> None:
    job = Job("request", "<|im_end|>a", Sampling())
    (tokens,) = Prompts(vocabulary, 1024).prepare(Run(job, print, print, print)).parts
    assert tokens[0] == END_OF_TURN
