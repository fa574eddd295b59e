"""Model files: whether llama.cpp and this runner can serve one, found out before it is loaded."""

from services.runner.engines.llamacpp.model_file.check import ModelFileError, check_model_file, read_vocabulary
from services.runner.engines.llamacpp.model_file.templates import chosen_template

__all__ = ["ModelFileError", "check_model_file", "chosen_template", "read_vocabulary"]
