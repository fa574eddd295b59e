"""The help texts of all commands follow the same list of words as the documentation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner

from services.cli.__main__ import main

WORDS = Path(__file__).parents[3] / "docs" / "style" / "words.yml"


def commands(command: click.Command, name: str = "tiermesh") -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        for each, below in command.commands.items():
            yield from commands(below, f"{name} {each}")


def texts(command: click.Command) -> list[str]:
    options = [parameter.help for parameter in command.params if isinstance(parameter, click.Option)]
    return [text for text in (command.help, *options) if text]


def patterns() -> list[re.Pattern[str]]:
    rules = yaml.safe_load(WORDS.read_text(encoding="utf-8"))["rules"]
    return [re.compile(rule["pattern"].strip("/i"), re.IGNORECASE) for rule in rules]


COMMANDS = dict(commands(main))
every_command = pytest.mark.parametrize("name", COMMANDS)


@every_command
def test_help_avoids_the_words_that_pages_avoid(name: str) -> None:
    found = patterns()
    assert len(found) > 20
    for text in texts(COMMANDS[name]):
        assert not [match[0] for pattern in found if (match := pattern.search(text))], f"{name}: {text}"


@every_command
def test_help_consists_of_sentences(name: str) -> None:
    for text in texts(COMMANDS[name]):
        # What click shows behind a text, such as a default, comes after the sentence.
        sentence = re.sub(r"\s+\[default: .*\]$", "", text.strip())
        assert sentence[0].isupper(), f"{name}: {text}"
        assert sentence.endswith("."), f"{name}: {text}"


@pytest.mark.parametrize("name", [name for name, command in COMMANDS.items() if isinstance(command, click.Group)])
def test_the_list_of_commands_has_whole_sentences_on_a_narrow_terminal(name: str) -> None:
    group = COMMANDS[name]
    assert isinstance(group, click.Group)
    shown = CliRunner().invoke(main, [*name.split()[1:], "--help"], terminal_width=80).output
    for each, command in group.commands.items():
        [line] = re.findall(rf"^  {each} +(.+)$", shown, re.MULTILINE)
        assert line == (command.help or "").partition("\n")[0].partition(". ")[0].rstrip(".") + "."
