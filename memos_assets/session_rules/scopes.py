"""What expressions stand for in one function: names bound on the way, then those of the module."""

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from memos_assets.session_rules import vocabulary
from memos_assets.session_rules.symbols import Module, Project, merge
from memos_assets.session_rules.values import (
    SESSIONS,
    ClassOf,
    InstanceOf,
    Is,
    Kind,
    Makes,
    ModuleOf,
    Named,
    Other,
    Value,
)

#: Names that are bound, to a value or to something unknown.
Names = dict[str, Value | None]


@dataclass(slots=True)
class Scope:
    """One function, or the top of a module.

    Attributes:
        name: qualified, for people.
        of: the class whose method it is.
        names: that are bound in it and around it.
        tasks: name of a list -> sessions in the calls that were collected in it.
        captured: name of an inner function -> sessions of this one that it uses.
        route: whether it answers requests, or is within what does.
        route_sessions: parameters of a route.
        guarded: whether a condition tells a given session from an own one.
        loops: how many loops the statement is in.
        returned: what it returns or yields, so far.
    """

    name: str
    of: ClassOf | None = None
    names: Names = field(default_factory=dict)
    tasks: dict[str, Counter[str]] = field(default_factory=dict)
    captured: dict[str, frozenset[str]] = field(default_factory=dict)
    route: bool = False
    route_sessions: tuple[str, ...] = ()
    guarded: bool = False
    loops: int = 0
    returned: Value | None = None

    def inner(self, name: str) -> "Scope":
        """Return the scope of a function that is defined in this one."""
        return Scope(
            name,
            self.of,
            dict(self.names),
            dict(self.tasks),
            dict(self.captured),
            self.route,
            self.route_sessions,
        )


class Evaluator:
    """Says what expressions stand for."""

    def __init__(self, project: Project, module: Module) -> None:
        self.project, self.module = project, module

    def value(self, node: ast.expr, scope: Scope, *, as_context: bool = False) -> Value | None:
        """Return what an expression stands for, None if the sources do not say.

        Args:
            node: the expression.
            scope: in which it is.
            as_context: whether the result is entered or iterated over.
        """
        match node:
            case ast.Name():
                return self._name(node.id, scope)
            case ast.Attribute():
                return self._attribute(node, scope)
            case ast.Call():
                return self._result(node, scope, as_context=as_context)
            case ast.Await() | ast.NamedExpr() | ast.Starred():
                return self.value(node.value, scope, as_context=as_context)
            case ast.Subscript():
                generic = self.value(node.value, scope)
                return generic if isinstance(generic, Makes | ClassOf) else None
            case ast.BoolOp():
                return self._either(node.values, scope)
            case ast.IfExp():
                return self._either([node.body, node.orelse], scope)
            case ast.Lambda():
                result = self.value(node.body, without_arguments(node, scope))
                return None if result is None else Makes(result)
        return None

    def _name(self, name: str, scope: Scope) -> Value | None:
        if name in scope.names:
            return scope.names[name]
        return self.project.lookup(self.module, name)

    def session(self, node: ast.expr, scope: Scope) -> Is | None:
        """Return the session that an expression is, None if it is not one."""
        if not isinstance(node, ast.Name | ast.Attribute | ast.Await | ast.NamedExpr | ast.Call):
            return None
        value = self.value(node, scope)
        return value if isinstance(value, Is) and value.kind in SESSIONS else None

    def makes(self, call: ast.Call, scope: Scope, *, as_context: bool = False) -> Kind | None:
        """Return what a call makes: by what is called or, where that is unknown, by its name."""
        called = self.value(call.func, scope)
        if isinstance(called, Makes):
            if isinstance(call.func, ast.Attribute) and self.session(call.func.value, scope):
                return None  # ``session.connection()`` was made with the session.
            return called.result.kind if isinstance(called.result, Is) else None
        if isinstance(called, Is):
            return Kind.OWN if called.kind is Kind.MAKER else None
        if isinstance(called, ClassOf):
            return Kind.OWN if self.project.is_session(called) else None
        if isinstance(called, Other | ModuleOf | InstanceOf):
            return None
        name = _called(call.func)
        if isinstance(called, Named):
            if vocabulary.is_of_others(called.name) or vocabulary.is_library(called.name):
                return None
            name = called.name.rpartition(".")[2]
        return vocabulary.called_by_name(name, arguments=bool(call.args), as_context=as_context)

    def _result(self, call: ast.Call, scope: Scope, *, as_context: bool) -> Value | None:
        called = self.value(call.func, scope)
        if isinstance(called, Makes):
            return called.result
        if isinstance(called, ClassOf):
            session = self.project.is_session(called)
            return Is(Kind.OWN) if session else InstanceOf(called)
        name = _called(call.func)
        if name == "partial" and call.args:
            made = self.value(call.args[0], scope)
            return made if isinstance(made, Makes) else None
        if name in vocabulary.PASSING and call.args:
            passed = call.args[1] if name == "cast" and len(call.args) > 1 else call.args[0]
            return self.value(passed, scope, as_context=True)
        kind = self.makes(call, scope, as_context=as_context)
        return None if kind is None else Is(kind)

    def _attribute(self, node: ast.Attribute, scope: Scope) -> Value | None:
        name = node.attr
        base = self.value(node.value, scope)
        match base:
            case ModuleOf() | Named():
                return self.project.member(base, name)
            case ClassOf() | InstanceOf():
                found = self.project.attribute(base, name)
                if found is None and self._assigned(base, name):
                    return None
                return found or self._guessed(node)
            case Is():
                return _of_known(base, name)
            case Makes() | Other():
                return None
        return self._guessed(node)

    def _assigned(self, of: ClassOf | InstanceOf, name: str) -> bool:
        """Return whether the class assigns an attribute, of a kind that is not known."""
        one = of.of if isinstance(of, InstanceOf) else of
        return any(
            name in self.project.class_of(base)[1].assigned for base in self.project.lineage(one)
        )

    def _guessed(self, node: ast.Attribute) -> Value | None:
        """Return what an attribute is by its name, as ``self.session`` of an unknown class."""
        if vocabulary.is_session_name(node.attr, attribute=True):
            return Is(Kind.GIVEN, f"{_called(node.value)}.{node.attr}", sure=False)
        return Is(Kind.MAKER) if vocabulary.is_maker_name(node.attr) else None

    def _either(self, nodes: list[ast.expr], scope: Scope) -> Value | None:
        value: Value | None = None
        for node in nodes:
            value = merge(value, self.value(node, scope))
        return value

    def sessions_in(self, node: ast.AST, scope: Scope) -> Iterator[str]:
        """Yield the origin of each session that is used in an expression or an inner function.

        Through inner functions and methods of the same object, too.
        """
        facts = self.project.facts.of(node)
        for name in facts.loaded:
            value = scope.names.get(name)
            if isinstance(value, Is) and value.kind in SESSIONS and value.sure:
                yield value.origin or name
            yield from scope.captured.get(name, ())
        for name, attribute in facts.attributes:
            base = scope.names.get(name)
            if isinstance(base, InstanceOf):
                value = self.project.attribute(base, attribute)
                if isinstance(value, Is) and value.kind in SESSIONS:
                    yield f"{name}.{attribute}"
                for used in self._method_uses(base.of, attribute):
                    yield f"{name}.{used}"

    def _method_uses(self, of: ClassOf, method: str) -> frozenset[str]:
        for one in self.project.lineage(of):
            uses = self.project.class_of(one)[1].uses
            if method in uses:
                return uses[method]
        return frozenset()


def _of_known(base: Is, name: str) -> Value | None:
    """Return what an attribute of a session, a maker or an engine is."""
    if name in vocabulary.OPENING and base.kind is Kind.MAKER:
        return Makes(Is(Kind.OWN))
    if name in vocabulary.OPENING and base.kind is Kind.ENGINE:
        return Makes(Is(Kind.CONNECTION))
    if base.kind in SESSIONS and name in ("sync_session", "transaction"):
        return base
    same = base.kind in SESSIONS and name in _SAME
    passed = name in vocabulary.YIELDING or name == "execution_options"
    return Makes(base) if same or passed else None


def without_arguments(node: ast.Lambda, scope: Scope) -> Scope:
    """Return the scope of a lambda, whose arguments are unknown."""
    inner = scope.inner(scope.name)
    for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs):
        inner.names[argument.arg] = None
    return inner


#: Methods of a session whose result ends with it.
_SAME = ("connection", "get_transaction", "get_bind_connection")


def _called(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Subscript):
        return _called(node.value)
    return node.id if isinstance(node, ast.Name) else ""


def bound_to(value: Value | None, name: str) -> Value | None:
    """Return a value as it is bound to a name; a session is told from others by the first one."""
    if isinstance(value, Is) and value.kind in SESSIONS and not value.origin:
        return replace(value, origin=name)
    return value
