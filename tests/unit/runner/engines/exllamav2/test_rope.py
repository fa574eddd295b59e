"""Position embeddings: what ExLlamaV2 would ignore is told to it, or refused."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from services.runner.engines.exllamav2.errors import ModelError
from services.runner.engines.exllamav2.rope import read_rope

LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


def test_what_the_library_reads_by_itself_is_left_alone() -> None:
    assert read_rope({"rope_theta": 500000.0, "rope_scaling": LLAMA3}).overrides == {}
    assert read_rope({}).overrides == {}


def test_rope_parameters_are_read_for_the_library() -> None:
    config = SimpleNamespace(rotary_embedding_base=10000.0)
    read_rope({"rope_parameters": {**LLAMA3, "rope_theta": 500000}}).apply(config)
    assert config.rotary_embedding_base == 500000.0
    assert (config.alt_rope_method, config.l3_rope_factor) == ("llama3", 8.0)
    assert config.l3_rope_original_max_position_embeddings == 8192


@pytest.mark.parametrize(
    ("parameters", "overrides"),
    [
        ({"rope_type": "linear", "factor": 4}, {"scale_pos_emb": 4.0}),
        (
            {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 4096},
            {
                "alt_rope_method": "yarn",
                "yarn_rope_factor": 4.0,
                "yarn_rope_original_max_position_embeddings": 4096,
            },
        ),
        (
            {
                "rope_type": "longrope",
                "long_factor": [2.0],
                "short_factor": [1.0],
                "original_max_position_embeddings": 4096,
            },
            {
                "alt_rope_method": "su",
                "scale_long_factor": [2.0],
                "scale_short_factor": [1.0],
                "original_max_seq_len": 4096,
            },
        ),
        ({"rope_type": "mrope", "mrope_section": [16, 24, 24]}, {"mrope_section": [16, 24, 24]}),
        ({"rope_type": "default", "partial_rotary_factor": 0.5}, {"partial_rotary_factor": 0.5}),
    ],
)
def test_every_known_kind_sets_the_library_s_fields(parameters: dict[str, Any], overrides: dict[str, Any]) -> None:
    found = read_rope({"rope_parameters": {"rope_theta": 1e6, **parameters}}).overrides
    assert found == {"rotary_embedding_base": 1e6, **overrides}


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "'dynamic', which ExLlamaV2 would ignore"),
        ({"text_config": {"rope_scaling": {"rope_type": "proportional"}}}, "'proportional'"),
        ({"rope_scaling": {"type": "linear"}}, "lacks factor"),
        (
            {
                "rope_scaling": {
                    "type": "yarn",
                    "factor": 2.0,
                    "original_max_position_embeddings": 1,
                    "beta_fast": 16,
                }
            },
            "sets beta_fast to 16",
        ),
        ({"rope_parameters": {"rope_type": "default"}}, "add it"),
        ({"rope_parameters": {"full_attention": {"rope_theta": 1e6}}}, "differs between kinds of layers"),
    ],
)
def test_what_it_cannot_do_is_refused(config: dict[str, Any], reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        read_rope(config)
