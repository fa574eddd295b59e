"""A text-to-image pipeline of random weights: everything works as with a real one, but every image is noise.

No package holds the weights of a real text-to-image model, so this one lets a laptop and the tests go the whole way:
prompt, size, seed and steps reach a real Stable Diffusion pipeline and change what it paints.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from services.runner.demonstrations.cache import made_once

# It paints noise, however long it takes.
STEPS = 4
# Raise the number whenever the pipeline is another, so that no old one is taken for a new one.
_FOLDER = "random-diffusion-1"
_CONTEXT = 77
_WIDTH = 32
_START, _END = "<|startoftext|>", "<|endoftext|>"


def random_diffusion(cache: Path) -> Path:
    """Returns the folder of the pipeline, which is made at the first call; raises OSError."""
    return made_once(cache, _FOLDER, lambda folder: _pipeline().save_pretrained(folder))


def _pipeline() -> Any:
    """Returns the pipeline, the same weights every time."""
    import torch
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    with torch.random.fork_rng():
        torch.manual_seed(0)
        tokenizer = _tokenizer()
        text_encoder, unet, decoder = _text_encoder(tokenizer), _unet(), _decoder()
    return StableDiffusionPipeline(
        vae=decoder,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=DDIMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            clip_sample=False,
            set_alpha_to_one=False,
            steps_offset=1,
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _tokenizer() -> Any:
    """Returns a CLIP tokenizer without merges: every byte is a token, as itself and as the end of a word."""
    from transformers import CLIPTokenizer

    letters = _byte_letters()
    words = [*letters, *(letter + "</w>" for letter in letters), _START, _END]
    with tempfile.TemporaryDirectory() as folder:
        vocabulary, merges = Path(folder, "vocab.json"), Path(folder, "merges.txt")
        vocabulary.write_text(json.dumps({word: number for number, word in enumerate(words)}), encoding="utf-8")
        merges.write_text("#version: 0.2\n", encoding="ascii")
        return CLIPTokenizer.from_pretrained(folder, model_max_length=_CONTEXT)


def _byte_letters() -> list[str]:
    """Returns GPT-2's printable character for each byte, which CLIP's tokenizer uses too."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [value for value in range(256) if value not in printable]
    return [chr(value) for value in printable] + [chr(256 + at) for at in range(len(others))]


def _text_encoder(tokenizer: Any) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel

    start, end = tokenizer.convert_tokens_to_ids([_START, _END])
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=_WIDTH,
        intermediate_size=2 * _WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=_CONTEXT,
        projection_dim=_WIDTH,
        bos_token_id=start,
        eos_token_id=end,
        pad_token_id=end,
    )
    return CLIPTextModel(config)


def _unet() -> Any:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=32,
        in_channels=4,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=(32, 64),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=_WIDTH,
        attention_head_dim=8,
        norm_num_groups=8,
    )


def _decoder() -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        block_out_channels=(16, 16, 32, 32),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=256,
    )
