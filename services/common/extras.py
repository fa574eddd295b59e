"""How an optional part of tiermesh is installed, in words for error messages."""


def how_to_install(extra: str) -> str:
    """Returns the advice for an extra of pyproject.toml; tiermesh is on no package index, so it takes a checkout."""
    return f"install the extra '{extra}': pip install --editable '.[{extra}]' in a checkout of tiermesh"
