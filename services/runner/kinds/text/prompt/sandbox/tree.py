"""Puts the checks of the sandbox into a parsed template, where Jinja calls no method of its environment."""

from __future__ import annotations

from jinja2 import Environment, nodes
from jinja2.visitor import NodeTransformer

# The names of filters that do what a template writes with operators. No template can write these names.
JOINED, MADE, CUT = "~", "[]", "[:]"
_LITERALS = (nodes.List, nodes.Tuple)


class _Checks(NodeTransformer):
    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 - as in Jinja
        self.generic_visit(node)
        node.body.insert(0, nodes.ExprStmt(_step(), lineno=node.lineno))
        if node.test is not None:
            node.test = nodes.And(_step(), node.test, lineno=node.lineno)
        return node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802 - as in Jinja
        self.generic_visit(node)
        left = node.expr
        cheap = True
        for operand in node.ops:
            # It takes no time of note to compare a value with a text or a number of the template, or to look it up
            # among a few.
            found_in = operand.op in ("in", "notin")
            cheap = cheap and (_constant(operand.expr) or (_constant(left) and not found_in))
            left = operand.expr
        if cheap:
            return node
        return nodes.And(_step(), node, lineno=node.lineno)

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802 - as in Jinja
        self.generic_visit(node)
        return _filtered(JOINED, nodes.List(node.nodes, lineno=node.lineno))

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802 - as in Jinja
        self.generic_visit(node)
        return _filtered(CUT, node) if isinstance(node.arg, nodes.Slice) else node

    def visit_List(self, node: nodes.List) -> nodes.Node:  # noqa: N802 - as in Jinja
        self.generic_visit(node)
        return node if _constant(node) else _filtered(MADE, node)

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:  # noqa: N802 - as in Jinja
        self.generic_visit(node)
        return node if all(isinstance(pair.value, nodes.Const) for pair in node.items) else _filtered(MADE, node)

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:  # noqa: N802 - as in Jinja
        self.generic_visit(node)
        return node if node.ctx != "load" or _constant(node) else _filtered(MADE, node)


def add_checks(environment: Environment, template: nodes.Template) -> None:
    """Changes a parsed template so that its loops, comparisons, containers and joined texts are checked."""
    _Checks().visit(template)
    template.set_environment(environment)


def _filtered(name: str, node: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


def _step() -> nodes.Expr:
    """Returns the attribute of the environment that counts a step when it is read; it is true."""
    return nodes.EnvironmentAttribute("step")


def _constant(node: nodes.Expr) -> bool:
    """Returns whether a value is a text or a number of the template, or a list of them."""
    if isinstance(node, _LITERALS):
        return all(isinstance(item, nodes.Const) for item in node.items)
    return isinstance(node, nodes.Const)
