"""The constructed image encoder: what is in its file; tests/integration/engines has what a model sees by it."""

from __future__ import annotations

from pathlib import Path

import pytest
from gguf import GGUFReader
from gguf.quants import dequantize

from services.runner.demonstrations.colour_projector import colour_projector
from services.runner.demonstrations.gguf_writer import Tensor, write_gguf
from services.runner.demonstrations.packaged import find_smollm2
from services.runner.demonstrations.token_embeddings import read_token_embeddings
from services.runner.engines.llamacpp.vocabulary import Vocabulary


def test_it_ends_in_the_models_words_for_colours(tmp_path: Path) -> None:
    model = find_smollm2()
    path = colour_projector(tmp_path, model)
    assert colour_projector(tmp_path, model) == path
    tensors = {tensor.name: tensor.data for tensor in GGUFReader(path).tensors}
    red = Vocabulary(model).pieces.index(b" red")
    (embedding,) = read_token_embeddings(model, [red])
    projection = tensors["mm.input_projection.weight"]
    # A detector's numbers are the word's embedding, scaled by what the last norm makes of it.
    ratios = [float(number) / wanted for number, wanted in zip(projection[9], embedding, strict=True) if wanted]
    assert max(ratios) == pytest.approx(min(ratios), rel=1e-5)


def test_the_embeddings_are_those_that_the_package_gguf_reads() -> None:
    model = find_smollm2()
    (tensor,) = (tensor for tensor in GGUFReader(model).tensors if tensor.name == "token_embd.weight")
    wanted = dequantize(tensor.data[[5, 4000]], tensor.tensor_type)
    assert read_token_embeddings(model, [5, 4000]) == pytest.approx(wanted)


def test_embeddings_of_another_type_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    with path.open("wb") as file:
        write_gguf(file, {}, [Tensor("token_embd.weight", (1, 32), bytes(4 * 32))])
    with pytest.raises(ValueError, match="another type than Q8_0"):
        read_token_embeddings(path, [0])
