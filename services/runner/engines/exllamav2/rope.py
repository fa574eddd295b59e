"""Rotary position embeddings as a model's config.json asks for them, checked against what ExLlamaV2 0.3.2 reads.

The library knows `rope_theta` and `rope_scaling`, but not `rope_parameters`, the form of transformers 5
(https://huggingface.co/docs/transformers/internal/rope_utils), and it ignores kinds of scaling that it does not know.
The model would load and talk nonsense, so what it ignores is set here, or refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from services.runner.engines.exllamav2.errors import ModelError

# Each known kind of scaling and the fields that it cannot do without.
_NEEDED = {
    "default": (),
    "linear": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
    "yarn": ("factor", "original_max_position_embeddings"),
    "longrope": ("long_factor", "short_factor", "original_max_position_embeddings"),
    "su": ("long_factor", "short_factor"),
    "mrope": ("mrope_section",),
}
# Fields that the library takes to be these, whatever the file says.
_FIXED = {"beta_fast": 32, "beta_slow": 1, "attention_factor": None, "mscale": None, "mscale_all_dim": None}


@dataclass(frozen=True, slots=True)
class Rope:
    """What the library has to be told; empty if it reads the file right by itself."""

    # Field of ExLlamaV2Config → value.
    overrides: dict[str, Any] = field(default_factory=dict)

    def apply(self, config: Any) -> None:
        """Sets the fields of an ExLlamaV2Config."""
        for name, value in self.overrides.items():
            setattr(config, name, value)


def read_rope(config: Mapping[str, Any]) -> Rope:
    """Returns what to tell the library about a config.json; raises ModelError for what it cannot do."""
    text = {**config, **(config.get("text_config") or {})}
    old = text.get("rope_scaling")
    if old:
        _check(old, "rope_scaling")
    new = text.get("rope_parameters")
    if not new:
        return Rope()
    if any(isinstance(value, Mapping) for value in new.values()):
        raise ModelError("rope_parameters differs between kinds of layers, which ExLlamaV2 cannot do")
    kind = _check(new, "rope_parameters")
    overrides: dict[str, Any] = {}
    if "rope_theta" in new:
        overrides["rotary_embedding_base"] = float(new["rope_theta"])
    elif "rope_theta" not in text:
        raise ModelError("neither rope_parameters nor config.json has rope_theta: add it")
    if "partial_rotary_factor" in new:
        overrides["partial_rotary_factor"] = float(new["partial_rotary_factor"])
    return Rope(overrides | _scaling(kind, new))


def _check(parameters: Mapping[str, Any], where: str) -> str:
    """Returns the kind of scaling; raises ModelError if the library ignores it or something about it."""
    kind = str(parameters.get("rope_type") or parameters.get("type") or "default")
    needed = _NEEDED.get(kind)
    if needed is None:
        known = ", ".join(sorted(_NEEDED))
        raise ModelError(f"{where} asks for {kind!r}, which ExLlamaV2 would ignore; it knows {known}")
    if missing := [name for name in needed if name not in parameters]:
        raise ModelError(f"{where} of kind {kind!r} lacks {', '.join(missing)}")
    for name, fixed in _FIXED.items():
        if parameters.get(name, fixed) not in {None, fixed}:
            raise ModelError(f"{where} sets {name} to {parameters[name]}, which ExLlamaV2 would ignore")
    return kind


def _scaling(kind: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields that the library would have set, had it read these parameters from `rope_scaling`."""
    original = parameters.get("original_max_position_embeddings")
    if kind == "linear":
        return {"scale_pos_emb": float(parameters["factor"])}
    if kind == "llama3":
        return {
            "alt_rope_method": "llama3",
            "l3_rope_factor": parameters["factor"],
            "l3_rope_low_freq_factor": parameters["low_freq_factor"],
            "l3_rope_high_freq_factor": parameters["high_freq_factor"],
            "l3_rope_original_max_position_embeddings": original,
        }
    if kind == "yarn":
        return {
            "alt_rope_method": "yarn",
            "yarn_rope_factor": parameters["factor"],
            "yarn_rope_original_max_position_embeddings": original,
        }
    if kind in {"longrope", "su"}:
        lengths = {"original_max_seq_len": original} if original else {}
        factors = {name: parameters[name] for name in ("long_factor", "short_factor")}
        return {"alt_rope_method": "su", **lengths, **{f"scale_{name}": value for name, value in factors.items()}}
    if kind == "mrope":
        return {"mrope_section": parameters["mrope_section"]}
    return {}
