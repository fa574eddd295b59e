"""Reads the YAML files that operators write."""

from __future__ import annotations

from pathlib import Path

import yaml


class YamlFileError(ValueError):
    """A file cannot be read or is not YAML; the message names it."""


def read_yaml(path: str | Path, name: str) -> object:
    """Returns what a YAML or JSON file holds; `name` says in errors what the file is. Raises YamlFileError."""
    try:
        content: object = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise YamlFileError(f"cannot read the {name} {path}: {error.strerror}") from error
    except (yaml.YAMLError, ValueError) as error:
        # PyYAML raises a bare ValueError for a date that does not exist, and UnicodeDecodeError is one too.
        raise YamlFileError(f"the {name} {path} is not valid YAML: {error}") from error
    except (LookupError, AttributeError, TypeError, RecursionError) as error:
        # PyYAML's defects: some scalars under a wrong tag, such as `!!bool x`, and lists that are nested too deeply.
        raise YamlFileError(f"the {name} {path} is not valid YAML ({type(error).__name__})") from error
    return content
