"""What the pages of docs/operations have people type, as commands that can be compared with what an overlay makes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# The short options of kubectl that the pages use and that take the next word; long ones are written with `=`.
_TAKES_A_WORD = {"-n", "-l", "-f", "-k", "-o"}
_OPERATORS = {";", "&&", "||", "|", "(", ")", "&"}
_KINDS = {
    "deploy": "Deployment",
    "deployment": "Deployment",
    "statefulset": "StatefulSet",
    "svc": "Service",
    "hpa": "HorizontalPodAutoscaler",
    "job": "Job",
    "ingress": "Ingress",
    "pvc": "PersistentVolumeClaim",
    "pod": "Pod",
    "configmap": "ConfigMap",
    "certificate": "Certificate",
    "scaledobject": "ScaledObject",
}
# Verbs whose first argument may be a kind of object, and those that take the name of a pod.
_OF_A_KIND = {"delete", "wait", "get", "describe", "annotate"}
_OF_A_POD = {"exec", "logs", "port-forward"}


@dataclass(frozen=True)
class Command:
    """One command of a page, as a shell would split it; loops are unrolled."""

    words: tuple[str, ...]

    @property
    def program(self) -> str:
        """What is run."""
        return self.words[0]

    @property
    def inner(self) -> tuple[str, ...]:
        """What is run in a container: the words after `--`."""
        return self.words[self.words.index("--") + 1 :] if "--" in self.words else ()

    @property
    def options(self) -> dict[str, str]:
        """The options of kubectl with their values."""
        found = {}
        words = iter(self.own)
        for word in words:
            if word in _TAKES_A_WORD:
                found[word] = next(words)
            elif word.startswith("--"):
                name, _, value = word.partition("=")
                found[name] = value
        return found

    @property
    def arguments(self) -> list[str]:
        """The words of kubectl that are no options: the verb first."""
        found = []
        words = iter(self.own)
        for word in words:
            if word in _TAKES_A_WORD:
                next(words)
            elif not word.startswith("-"):
                found.append(word)
        return found

    @property
    def verb(self) -> str:
        """What kubectl is to do."""
        return self.arguments[0]

    def objects(self) -> Iterator[tuple[str, str]]:
        """Yields the kind and the name of each object that kubectl is told of by name."""
        arguments = [word for word in self.arguments[1:] if "=" not in word]
        if self.verb == "cp":
            arguments = [f"pod/{path.partition(':')[0]}" for path in arguments if ":" in path]
        named = [word for word in arguments if re.match(r"[a-z]+/", word)]
        if not named and arguments and self.verb in _OF_A_KIND:
            kind, *names = arguments
            named = [f"{kind}/{name}" for name in names if "/" not in name]
        elif not named and arguments and self.verb in _OF_A_POD:
            named = [f"pod/{arguments[0]}"]
        for word in named:
            kind, _, name = word.partition("/")
            yield _KINDS[kind], name

    @property
    def own(self) -> tuple[str, ...]:
        """What the program itself is given: the words before `--`."""
        return self.words[1 : self.words.index("--")] if "--" in self.words else self.words[1:]


def commands(page: Path) -> list[Command]:
    """Returns what a page has people type, in its order: its blocks for a shell, and commands within its lines."""
    found: list[Command] = []
    code = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$|`((?:kubectl|tiermesh|mesh) [^`\n]+)`", re.DOTALL | re.MULTILINE)
    for _, language, block, inline in code.findall(page.read_text()):
        if inline or language in {"sh", "bash"}:
            for line in _unrolled(block or inline).replace("\\\n", " ").splitlines():
                found.extend(_split(line))
    return found


def kubectl_commands(page: Path) -> list[Command]:
    """Returns the page's commands of kubectl."""
    return [command for command in commands(page) if command.program == "kubectl"]


def _unrolled(text: str) -> str:
    """Returns the text with the body of each loop once for each of its words."""

    def unroll(match: re.Match[str]) -> str:
        name, words, body = match.groups()
        return "\n".join(body.replace(f"${name}", word) for word in words.split())

    return re.sub(r"\bfor (\w+) in ([^;]+); do\b(.*?)\bdone\b", unroll, text, flags=re.DOTALL)


def _split(line: str) -> Iterator[Command]:
    """Yields the commands of a line; what stands in `$(…)` is one of its own, and leaves an ellipsis behind."""
    for nested in re.findall(r"\$\(([^()]*)\)", line):
        yield from _split(nested)
    lexer = shlex.shlex(re.sub(r"\$\([^()]*\)", "…", line), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if word not in _OPERATORS:
            words.append(word)
        elif words:
            yield Command(tuple(words))
            words = []
