"""What a call or an attribute does with sessions, reported where it breaks a rule."""

import ast
from collections.abc import Callable

from memos_assets.session_rules import vocabulary
from memos_assets.session_rules.scopes import Evaluator, Scope
from memos_assets.session_rules.symbols import dotted
from memos_assets.session_rules.tasks import note_appended, shared_sessions
from memos_assets.session_rules.values import CALLERS, MADE, ClassOf, Is, Kind, Makes

#: Is told the node that breaks a rule, the rule, and what happens there.
Report = Callable[[ast.expr | ast.arg, str, str], None]
_EXECUTING = frozenset({"execute", "scalar", "scalars", "exec", "exec_driver_sql"})


class Calls:
    """Looks at calls and attributes of one module."""

    def __init__(self, evaluator: Evaluator, report: Report) -> None:
        self._evaluator, self._report = evaluator, report
        self._project = evaluator.project

    def call(self, node: ast.Call, scope: Scope, *, as_context: bool) -> None:
        """Look at a call."""
        kind = self._evaluator.makes(node, scope, as_context=as_context)
        if kind in MADE:
            assert kind is not None
            self._report(node, "S001", f"{scope.name} makes {kind.value}: {dotted(node.func)}()")
        if isinstance(node.func, ast.Attribute):
            self._method(node, node.func, scope)
        elif isinstance(node.func, ast.Name) and node.func.id in ("closing", "aclosing"):
            self._passed_to_close(node, scope)
        note_appended(self._evaluator, node, scope)
        for origin, how in shared_sessions(self._evaluator, node, scope):
            self._report(node, "S005", f"{scope.name} uses {origin} in {how}")
        self._forgotten(node, scope)

    def _method(self, node: ast.Call, func: ast.Attribute, scope: Scope) -> None:
        """Report a call of a method that ends a transaction and is not a plain ``commit``."""
        session = self._evaluator.session(func.value, scope)
        if session is None:
            if func.attr in vocabulary.ENDS and node.args:
                self._unbound(node, func, scope)
            elif func.attr in ("closing", "aclosing", "enter_async_context", "enter_context"):
                self._passed_to_close(node, scope)
            return
        if self._allowed(session, scope):
            return
        if func.attr == "begin" and session.sure:
            self._ends(node, f"begins a transaction of {dotted(func.value)} and so commits", scope)
        elif func.attr in _EXECUTING and node.args and _ends_in_sql(node.args[0]):
            self._ends(node, f"ends the transaction of {dotted(func.value)} in SQL", scope)

    def _unbound(self, node: ast.Call, func: ast.Attribute, scope: Scope) -> None:
        """Report ``AsyncSession.commit(session)``."""
        session = self._evaluator.session(node.args[0], scope)
        of_class = isinstance(self._evaluator.value(func.value, scope), Makes | ClassOf)
        if session is not None and of_class and not self._allowed(session, scope):
            self._ends(node, f"calls {func.attr} of {dotted(node.args[0])}", scope)

    def _passed_to_close(self, node: ast.Call, scope: Scope) -> None:
        session = self._evaluator.session(node.args[0], scope) if node.args else None
        if session is not None and session.sure and not self._allowed(session, scope):
            self._ends(node, f"closes {dotted(node.args[0])}", scope)

    def reference(self, node: ast.Attribute, scope: Scope) -> None:
        """Report ``session.commit``, called or handed on to be called."""
        if node.attr not in vocabulary.ENDS or not isinstance(node.ctx, ast.Load):
            return
        session = self._evaluator.session(node.value, scope)
        if session is None or self._allowed(session, scope):
            return
        if session.sure or node.attr in ("commit", "rollback"):
            self._ends(node, f"calls {node.attr} of {dotted(node.value)}", scope)

    def _allowed(self, session: Is, scope: Scope) -> bool:
        """Return whether it is not the caller's, or a condition keeps the caller's out."""
        if session.kind not in CALLERS or scope.route:
            return True
        return session.kind is Kind.EITHER and scope.guarded

    def _ends(self, node: ast.expr, what: str, scope: Scope) -> None:
        self._report(node, "S002", f"{scope.name} {what}")

    def _forgotten(self, node: ast.Call, scope: Scope) -> None:
        """Report a route that calls a function that takes a session, without passing it on."""
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        takes = self._project.takes_session.get(name)
        if not scope.route_sessions or not takes or "_" not in name.strip("_"):
            return
        passed = [*node.args, *(keyword.value for keyword in node.keywords)]
        if any(isinstance(one, ast.Starred) for one in node.args) or any(
            keyword.arg is None for keyword in node.keywords
        ):
            return
        if all(takes.values()) and not any(
            True for one in passed for _ in self._evaluator.sessions_in(one, scope)
        ):
            self._report(node, "S004", f"{scope.name} calls {name} without the session")

    def entered(self, node: ast.expr, scope: Scope) -> None:
        """Report a session that is the caller's, and is closed at the end of a block."""
        session = self._evaluator.session(node, scope)
        named = isinstance(node, ast.Name | ast.Attribute)
        if named and session is not None and session.sure and not self._allowed(session, scope):
            self._ends(node, f"closes {dotted(node)}", scope)


def _ends_in_sql(node: ast.expr) -> bool:
    if isinstance(node, ast.Call) and node.args:
        return _ends_in_sql(node.args[0])
    return (
        isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and bool(vocabulary.ENDING_SQL.match(node.value))
    )
