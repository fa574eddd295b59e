"""What a model file says that decides how its model is sold."""

from __future__ import annotations

from pathlib import Path

from services.common.model_file import ModelFile, Thinking
from services.runner.engines.llamacpp.gguf import Header
from services.runner.engines.llamacpp.model_file.check import check_model_file, read_vocabulary, refusal, text
from services.runner.engines.llamacpp.model_file.memory import token_size
from services.runner.engines.llamacpp.model_file.templates import chosen_template
from services.runner.kinds.text.prompt.controls import ControlTexts
from services.runner.kinds.text.prompt.template import ChatTemplate


def read_facts(path: Path) -> ModelFile:
    """Returns the facts of a model file; raises ModelFileError if it cannot be served."""
    header = check_model_file(path)
    template = _template(path)
    architecture = text(header.metadata, "general.architecture")
    return ModelFile(
        title=_title(header),
        size=path.stat().st_size,
        context=header.metadata[f"{architecture}.context_length"],
        token_size=token_size(header.metadata, architecture),
        tools=template.shows_tools,
        tool_format=template.tool_format.name,
        thinking=_thinking(template),
    )


def _template(path: Path) -> ChatTemplate:
    """Compiles the chat template as the runner will."""
    vocabulary = read_vocabulary(path)
    source = chosen_template(vocabulary)
    try:
        return ChatTemplate(source, controls=ControlTexts(vocabulary.control_texts(source)))
    except ValueError as error:
        raise refusal(path, f"cannot be served: {error}") from error


def _title(header: Header) -> str:
    parts = [text(header.metadata, f"general.{part}") for part in ("basename", "size_label")]
    return "-".join(parts) if all(parts) else text(header.metadata, "general.name")


def _thinking(template: ChatTemplate) -> Thinking:
    if template.hybrid:
        return "optional"
    return "always" if template.thinks else "never"
