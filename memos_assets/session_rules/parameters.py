"""What parameters and returned values are, by their annotations, their defaults and their names."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from memos_assets.session_rules import vocabulary
from memos_assets.session_rules.routes import Function
from memos_assets.session_rules.symbols import Module, Project
from memos_assets.session_rules.values import ClassOf, InstanceOf, Is, Kind, Makes, Named, Value

_WRAPPERS = ("Annotated", "ClassVar", "Final", "Required", "Mapped")
#: Types that yield, or return when awaited, what is in their brackets first.
_YIELDING = (
    *("Generator", "AsyncGenerator", "Iterator", "AsyncIterator", "Iterable", "AsyncIterable"),
    *("ContextManager", "AsyncContextManager", "AbstractContextManager", "Awaitable"),
    *("AbstractAsyncContextManager",),
)


@dataclass(frozen=True, slots=True)
class Annotated:
    """What an annotation says: the value, whether it may be None, and whether it is injected."""

    value: Value | None
    optional: bool = False
    depends: bool = False


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter that is a session or makes one.

    Attributes:
        node: its place.
        value: what it is; the caller's where it is a session.
        optional: whether it may be left out, or be None.
        depends: whether a framework injects it.
    """

    node: ast.arg
    value: Value
    optional: bool
    depends: bool

    @property
    def is_session(self) -> bool:
        """Return whether it is a session, by more than its name."""
        return isinstance(self.value, Is) and self.value.kind is Kind.GIVEN and self.value.sure


class Reader:
    """Reads the signatures of a module's functions."""

    def __init__(self, project: Project, module: Module) -> None:
        self._project, self._module = project, module

    def parameters(self, node: Function | ast.Lambda) -> list[Parameter]:
        """Return the parameters that are sessions, makers, engines or objects of known classes."""
        used = self._project.facts.of(node).as_session
        found = []
        for argument, default in _with_defaults(node.args):
            said = self.annotation(argument.annotation)
            depends = said.depends or self._is_depends(default)
            none = isinstance(default, ast.Constant) and default.value is None
            value = said.value
            if value is None and argument.annotation is None:
                value = self._by_name(argument.arg, argument.arg in used, default)
            if value is not None:
                if isinstance(value, Is):
                    value = Is(value.kind, argument.arg, value.sure)
                optional = (said.optional and not depends) or none
                found.append(Parameter(argument, value, optional, depends))
        return found

    def returned(self, node: Function) -> Value | None:
        """Return what a function returns or yields by its annotation."""
        value = self.annotation(node.returns).value
        return Is(Kind.OWN) if isinstance(value, Is) and value.kind is Kind.GIVEN else value

    def annotation(self, node: ast.expr | None, depth: int = 0) -> Annotated:
        """Return what an annotation says."""
        if node is None or depth > 20:
            return Annotated(None)
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            try:
                return self.annotation(ast.parse(node.value, mode="eval").body, depth + 1)
            except (SyntaxError, ValueError, RecursionError):
                return Annotated(None)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            return self._union([node.left, node.right], depth)
        if isinstance(node, ast.Subscript):
            return self._subscript(node, depth)
        return self._type(node, depth)

    def _subscript(self, node: ast.Subscript, depth: int) -> Annotated:
        name = _last(node.value)
        inside = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if name == "Optional":
            return Annotated(self.annotation(inside[0], depth + 1).value, optional=True)
        if name == "Union":
            return self._union(inside, depth)
        if name in _WRAPPERS and inside:
            first = self.annotation(inside[0], depth + 1)
            depends = first.depends or any(self._is_depends(one) for one in inside[1:])
            return Annotated(first.value, first.optional, depends)
        if name in _YIELDING and inside:
            return Annotated(self.annotation(inside[0], depth + 1).value)
        if name == "Callable" and len(inside) == 2:
            result = self.annotation(inside[1], depth + 1).value
            given = isinstance(result, Is) and result.kind is Kind.GIVEN
            return Annotated(Is(Kind.MAKER) if given else None)
        if name in ("type", "Type"):
            return Annotated(None)
        return self.annotation(node.value, depth + 1)

    def _union(self, parts: list[ast.expr], depth: int) -> Annotated:
        none = [isinstance(part, ast.Constant) and part.value is None for part in parts]
        said = [
            self.annotation(part, depth + 1)
            for part, is_none in zip(parts, none, strict=True)
            if not is_none
        ]
        sessions = [one for one in said if isinstance(one.value, Is)]
        value = sessions[0].value if sessions else (said[0].value if len(said) == 1 else None)
        optional = any(none) or any(one.optional for one in said)
        return Annotated(value, optional, any(one.depends for one in said))

    def _type(self, node: ast.expr, depth: int) -> Annotated:
        named = self._project.named(self._module, node)
        name = _last(node)
        if isinstance(named, Makes) and isinstance(named.result, Is):
            # The library's classes are callable, so they stand for what a call makes.
            kind = named.result.kind
            return Annotated(Is(Kind.GIVEN if kind is Kind.OWN else kind))
        if isinstance(named, ClassOf):
            session = self._project.is_session(named)
            return Annotated(Is(Kind.GIVEN) if session else InstanceOf(named))
        if isinstance(named, Named) and vocabulary.is_session_type(named.name):
            return Annotated(Is(Kind.GIVEN))
        alias = self._alias(node)
        if alias is not None:
            module, expression = alias
            return Reader(self._project, module).annotation(expression, depth + 1)
        unknown = named is None or (isinstance(named, Named) and not _known(named.name))
        if unknown and name in ("AsyncSession", "DbSession", "DBSession"):
            return Annotated(Is(Kind.GIVEN))
        if unknown and name in ("AsyncSessionDep", "SessionDep", "DbSessionDep", "DBSessionDep"):
            return Annotated(Is(Kind.GIVEN), depends=True)
        return Annotated(None)

    def _alias(self, node: ast.expr) -> tuple[Module, ast.expr] | None:
        """Return the module and the expression of a name that was assigned a type."""
        module: Module | None = self._module
        if not isinstance(node, ast.Name):
            return None
        name = node.id
        for _ in range(10):
            if module is None:
                return None
            if name in module.aliases:
                return module, module.aliases[name]
            imported = module.imports.get(name)
            if imported is None or imported.name is None:
                return None
            module, name = self._project.find(imported.module, module), imported.name
        return None

    def _is_depends(self, node: ast.expr | None) -> bool:
        """Return whether FastAPI resolves it: ``Depends(get_db)``, under any name."""
        if not isinstance(node, ast.Call):
            return False
        named = self._project.named(self._module, node.func)
        name = named.name.rpartition(".")[2] if isinstance(named, Named) else _last(node.func)
        return name in ("Depends", "Security")

    def _by_name(self, name: str, used: bool, default: ast.expr | None) -> Value | None:  # noqa: FBT001
        """Return what a parameter without an annotation is, by its name and its use."""
        if vocabulary.is_maker_name(name):
            return Is(Kind.MAKER)
        if self._is_depends(default):
            assert isinstance(default, ast.Call)
            return self._injected(default, name)
        if not vocabulary.is_session_name(name):
            return None
        sure = used or (self._module.uses_library and not isinstance(default, ast.Dict | ast.List))
        if isinstance(default, ast.Constant) and default.value is not None:
            return None
        return Is(Kind.GIVEN, sure=sure)

    def _injected(self, depends: ast.Call, name: str) -> Value | None:
        """Return what ``Depends(get_db)`` injects."""
        if not depends.args:
            return None
        provider = self._project.named(self._module, depends.args[0])
        if isinstance(provider, Makes):
            made = isinstance(provider.result, Is) and provider.result.kind is Kind.OWN
            return Is(Kind.GIVEN) if made else provider.result
        if isinstance(provider, Named) or provider is None:
            last = _last(depends.args[0])
            kind = vocabulary.called_by_name(last, arguments=False, as_context=True)
            by_parameter = vocabulary.is_session_name(name)
            return Is(Kind.GIVEN) if kind is Kind.OWN or by_parameter else None
        return None


def _known(name: str) -> bool:
    return vocabulary.is_library(name) or vocabulary.is_of_others(name)


def _last(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _with_defaults(arguments: ast.arguments) -> Iterator[tuple[ast.arg, ast.expr | None]]:
    positional = [*arguments.posonlyargs, *arguments.args]
    missing: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults))
    yield from zip(positional, [*missing, *arguments.defaults], strict=True)
    yield from zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
