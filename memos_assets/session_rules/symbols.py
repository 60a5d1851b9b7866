"""What the modules of the checked sources define, and what their names stand for."""

import ast
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from memos_assets.session_rules import vocabulary
from memos_assets.session_rules.facts import KnownFacts
from memos_assets.session_rules.routes import registered_in
from memos_assets.session_rules.sources import Source
from memos_assets.session_rules.values import (
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


@dataclass(frozen=True, slots=True)
class Import:
    """A name that a module imports: a module, or a name of one."""

    module: str
    name: str | None


@dataclass(slots=True)
class Class:
    """A class: its bases, and what is known of its attributes and methods."""

    bases: list[ast.expr]
    attributes: dict[str, Value] = field(default_factory=dict)
    #: Attributes that its methods assign, known or not.
    assigned: set[str] = field(default_factory=set)
    #: Method -> sessions of the object that it uses.
    uses: dict[str, frozenset[str]] = field(default_factory=dict)


@dataclass(slots=True)
class Module:
    """A module, and what its own names stand for."""

    source: Source
    imports: dict[str, Import] = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)
    symbols: dict[str, Value] = field(default_factory=dict)
    classes: dict[str, Class] = field(default_factory=dict)
    #: Name -> the expression that it was assigned, for annotations that name it.
    aliases: dict[str, ast.expr] = field(default_factory=dict)
    uses_library: bool = False
    #: Functions that it hands to a router, and does not decorate.
    registered: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """Return what tells it from other modules."""
        return ".".join(self.source.parts)


class Project:
    """Every module of the checked sources.

    What a function returns, and what an attribute is, depends on others; modules are gone through
    until ``changed`` stays False.
    """

    def __init__(self, sources: Iterable[Source]) -> None:
        self.modules = [_module(source) for source in sources]
        self._by_name = {module.name: module for module in self.modules}
        self._by_last: dict[str, list[Module]] = defaultdict(list)
        for module in self.modules:
            self._by_last[module.source.parts[-1]].append(module)
        #: Name of a function -> (module, qualified name) -> whether it takes a session.
        self.takes_session: dict[str, dict[tuple[str, str], bool]] = defaultdict(dict)
        self.facts = KnownFacts()
        self._found: dict[tuple[str, str], Module | None] = {}
        self._lineages: dict[ClassOf, list[ClassOf]] = {}
        self.changed = False

    def next_pass(self) -> None:
        """Begin to go through the modules again."""
        self._lineages.clear()
        self.changed = False

    def learn(self, known: dict[str, Value], name: str, value: Value | None) -> None:
        """Note what a name stands for; a session of two kinds is either."""
        if value is None:
            return
        merged = merge(known.get(name), value)
        if merged is not None and known.get(name) != merged:
            known[name] = merged
            self.changed = True

    def find(self, dotted: str, near: Module) -> Module | None:
        """Return the module that an import names; of several the nearest to the importing one."""
        key = (dotted, near.name)
        if key not in self._found:
            self._found[key] = self._nearest(dotted, near)
        return self._found[key]

    def _nearest(self, dotted: str, near: Module) -> Module | None:
        parts = tuple(dotted.split("."))
        found = [
            module
            for module in self._by_last.get(parts[-1], ())
            if module.source.parts[-len(parts) :] == parts
        ]
        return max(found, key=lambda one: _shared(one, near), default=None)

    def lookup(self, module: Module, name: str, depth: int = 0) -> Value | None:
        """Return what a name stands for at the top of a module."""
        if name in module.symbols:
            return module.symbols[name]
        if depth > 20:
            return None  # modules that import a name from each other
        if name in module.imports:
            return self.imported(module, module.imports[name], depth + 1)
        for star in module.stars:
            value = self.imported(module, Import(star, name), depth + 1)
            if value is not None and not isinstance(value, Named):
                return value
        return None

    def imported(self, module: Module, what: Import, depth: int = 0) -> Value | None:
        """Return what an import stands for."""
        if what.name is None:
            found = self.find(what.module, module)
            return ModuleOf(found.name) if found else Named(what.module)
        whole = f"{what.module}.{what.name}"
        if vocabulary.is_library(what.module):
            return vocabulary.of_library(whole) or Named(whole)
        home = self.find(what.module, module)
        if home is not None:
            value = self.lookup(home, what.name, depth)
            if value is not None:
                return value
        inner = self.find(whole, module)
        if inner is not None:
            return ModuleOf(inner.name)
        return Named(whole)

    def member(self, of: ModuleOf | Named, name: str) -> Value | None:
        """Return what a name of a module stands for."""
        if isinstance(of, ModuleOf):
            module = self._by_name[of.name]
            found = self.lookup(module, name)
            if found is None and (inner := self.find(f"{of.name}.{name}", module)) is not None:
                return ModuleOf(inner.name)
            return found
        if name in vocabulary.OPENING and vocabulary.is_maker_name(of.name.rpartition(".")[2]):
            return Makes(Is(Kind.OWN))
        whole = f"{of.name}.{name}"
        return vocabulary.of_library(whole) or Named(whole)

    def class_of(self, value: ClassOf) -> tuple[Module, Class]:
        """Return the module of a class, and what is known of it."""
        module = self._by_name[value.module]
        return module, module.classes[value.name]

    def lineage(self, value: ClassOf) -> list[ClassOf]:
        """Return a class and those that it inherits from, as far as they were read."""
        if value in self._lineages:
            return self._lineages[value]
        found: list[ClassOf] = []
        waiting = [value]
        while waiting:
            one = waiting.pop(0)
            if one in found:
                continue
            found.append(one)
            waiting += [base for base in self._bases(one) if isinstance(base, ClassOf)]
        self._lineages[value] = found
        return found

    def is_session(self, value: ClassOf) -> bool:
        """Return whether a class is a kind of session."""
        session = Makes(Is(Kind.OWN))
        return any(base == session for one in self.lineage(value) for base in self._bases(one))

    def attribute(self, value: ClassOf | InstanceOf, name: str) -> Value | None:
        """Return what an attribute or a method stands for, of the class or one it inherits from."""
        of = value.of if isinstance(value, InstanceOf) else value
        for one in self.lineage(of):
            attributes = self.class_of(one)[1].attributes
            if name in attributes:
                return attributes[name]
        return None

    def _bases(self, value: ClassOf) -> list[Value | None]:
        module, found = self.class_of(value)
        return [self.named(module, base) for base in found.bases]

    def named(self, module: Module, expression: ast.expr) -> Value | None:
        """Return what a dotted name stands for at the top of a module; None for anything else."""
        if isinstance(expression, ast.Subscript):
            return self.named(module, expression.value)
        if isinstance(expression, ast.Name):
            return self.lookup(module, expression.id)
        if isinstance(expression, ast.Attribute):
            of = self.named(module, expression.value)
            if isinstance(of, ModuleOf | Named):
                return self.member(of, expression.attr)
            if isinstance(of, ClassOf | InstanceOf):
                return self.attribute(of, expression.attr)
        return None


def merge(first: Value | None, second: Value | None) -> Value | None:
    """Return what a name stands for that is one thing on one way, and another on another."""
    if first is None or second is None or first == second:
        return second if first is None else first
    if isinstance(first, Other):
        return second
    if isinstance(first, Makes) and isinstance(second, Makes):
        result = merge(first.result, second.result)
        return None if result is None else Makes(result)
    if isinstance(first, Is) and isinstance(second, Is) and first.kind is not second.kind:
        kinds = {first.kind, second.kind}
        if kinds <= {Kind.GIVEN, Kind.OWN, Kind.EITHER}:
            given = first if first.kind is not Kind.OWN else second
            return Is(Kind.EITHER, given.origin, given.sure)
    return first


def dotted(expression: ast.expr) -> str:
    """Return what is called, without what it is passed: an address may have a password in it."""
    if isinstance(expression, ast.Name):
        return expression.id
    if isinstance(expression, ast.Attribute):
        return f"{dotted(expression.value)}.{expression.attr}"
    if isinstance(expression, ast.Call):
        return f"{dotted(expression.func)}()"
    if isinstance(expression, ast.Subscript | ast.Await):
        return dotted(expression.value)
    return "..."


def _shared(one: Module, other: Module) -> int:
    pairs = zip(one.source.parts, other.source.parts, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), 1_000)


def _module(source: Source) -> Module:
    module = Module(source, registered=registered_in(source.tree))
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            _note_import(module, node)
    for statement in _top(source.tree.body):
        _note_definition(module, statement)
    return module


def _note_import(module: Module, node: ast.Import | ast.ImportFrom) -> None:
    if isinstance(node, ast.Import):
        for alias in node.names:
            whole = alias.name if alias.asname else alias.name.partition(".")[0]
            module.imports[alias.asname or whole] = Import(whole, None)
            module.uses_library |= vocabulary.is_library(alias.name)
        return
    home = _home(module.source, node)
    module.uses_library |= vocabulary.is_library(home)
    for alias in node.names:
        if alias.name == "*":
            module.stars.append(home)
        else:
            module.imports[alias.asname or alias.name] = Import(home, alias.name)


def _note_definition(module: Module, statement: ast.stmt) -> None:
    match statement:
        case ast.ClassDef():
            module.classes[statement.name] = Class(statement.bases)
            module.symbols[statement.name] = ClassOf(module.name, statement.name)
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            module.symbols[statement.name] = Other()
        case ast.Assign(targets=[ast.Name(id=name), *_]):
            module.aliases[name] = statement.value
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
            module.aliases[name] = value


def _top(body: list[ast.stmt]) -> Iterable[ast.stmt]:
    """Yield the statements that run when a module is imported, those in branches too."""
    for statement in body:
        yield statement
        for part in ("body", "orelse", "finalbody"):
            if isinstance(statement, ast.If | ast.Try | ast.With):
                yield from _top(getattr(statement, part, []))
        for handler in getattr(statement, "handlers", []):
            yield from _top(handler.body)


def _home(source: Source, node: ast.ImportFrom) -> str:
    """Return the dotted name of the module that names are imported from."""
    if not node.level:
        return node.module or ""
    package = source.package[: len(source.package) - node.level + 1]
    return ".".join([*package, *([node.module] if node.module else [])])
