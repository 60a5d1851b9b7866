"""Go through the statements of a module, and report what breaks a rule."""

import ast
from collections.abc import Callable, Sequence

from memos_assets.session_rules import vocabulary
from memos_assets.session_rules.calls import Calls, Report
from memos_assets.session_rules.parameters import Parameter, Reader
from memos_assets.session_rules.routes import Function, is_route
from memos_assets.session_rules.scopes import Evaluator, Scope, bound_to, without_arguments
from memos_assets.session_rules.symbols import Class, Module, Project, merge
from memos_assets.session_rules.tasks import collected
from memos_assets.session_rules.values import (
    ClassOf,
    InstanceOf,
    Is,
    Kind,
    Makes,
    Other,
    Value,
)


class Walk:
    """One pass through a module; the project learns what its functions return."""

    def __init__(self, project: Project, module: Module, report: Report) -> None:
        self._project, self._module, self._report = project, module, report
        self._evaluator = Evaluator(project, module)
        self._calls = Calls(self._evaluator, report)
        self._reader = Reader(project, module)

        self._statements: dict[type[ast.stmt], Callable[..., None]] = {
            ast.FunctionDef: self._function,
            ast.AsyncFunctionDef: self._function,
            ast.ClassDef: self._class,
            ast.Assign: self._assign,
            ast.AnnAssign: self._annotated,
            ast.With: self._with,
            ast.AsyncWith: self._with,
            ast.For: self._for,
            ast.AsyncFor: self._for,
            ast.While: self._while,
            ast.If: self._branches,
            ast.Try: self._try,
            ast.TryStar: self._try,
            ast.Match: self._match,
            ast.Return: self._return,
        }

    def run(self) -> None:
        """Go through the whole module."""
        scope = Scope("the module")
        self._body(self._module.source.tree.body, scope, top=True)

    # Statements.

    def _body(self, body: Sequence[ast.stmt], scope: Scope, *, top: bool = False) -> None:
        for statement in body:
            self._statement(statement, scope, top=top)

    def _statement(self, node: ast.stmt, scope: Scope, *, top: bool) -> None:
        go = self._statements.get(type(node))
        if go is not None:
            go(node, scope, top=top)
            return
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self._visit(child, scope)

    def _assign(self, node: ast.Assign, scope: Scope, *, top: bool) -> None:
        self._visit(node.value, scope)
        for target in node.targets:
            self._bind(target, node.value, scope, top=top)

    def _for(self, node: ast.For | ast.AsyncFor, scope: Scope, *, top: bool) -> None:
        self._visit(node.iter, scope, as_context=True)
        value = self._evaluator.value(node.iter, scope, as_context=True)
        self._bind_value(node.target, value, scope)
        self._looped([*node.body, *node.orelse], scope, top=top)

    def _while(self, node: ast.While, scope: Scope, *, top: bool) -> None:
        self._visit(node.test, scope)
        self._looped([*node.body, *node.orelse], scope, top=top)

    def _try(self, node: ast.Try | ast.TryStar, scope: Scope, *, top: bool) -> None:
        self._body(node.body, scope, top=top)
        for handler in node.handlers:
            self._body(handler.body, scope, top=top)
        self._body([*node.orelse, *node.finalbody], scope, top=top)

    def _match(self, node: ast.Match, scope: Scope, *, top: bool) -> None:
        self._visit(node.subject, scope)
        for case in node.cases:
            self._body(case.body, scope, top=top)

    def _return(self, node: ast.Return, scope: Scope, *, top: bool) -> None:
        if node.value is not None and not top:
            self._visit(node.value, scope)
            self._returns(node.value, scope)

    def _looped(self, body: Sequence[ast.stmt], scope: Scope, *, top: bool) -> None:
        scope.loops += 1
        self._body(body, scope, top=top)
        scope.loops -= 1

    def _branches(self, node: ast.If, scope: Scope, *, top: bool) -> None:
        self._visit(node.test, scope)
        before, guarded = dict(scope.names), scope.guarded
        scope.guarded = guarded or _tells_sessions_apart(node.test)
        self._body(node.body, scope, top=top)
        first, scope.names = scope.names, before
        self._body(node.orelse, scope, top=top)
        scope.guarded = guarded
        for name in first.keys() | scope.names.keys():
            scope.names[name] = merge(scope.names.get(name), first.get(name))

    def _with(self, node: ast.With | ast.AsyncWith, scope: Scope, *, top: bool) -> None:
        for item in node.items:
            self._visit(item.context_expr, scope, as_context=True)
            self._calls.entered(item.context_expr, scope)
            value = self._evaluator.value(item.context_expr, scope, as_context=True)
            if item.optional_vars is not None:
                self._bind_value(item.optional_vars, value, scope)
        self._body(node.body, scope, top=top)

    def _annotated(self, node: ast.AnnAssign, scope: Scope, *, top: bool) -> None:
        if node.value is not None:
            self._visit(node.value, scope)
            self._bind(node.target, node.value, scope, top=top)
            if self._evaluator.value(node.value, scope) is not None:
                return
        said = self._reader.annotation(node.annotation).value
        self._bind_value(node.target, said, scope)

    # Names.

    def _bind(self, target: ast.expr, node: ast.expr, scope: Scope, *, top: bool) -> None:
        if (
            isinstance(target, ast.Tuple | ast.List)
            and isinstance(node, ast.Tuple | ast.List)
            and len(target.elts) == len(node.elts)
        ):
            for one, part in zip(target.elts, node.elts, strict=True):
                self._bind(one, part, scope, top=top)
            return
        value = self._evaluator.value(node, scope)
        if isinstance(target, ast.Name):
            scope.tasks[target.id] = collected(self._evaluator, node, scope, loops=0)
            if top and value is None and isinstance(node, ast.Constant | ast.Dict | ast.List):
                value = Other()
        self._bind_value(target, value, scope, top=top)

    def _bind_value(
        self, target: ast.expr, value: Value | None, scope: Scope, *, top: bool = False
    ) -> None:
        if isinstance(target, ast.Name):
            value = bound_to(value, target.id)
            scope.names[target.id] = value
            if top:
                self._project.learn(self._module.symbols, target.id, value)
        elif isinstance(target, ast.Attribute):
            base = self._evaluator.value(target.value, scope)
            if isinstance(base, InstanceOf | ClassOf):
                known = self._class_of(base)
                known.assigned.add(target.attr)
                self._project.learn(known.attributes, target.attr, value)
        elif isinstance(target, ast.Tuple | ast.List):
            for one in target.elts:
                self._bind_value(one, None, scope, top=top)
        elif isinstance(target, ast.Starred):
            self._bind_value(target.value, None, scope, top=top)

    def _class_of(self, value: InstanceOf | ClassOf) -> Class:
        return self._project.class_of(value.of if isinstance(value, InstanceOf) else value)[1]

    def _returns(self, node: ast.expr, scope: Scope) -> None:
        value = self._evaluator.value(node, scope)
        if isinstance(value, Is) and (value.kind is Kind.OF_ROUTE or not value.sure):
            return
        scope.returned = merge(scope.returned, value)

    # Definitions.

    def _class(self, node: ast.ClassDef, scope: Scope, *, top: bool) -> None:
        for one in (*node.decorator_list, *node.bases, *(k.value for k in node.keywords)):
            self._visit(one, scope)
        known = top and node.name in self._module.classes
        of = ClassOf(self._module.name, node.name) if known else None
        inner = Scope(node.name, of, dict(scope.names))
        for statement in node.body:
            if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
                self._function(statement, inner, top=False)
                continue
            self._statement(statement, inner, top=False)
            target: ast.expr | None = None
            if isinstance(statement, ast.AnnAssign):
                target = statement.target
            elif isinstance(statement, ast.Assign):
                target = statement.targets[0]
            if of is not None and isinstance(target, ast.Name):
                value = inner.names.get(target.id)
                self._project.learn(self._class_of(of).attributes, target.id, value)

    def _function(self, node: Function, scope: Scope, *, top: bool) -> None:
        defaults = [one for one in (*node.args.defaults, *node.args.kw_defaults) if one]
        for one in (*node.decorator_list, *defaults):
            self._visit(one, scope)
        in_class = scope.of is not None and scope.name == scope.of.name
        name = node.name if scope.name == "the module" else f"{scope.name}.{node.name}"
        inner = scope.inner(name)
        for argument in (node.args.vararg, node.args.kwarg):
            if argument is not None:
                inner.names[argument.arg] = None
        for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs):
            inner.names[argument.arg] = None
        parameters = self._reader.parameters(node)
        if scope.of is not None and in_class:
            self._bind_self(node, scope.of, inner)
        injected = any(one.depends for one in parameters)
        route = is_route(node, self._module.registered, injected=injected)
        inner.route = inner.route or route
        self._bind_parameters(node, parameters, inner, route=route)
        self._body(node.body, inner)
        self._learn(node, scope, inner, in_class=in_class, top=top)

    def _bind_self(self, node: Function, of: ClassOf, inner: Scope) -> None:
        kinds = {getattr(one, "id", "") for one in node.decorator_list}
        first = next(iter((*node.args.posonlyargs, *node.args.args)), None)
        if first is not None and "staticmethod" not in kinds:
            inner.names[first.arg] = of if "classmethod" in kinds else InstanceOf(of)

    def _bind_parameters(
        self, node: Function, parameters: list[Parameter], inner: Scope, *, route: bool
    ) -> None:
        used = self._project.facts.of(node).read
        for one in parameters:
            name = one.node.arg
            inner.names[name] = one.value
            if one.optional and one.is_session:
                self._report(one.node, "S003", f"{inner.name} may be called without {name}")
            if route and one.is_session:
                inner.names[name] = Is(Kind.OF_ROUTE, name)
                inner.route_sessions = (*inner.route_sessions, name)
                if name not in used:
                    self._report(
                        one.node, "S004", f"{inner.name} receives {name} and does not use it"
                    )
        key = (self._module.name, inner.name)
        self._project.takes_session[node.name][key] = any(
            isinstance(one.value, Is) and one.value.kind is Kind.GIVEN for one in parameters
        )

    def _learn(
        self, node: Function, scope: Scope, inner: Scope, *, in_class: bool, top: bool
    ) -> None:
        """Note what a function returns, and which sessions around it the function uses."""
        result = inner.returned
        if result is None or isinstance(result, Other):
            result = self._reader.returned(node)
        if isinstance(result, Is):
            result = Is(result.kind)
        made: Value = Other() if result is None else Makes(result)
        if in_class and scope.of is not None:
            known = self._class_of(scope.of)
            names = {getattr(one, "id", getattr(one, "attr", "")) for one in node.decorator_list}
            plain = names & {"property", "cached_property"}
            self._project.learn(known.attributes, node.name, (result or Other()) if plain else made)
            uses = frozenset(
                one.partition(".")[2]
                for one in self._evaluator.sessions_in(node, self._within(node, scope))
                if "." in one
            )
            if known.uses.get(node.name) != uses:
                known.uses[node.name] = uses
                self._project.changed = True
        elif top:
            self._project.learn(self._module.symbols, node.name, made)
        else:
            scope.names[node.name] = made
            scope.captured[node.name] = frozenset(self._evaluator.sessions_in(node, scope))

    def _within(self, node: Function, scope: Scope) -> Scope:
        """Return a scope in which a method's own object is known, and nothing else."""
        inner = Scope(node.name, scope.of)
        if scope.of is not None:
            self._bind_self(node, scope.of, inner)
        return inner

    # Expressions.

    def _visit(self, node: ast.expr, scope: Scope, *, as_context: bool = False) -> None:
        match node:
            case ast.Call():
                self._calls.call(node, scope, as_context=as_context)
                self._run_sync(node, scope)
            case ast.Attribute():
                self._calls.reference(node, scope)
            case ast.NamedExpr():
                self._bind(node.target, node.value, scope, top=False)
            case ast.Yield() | ast.YieldFrom() if node.value is not None:
                self._returns(node.value, scope)
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
                self._comprehension(node, scope)
                return
            case ast.Lambda():
                self._lambda(node, scope)
                return
        inside = as_context and isinstance(node, ast.Await)
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self._visit(child, scope, as_context=inside or _passes(node, child))
            elif isinstance(child, ast.keyword):
                self._visit(child.value, scope)

    def _comprehension(
        self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp, scope: Scope
    ) -> None:
        outer = dict(scope.names)
        for generator in node.generators:
            self._visit(generator.iter, scope)
            value = self._evaluator.value(generator.iter, scope, as_context=True)
            self._bind_value(generator.target, value, scope)
            for condition in generator.ifs:
                self._visit(condition, scope)
        parts = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        for part in parts:
            self._visit(part, scope)
        scope.names = outer

    def _lambda(self, node: ast.Lambda, scope: Scope, *, given: Value | None = None) -> None:
        inner = without_arguments(node, scope)
        arguments = (*node.args.posonlyargs, *node.args.args)
        for one in self._reader.parameters(node):
            inner.names[one.node.arg] = one.value
        if given is not None and arguments:
            inner.names[arguments[0].arg] = given
        self._visit(node.body, inner)

    def _run_sync(self, node: ast.Call, scope: Scope) -> None:
        """Go through the function that an asynchronous session hands its synchronous self to."""
        func = node.func
        if not (isinstance(func, ast.Attribute) and func.attr == "run_sync" and node.args):
            return
        session = self._evaluator.session(func.value, scope)
        if session is not None and isinstance(node.args[0], ast.Lambda):
            self._lambda(node.args[0], scope, given=session)


def _tells_sessions_apart(test: ast.expr) -> bool:
    """Return whether a condition is about one name: ``if own:``, ``if session is None:``."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return _tells_sessions_apart(test.operand)
    if isinstance(test, ast.BoolOp):
        return any(map(_tells_sessions_apart, test.values))
    if isinstance(test, ast.Compare):
        return any(isinstance(one, ast.Is | ast.IsNot) for one in test.ops)
    return isinstance(test, ast.Name | ast.Attribute)


def _passes(node: ast.AST, child: ast.expr) -> bool:
    """Return whether a call hands on what its argument yields: ``anext(get_session())``."""
    if not isinstance(node, ast.Call) or child is node.func:
        return False
    name = getattr(node.func, "attr", getattr(node.func, "id", ""))
    return name in vocabulary.PASSING
