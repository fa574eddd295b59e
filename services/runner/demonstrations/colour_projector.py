"""An image encoder for SmolLM2 that recognises plain colours and nothing else, made of arithmetic instead of training.

No vision model is small enough to come with an installation. This one lets a laptop and the tests send images all the
way through llama.cpp: fetched, decoded, encoded and understood, with an answer that depends on the pixels. It is a
demonstration and a test fixture, and no more: of a photograph it sees at best the colour that fills most of it, and
llama.cpp fills images up to a square with black, which it sees too.

How it works: the image is scaled to 4 x 4 patches. The first layer takes each patch's mean red, green and blue, -1 to
1, and their negatives, which keep the layer norms' means at zero. One feed-forward block has a unit for each corner of
the colour cube that fires if all three channels are near it. The mean over the patches is projected to the text
model's own embeddings of the colours' names, so for the model the image is that word. The file has llama.cpp's layout
for Gemma 3's image encoder (tools/mtmd/models/siglip.cpp).
"""

from __future__ import annotations

import math
from array import array
from pathlib import Path
from typing import BinaryIO

from services.runner.demonstrations.cache import made_once
from services.runner.demonstrations.gguf_writer import Tensor, Value, write_gguf
from services.runner.demonstrations.token_embeddings import read_token_embeddings
from services.runner.engines.llamacpp.vocabulary import Vocabulary

# What a model of this size needs to be told around each image, lest it invent a picture.
AROUND_IMAGES = ("The color is", ". ")
# Raise the number whenever something else is written, so that no old file is taken for a new one.
_FILE = "SmolLM2-135M-colours-1.gguf"
# Words for the corners of the colour cube, each one token of the model, and the corner: red, green, blue.
_COLOURS = {
    " black": (-1, -1, -1),
    " red": (1, -1, -1),
    " green": (-1, 1, -1),
    " blue": (-1, -1, 1),
    " yellow": (1, 1, -1),
    " purple": (1, -1, 1),
    " cyan": (-1, 1, 1),
    " white": (1, 1, 1),
}
# Pixels of a side of the scaled image and of a patch, and numbers that the encoder has for each patch.
_IMAGE, _PATCH, _WIDTH = 64, 16, 64
_PATCHES = (_IMAGE // _PATCH) ** 2
# Units of the block; llama.cpp would take ffn_up for ffn_down if there were as many as `_WIDTH`.
_UNITS = 32
# Where a patch's numbers hold the channels, their negatives, the detectors and the detectors' negatives.
_CHANNELS, _NEGATIVES, _DETECTORS, _OPPOSITES = 0, 3, 8, 16
# A unit's input is 4 for each channel that agrees and -4 for each that does not: with this it fires if all three do.
_GAIN, _THRESHOLD = 4.0, -8.0
# So large that the detectors outweigh the channels in the last norm.
_VOICE = 25.0


class _Matrix:
    """Numbers in rows, zero at first."""

    def __init__(self, *shape: int) -> None:
        self.shape = shape
        self._columns = math.prod(shape[1:])
        self._numbers = array("f", bytes(4 * math.prod(shape)))

    def put(self, row: int, column: int, *numbers: float) -> None:
        """Sets numbers from a column of a row on."""
        start = row * self._columns + column
        self._numbers[start : start + len(numbers)] = array("f", numbers)

    def tensor(self, name: str) -> Tensor:
        """Returns it as a part of a model."""
        return Tensor(name, self.shape, self._numbers.tobytes())


def colour_projector(cache: Path, model_path: Path) -> Path:
    """Returns the encoder for the packaged SmolLM2, which is made at the first call; raises OSError or ValueError."""

    def make(path: Path) -> None:
        with path.open("wb") as file:
            write_colour_projector(file, model_path, Vocabulary(model_path))

    return made_once(cache, _FILE, make)


def write_colour_projector(file: BinaryIO, model_path: Path, vocabulary: Vocabulary) -> None:
    """Writes the encoder for a text model; raises ValueError if it lacks a colour's word or its embeddings."""
    words = [vocabulary.pieces.index(word.encode()) for word in _COLOURS]
    embeddings = read_token_embeddings(model_path, words)
    write_gguf(file, _metadata(len(embeddings[0])), [*_encoder(), *_projection(embeddings)])


def _metadata(projection: int) -> dict[str, Value]:
    vision = "clip.vision."
    return {
        "general.architecture": "clip",
        "general.type": "mmproj",
        "general.name": "plain colours",
        "clip.has_vision_encoder": True,
        "clip.projector_type": "gemma3",
        "clip.use_gelu": True,
        vision + "image_size": _IMAGE,
        vision + "patch_size": _PATCH,
        vision + "embedding_length": _WIDTH,
        vision + "feed_forward_length": _UNITS,
        vision + "block_count": 1,
        vision + "projection_dim": projection,
        vision + "attention.head_count": 4,
        vision + "attention.layer_norm_epsilon": 1e-6,
        vision + "image_mean": [0.5, 0.5, 0.5],
        vision + "image_std": [0.5, 0.5, 0.5],
        # All patches are averaged into one.
        vision + "projector.scale_factor": _IMAGE // _PATCH,
    }


def _encoder() -> list[Tensor]:
    patches = _Matrix(_WIDTH, 3, _PATCH, _PATCH)
    area = _PATCH * _PATCH
    for channel in range(3):
        patches.put(_CHANNELS + channel, channel * area, *[1 / area] * area)
        patches.put(_NEGATIVES + channel, channel * area, *[-1 / area] * area)
    return [
        patches.tensor("v.patch_embd.weight"),
        _Matrix(_WIDTH).tensor("v.patch_embd.bias"),
        _Matrix(_PATCHES, _WIDTH).tensor("v.position_embd.weight"),
        # The attention adds nothing: no patch needs to know of another.
        *(_Matrix(_WIDTH, _WIDTH).tensor(f"v.blk.0.attn_{part}.weight") for part in ("q", "k", "v", "out")),
        *(_Matrix(_WIDTH).tensor(f"v.blk.0.attn_{part}.bias") for part in ("q", "k", "v", "out")),
        *_norm("v.blk.0.ln1"),
        *_norm("v.blk.0.ln2"),
        *_detectors(),
        *_norm("v.post_ln"),
    ]


def _detectors() -> list[Tensor]:
    up, threshold, down = _Matrix(_UNITS, _WIDTH), _Matrix(_UNITS), _Matrix(_WIDTH, _UNITS)
    # What the norm makes of each channel of a pure colour: three channels and three negatives share all the variance.
    scale = math.sqrt(_WIDTH / 6)
    for unit, corner in enumerate(_COLOURS.values()):
        up.put(unit, _CHANNELS, *(_GAIN * side / scale for side in corner))
        threshold.put(0, unit, _THRESHOLD)
        down.put(_DETECTORS + unit, unit, _VOICE)
        down.put(_OPPOSITES + unit, unit, -_VOICE)
    return [
        up.tensor("v.blk.0.ffn_up.weight"),
        threshold.tensor("v.blk.0.ffn_up.bias"),
        down.tensor("v.blk.0.ffn_down.weight"),
        _Matrix(_WIDTH).tensor("v.blk.0.ffn_down.bias"),
    ]


def _projection(embeddings: list[list[float]]) -> list[Tensor]:
    projection = _Matrix(_WIDTH, len(embeddings[0]))
    # What the last norms make of a detector that fires alone, with its negative.
    scale = math.sqrt(_WIDTH / 2)
    for unit, embedding in enumerate(embeddings):
        projection.put(_DETECTORS + unit, 0, *(number / scale for number in embedding))
    return [_ones("mm.soft_emb_norm.weight"), projection.tensor("mm.input_projection.weight")]


def _norm(name: str) -> list[Tensor]:
    return [_ones(f"{name}.weight"), _Matrix(_WIDTH).tensor(f"{name}.bias")]


def _ones(name: str) -> Tensor:
    ones = _Matrix(_WIDTH)
    ones.put(0, 0, *[1.0] * _WIDTH)
    return ones.tensor(name)
