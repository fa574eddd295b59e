"""Jinja's sandbox with a budget for each rendering."""

from __future__ import annotations

import functools
import time
import types
from collections.abc import Callable, ItemsView, Iterable, KeysView, Mapping, Set, ValuesView
from typing import Any, TypeVar

from jinja2 import Template, nodes
from jinja2.filters import make_attrgetter
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedFormatter
from jinja2.utils import Namespace

from services.runner.kinds.text.prompt.sandbox import operators, tree
from services.runner.kinds.text.prompt.sandbox.budget import Budget, ProcessorClock, TemplateLimitError
from services.runner.kinds.text.prompt.sandbox.filters import CHECKS, SMALL, UNKNOWN

T = TypeVar("T")
_CONTAINERS = (list, tuple, Mapping, Set, ItemsView, KeysView, ValuesView)
_DICT_ATTRIBUTES = frozenset(dir(dict))
_ATOMS = frozenset((str, int, float, bool, type(None)))
_METHOD_TYPES = (types.BuiltinMethodType, types.MethodType)
# Tests that compare what they are given.
_COMPARISONS = (
    "==",
    "!=",
    "<",
    "<=",
    ">",
    ">=",
    "eq",
    "equalto",
    "ne",
    "lt",
    "lessthan",
    "le",
    "gt",
    "greaterthan",
    "in",
)


class _Namespace(Namespace):
    """A namespace that is not written with all that it holds, because that changes and may be another namespace."""

    def __repr__(self) -> str:
        return "<Namespace>"


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """A sandbox whose templates are compiled and rendered within a budget. It renders one template at a time."""

    intercepted_binops = frozenset(("+", "-", "*", "/", "//", "%", "**"))

    def __init__(self, *, processor_clock: ProcessorClock = time.thread_time, **options: Any) -> None:
        """Makes an environment; the options are those of Jinja."""
        super().__init__(**options)
        self._clock = processor_clock
        # Nothing is rendered without a budget of its own: this one is over.
        self._no_budget = self._budget = Budget(lambda: 0.0)
        self._exceeded = False
        # Jinja makes texts of what it has rendered with this function.
        self.concat = self._joined_pieces  # type: ignore[method-assign] # it is an attribute there
        self.finalize = self._writable
        # Its texts are as long as it is asked for.
        del self.globals["lipsum"]
        self.globals["namespace"] = _Namespace
        for name in UNKNOWN:
            del self.filters[name]

    @property
    def exceeded(self) -> bool:
        """Whether a template has exceeded a budget."""
        return self._exceeded

    @property
    def step(self) -> bool:
        """Counts a step of the template; always true."""
        self._budget.step()
        return True

    def add_checks(self) -> None:
        """Adds the checks to the filters and tests that templates can use by now."""
        self.filters["join"] = self._checked_join(self.filters["join"])
        self.filters["sum"] = self._checked_sum(self.filters["sum"])
        for name, function in list(self.filters.items()):
            if name not in SMALL:
                self.filters[name] = self._checked(function, CHECKS.get(name))
        for name in _COMPARISONS:
            test: Any = self.tests[name]
            self.tests[name] = self._checked(test)
        self.filters[tree.JOINED] = self._joined
        self.filters[tree.MADE] = self._made
        self.filters[tree.CUT] = self._cut

    def checked_template(self, template: nodes.Template) -> Template:
        """Returns a parsed template compiled with its checks."""
        tree.add_checks(self, template)
        compiled = self.from_string(template)
        # Jinja copies them for each rendering, and a chain of dictionaries, as which it keeps them, takes long to copy.
        compiled.globals = dict(compiled.globals)
        return compiled

    def bounded(self, given: Any, make: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Calls what compiles or renders a template, with a new budget from the documents that the template is given.

        It is no context manager, because it runs for every chat, and a generator costs three times as much.
        """
        self._budget = Budget(self._clock, given)
        try:
            return make(*args, **kwargs)
        except TemplateLimitError:
            self._exceeded = True
            raise
        finally:
            # The budget must not keep the conversation.
            self._budget = self._no_budget

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805 - as in Jinja
        """Calls an object from a template."""
        budget = __self._budget
        budget.step()
        if isinstance(__obj, _METHOD_TYPES) and isinstance(__obj.__self__, str):
            name = __obj.__name__
            if name == "join":
                args = (operators.joinable(budget, __obj.__self__, *args),)
            elif check := operators.METHODS.get(name):
                check(budget, __obj.__self__, args, kwargs)
        return __self._made(super().call(__context, __obj, *args, **kwargs))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:  # noqa: ARG002 - as in Jinja
        """Uses a binary operator."""
        if type(left) is str and type(right) is str and operator == "+":
            self._budget.spend(len(left) + len(right))
            return left + right
        self._budget.step()
        operators.check_operands(self._budget, operator, left, right)
        return self._made(self.binop_table[operator](left, right))

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Returns an attribute or, if there is none, an item."""
        # Templates read messages mostly. It takes Python long to find out that they have no such attribute.
        if type(obj) is dict and attribute not in _DICT_ATTRIBUTES:
            return obj[attribute] if attribute in obj else self.undefined(obj=obj, name=attribute)
        return super().getattr(obj, attribute)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Returns whether a template may use an attribute."""
        return super().is_safe_attribute(obj, attr, value) and attr not in operators.UNKNOWN_METHODS

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """Returns a bounded function for the methods of texts that format them."""
        if not isinstance(value, _METHOD_TYPES) or value.__name__ not in ("format", "format_map"):
            return None
        text = value.__self__
        if not isinstance(text, str):
            return None
        by_map = value.__name__ == "format_map"

        def formatted(*args: Any, **kwargs: Any) -> str:
            if by_map:
                (kwargs,), args = args, ()
            formatter = operators.BoundedFormatter(self._budget, SandboxedFormatter(self).get_field)
            return str(formatter.vformat(text, args, kwargs))

        return formatted

    def _made(self, value: Any) -> Any:
        """Returns a value that an operation has made; raises TemplateLimitError if it is too large."""
        kind = type(value)
        if kind is str:
            self._budget.spend(len(value))
        elif kind in _ATOMS:
            pass
        elif isinstance(value, str):
            self._budget.spend(len(value))
        elif isinstance(value, _CONTAINERS):
            self._budget.size(value)
            self._budget.spend(len(value))
        elif isinstance(value, types.GeneratorType):
            return self._budget.metered(value)
        return value

    def _cut(self, value: Any) -> Any:
        """Returns a part of a value, which is not larger than the value."""
        if isinstance(value, (*_CONTAINERS, str)):
            self._budget.spend(len(value))
        return value

    def _joined(self, values: Iterable[Any]) -> str:
        """Returns the text of values one after the other, as the operator `~` makes it."""
        texts = [value if type(value) is str else str(self._writable(value)) for value in values]
        self._budget.step()
        self._budget.spend(sum(map(len, texts)))
        return "".join(texts)

    def _joined_pieces(self, pieces: Iterable[str]) -> str:
        pieces = list(pieces)
        self._budget.spend(sum(map(len, pieces)))
        return "".join(pieces)

    def _writable(self, value: Any) -> Any:
        """Returns a value that is about to be written; raises TemplateLimitError if its text is too long."""
        if type(value) not in _ATOMS and not isinstance(value, str):
            self._budget.step()
            self._budget.spend(self._budget.size(value))
        return value

    def _checked(self, function: Callable[..., Any], check: Callable[..., None] | None = None) -> Callable[..., Any]:
        """Returns a filter or test that is bounded."""
        # Jinja passes the environment or the like to some filters before their own arguments.
        passed = 1 if hasattr(function, "jinja_pass_arg") else 0

        @functools.wraps(function)
        def checked(*args: Any, **kwargs: Any) -> Any:
            self._budget.step()
            if check:
                check(self._budget, *args[passed:], **kwargs)
            return self._made(function(*args, **kwargs))

        return checked

    def _checked_join(self, function: Callable[..., str]) -> Callable[..., str]:
        @functools.wraps(function)
        def join(context: Any, value: Iterable[Any], d: str = "", attribute: str | int | None = None) -> str:
            if attribute is not None:
                value = map(make_attrgetter(self, attribute), value)
            return function(context, operators.joinable(self._budget, str(d), value), d)

        return join

    def _checked_sum(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def add(context: Any, iterable: Iterable[Any], attribute: str | int | None = None, start: Any = 0) -> Any:
            if isinstance(start, (int, float)):
                return function(context, iterable, attribute, start)
            # Lists, which are added to a new one each time.
            if attribute is not None:
                iterable = map(make_attrgetter(self, attribute), iterable)
            return functools.reduce(lambda left, right: self.call_binop(context, "+", left, right), iterable, start)

        return add
