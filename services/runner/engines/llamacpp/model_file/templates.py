"""Which chat template a model gets."""

from __future__ import annotations

from services.runner.engines.llamacpp.vocabulary import Vocabulary
from services.runner.kinds.text.prompt.template import packaged_template

# Models whose own template is replaced, by the base name in their file.
_TEMPLATES = {"smollm2": "smollm2"}


def chosen_template(vocabulary: Vocabulary) -> str:
    """Returns the template of a model: its own, unless a better one comes with this package."""
    packaged = _TEMPLATES.get(vocabulary.basename)
    return packaged_template(packaged) if packaged else vocabulary.chat_template
