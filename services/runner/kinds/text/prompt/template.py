"""Renders a conversation with a model's own chat template, the way the transformers library does.

Templates come with model files, so they are run in a sandbox: they cannot reach Python or change what they are given,
and each rendering has a budget of time and memory.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any, NoReturn

from jinja2 import Template, TemplateError, TemplateSyntaxError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser

from services.common.clock import Clock, system_clock
from services.common.errors import Code, MeshError
from services.runner.kinds.text.prompt.accepted import Accepted, find_accepted
from services.runner.kinds.text.prompt.controls import ControlTexts, Prompt
from services.runner.kinds.text.prompt.earlier_calls import written_for_template
from services.runner.kinds.text.prompt.formats import ToolFormat, confirm_format, detect_format
from services.runner.kinds.text.prompt.origins import Origins
from services.runner.kinds.text.prompt.sandbox import BoundedEnvironment, ProcessorClock, TemplateLimitError
from services.runner.kinds.text.prompt.thought import Thought, ThoughtTags, thought_tags
from services.runner.kinds.text.prompt.tools import Tool

# A message or a tool as templates expect them: JSON-like, with tool-call arguments as objects.
Document = Mapping[str, Any]
# Their words spell no control token, so all that are in their prompts are the template's. Some templates want ids of
# nine characters.
_TOOL = {"type": "function", "function": {"name": "look", "description": "Looks.", "parameters": {"type": "object"}}}
_CALL = {"id": "probe0001", "type": "function", "function": {"name": "look", "arguments": {"at": "it"}}}
_PLAIN_CONVERSATIONS: Sequence[Sequence[Document]] = (
    *(
        [{"role": role, "content": "Hello."} for role in roles]
        for roles in (["user"], ["user", "assistant", "user"], ["system", "user", "assistant", "user"])
    ),
    (
        {"role": "user", "content": "Look."},
        {"role": "assistant", "content": "", "reasoning_content": "It is there.", "tool_calls": [_CALL]},
        {"role": "tool", "tool_call_id": "probe0001", "name": "look", "content": "Seen."},
    ),
)
# The variables by which templates turn thinking on and off; DeepSeek has the second.
_THINKING_SWITCH = re.compile(r"\benable_thinking\b|\b(?:if|not) thinking\b")


class _Generation(Extension):
    """Passes over `{% generation %}` and `{% endgeneration %}`, which mark for training what the assistant said.

    What stands between them has a scope of its own, as in the transformers library.
    """

    tags = {"generation"}  # noqa: RUF012 - Jinja declares it so

    def parse(self, parser: Parser) -> nodes.Node:
        """Returns what stands between the tags."""
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)


class ChatTemplate:
    """A compiled chat template."""

    def __init__(
        self,
        source: str,
        *,
        eos_token: str = "",
        controls: ControlTexts = ControlTexts(),  # noqa: B008 - it is immutable
        clock: Clock = system_clock,
        processor_clock: ProcessorClock = time.thread_time,
    ) -> None:
        """Compiles the template for a model with these control tokens.

        The engine puts the beginning-of-sequence token before the prompt, so templates see an empty `bos_token`.
        Raises ValueError if it is not valid Jinja, exceeds its budget for a short conversation, writes calls that no
        reader here reads, or puts control tokens together in a way that cannot be told from what clients write.
        `processor_clock` returns the processor time of this thread, in seconds.
        """
        self._environment = environment = BoundedEnvironment(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[loopcontrols, _Generation],
            processor_clock=processor_clock,
        )
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _raise_exception
        environment.globals["strftime_now"] = lambda form: datetime.fromtimestamp(clock(), UTC).strftime(form)
        environment.add_checks()
        self._origins = Origins(controls)
        self._source = source
        self._eos_token = eos_token
        self._end = self._origins.marked(eos_token)
        # Whether the template takes the thoughts of earlier turns under the name that gpt-oss has for them.
        self._repeats_thoughts = ".thinking" in source
        # Whether the template takes the arguments of earlier calls as JSON text, and not as objects.
        self._arguments_as_text = False
        try:
            self._load()
        except ValueError:
            if not environment.exceeded:
                raise
        if environment.exceeded:
            raise ValueError(
                "the chat template takes too much time or memory for a short conversation. Use a template without "
                "long loops and without texts that grow by themselves"
            )

    @property
    def tool_format(self) -> ToolFormat:
        """How the model writes function calls."""
        return self._tool_format

    @property
    def shows_tools(self) -> bool:
        """Whether the model gets to see the functions on offer."""
        return self._shows_tools

    @property
    def thought_tags(self) -> ThoughtTags:
        """What the model's thoughts stand between."""
        return self._thought_tags

    @property
    def accepted(self) -> Accepted:
        """What the template takes of a conversation."""
        return self._accepted

    @property
    def hybrid(self) -> bool:
        """Whether thinking can be turned off."""
        return _THINKING_SWITCH.search(self._source) is not None

    @property
    def thinks(self) -> bool:
        """Whether the model thinks at all, as far as its template shows: it writes the thoughts of the past."""
        tags = self._thought_tags
        return self._tool_format.framed or tags.open in self._source or tags.close in self._source

    def thought(self, prompt: str) -> Thought:
        """Returns what is known of the thought that a rendered prompt asks for.

        A template bounds the thoughts that it opens by setting `longest_thought`, in characters. That is for small
        models that were never taught to reason: they can be asked to think, but would go on until the context is full.
        """
        opened = prompt.rstrip().endswith(self._thought_tags.open)
        return Thought(opened, self._longest_thought if opened else None, self._thought_tags)

    def render(
        self,
        messages: Sequence[Document],
        tools: Sequence[Document] = (),
        *,
        thinking: bool = False,
        effort: str = "",
    ) -> Prompt:
        """Returns the prompt, up to where the assistant speaks; raises MeshError INVALID_REQUEST if it cannot.

        `thinking` reaches templates that can turn reasoning on and off, and `effort` those that know several degrees.
        """
        variables = {"reasoning_effort": effort} if effort else {}
        try:
            return self._render(messages, tools, enable_thinking=thinking, thinking=thinking, **variables)
        except TemplateLimitError:
            message = (
                "'messages' take more time or memory than the chat template of this model may use. "
                "Send fewer or shorter messages."
            )
            raise MeshError(Code.INVALID_REQUEST, message, param="messages") from None
        except Exception as error:  # noqa: BLE001 - templates fail in any way, and none of them is the runner's failure
            # The template's own words may quote the conversation; only a text that stands in the template does not.
            told = self._origins.unmarked(str(error))
            reason = told if told and told in self._source else ""
            said = f': "{reason}". Send them' if reason else "; send them"
            message = f"'messages' are not accepted by the chat template of this model{said} as it expects them."
            raise MeshError(Code.INVALID_REQUEST, message, param="messages") from None

    def _load(self) -> None:
        """Compiles the template and finds out what it takes; raises ValueError if it cannot be used."""
        try:
            unmarked = self._environment.bounded((), self._compile)
        except TemplateSyntaxError as error:
            raise ValueError(f"the chat template is not valid: line {error.lineno}: {error.message}") from error
        except Exception as error:
            # Constants of a template are computed when it is compiled, so they fail in any way.
            raise ValueError(f"the chat template cannot be compiled: {type(error).__name__}") from error
        self._tool_format = detect_format(self._source)
        self._thought_tags = thought_tags(self._source)
        self._find_arguments()
        self._shows_tools = self._find_tools()
        self._accepted = find_accepted(self._probe)
        self._confirm_controls(unmarked)

    def _compile(self) -> Template:
        """Compiles the template, and returns it as it is without marks."""
        tree = self._environment.parse(self._source)
        self._longest_thought = _constant(tree, "longest_thought")
        self._origins.mark(tree)
        self._template = self._environment.checked_template(tree)
        return self._environment.checked_template(self._environment.parse(self._source))

    def _render(self, messages: Sequence[Document], tools: Sequence[Document] = (), **variables: object) -> Prompt:
        marked = self._origins.messages(self._documents(messages))
        rendered = self._environment.bounded(
            (messages, tools), _rendered, self._template, marked, tools, eos_token=self._end, **variables
        )
        return self._origins.read(rendered)

    def _probe(self, messages: Sequence[Document], tools: Sequence[Document] = (), **variables: object) -> Prompt:
        """Renders a conversation while the template is loaded; one that has exceeded a budget gets no other."""
        if self._environment.exceeded:
            raise TemplateLimitError("the template has exceeded its budget before")
        return self._render(messages, tools, **variables)

    def _documents(self, messages: Sequence[Document]) -> Sequence[Document]:
        """Returns messages as the template takes them."""
        return written_for_template(
            messages,
            call_id=self._tool_format.call_id,
            arguments_as_text=self._arguments_as_text,
            thinking=self._repeats_thoughts,
        )

    def _confirm_controls(self, unmarked: Template) -> None:
        """Raises ValueError if it is not known of all control tokens in prompts that the template has written them."""
        for messages, tools in product(_PLAIN_CONVERSATIONS, ([], [_TOOL])):
            try:
                prompt = self._probe(messages, tools)
                documents = self._documents(messages)
                same = prompt == self._environment.bounded(
                    (messages, tools), _rendered, unmarked, documents, tools, eos_token=self._eos_token
                )
            except Exception:  # noqa: BLE001, S112 - templates fail in any way, and may want other messages
                continue
            if prompt.cuts or not same:
                raise ValueError(
                    "the chat template puts a control token together from parts, which cannot be told from what a "
                    "client writes. Write the token as one text in the template"
                )

    def _find_tools(self) -> bool:
        """Returns whether the template shows functions; one that refuses a plain question may show them elsewhere."""
        name = "probe_of_tools"
        try:
            return name in self._probe([{"role": "user", "content": "Which?"}], [Tool(name, name).document()])
        except Exception:  # noqa: BLE001 - templates fail in any way when they refuse a conversation
            return True

    def _find_arguments(self) -> None:
        """Finds out which arguments the template writes so that they can be read; raises ValueError if it is none."""
        try:
            if confirm_format(self._tool_format, self._probe):
                return
        except ValueError:
            self._arguments_as_text = True
            if not confirm_format(self._tool_format, self._probe):
                raise
            return
        self._arguments_as_text = True
        try:
            self._arguments_as_text = confirm_format(self._tool_format, self._probe)
        except ValueError:
            self._arguments_as_text = False


def _rendered(
    template: Template, messages: Sequence[Document], tools: Sequence[Document] = (), **variables: object
) -> str:
    return template.render(
        messages=list(messages), tools=list(tools) or None, add_generation_prompt=True, bos_token="", **variables
    )


def packaged_template(name: str) -> str:
    """Returns the source of a template that is part of this package, such as "smollm2"."""
    return (Path(__file__).parent / f"{name}.jinja").read_text(encoding="utf-8")


def _constant(template: nodes.Template, name: str) -> int | None:
    """Returns the number that a template sets a variable to, or None."""
    for assignment in template.find_all(nodes.Assign):
        target, value = assignment.target, assignment.node
        if isinstance(target, nodes.Name) and target.name == name and isinstance(value, nodes.Const):
            return int(value.value)
    return None


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Writes JSON as models saw it in training, in the given order and unescaped; Jinja's own filter does neither."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: object) -> NoReturn:
    """Lets a template refuse a conversation."""
    raise TemplateError(message if isinstance(message, str) else None)
