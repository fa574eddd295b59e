"""The models that are run: random ones, made here, and the real one, if all its pieces have been carried."""

from __future__ import annotations

from pathlib import Path

from services.runner.kinds.text.prompt.template import packaged_template
from tests.gpu.place import Place
from tests.gpu.report import NotRunError
from tests.torch.stand_in.checkpoint import Shape, write_checkpoint


def tiny_model(place: Place, folder: Path) -> Path:
    """Returns a directory with the small random Llama of the tests."""
    return _once(folder / "tiny", place.tiny, ends=True)


def endless_model(folder: Path, name: str, shape: Shape) -> Path:
    """Returns a directory with a random Llama whose greedy answers do not end by themselves."""
    return _once(folder / f"endless-{name}", shape, ends=False)


def real_model(place: Place, pieces: Path, folder: Path) -> Path:
    """Returns SmolLM2-135M-Instruct in fp16; raises NotRunError if it is not there as a whole."""
    target = folder / "smollm2"
    if (target / "tokenizer_config.json").is_file():
        return target
    if place.stand_in:
        raise NotRunError("tests/torch/test_smollm2.py does this for the stand-in")
    found = sorted(pieces.glob("smollm2.gguf.*"))
    wanted = int((pieces / "pieces").read_text()) if (pieces / "pieces").is_file() else 0
    if not wanted or len(found) != wanted:
        raise NotRunError(f"SmolLM2 is not here: {len(found)} of {wanted or 'its'} pieces were carried (gpu-bundle)")
    from tests.torch.stand_in.smollm2 import convert_smollm2

    gguf = folder / "smollm2.gguf"
    folder.mkdir(parents=True, exist_ok=True)
    with gguf.open("wb") as whole:
        for piece in found:
            whole.write(piece.read_bytes())
    return convert_smollm2(gguf, target, packaged_template("smollm2"))


def _once(folder: Path, shape: Shape, *, ends: bool) -> Path:
    if not (folder / "tokenizer_config.json").is_file():
        write_checkpoint(folder, shape, ends=ends)
    return folder
