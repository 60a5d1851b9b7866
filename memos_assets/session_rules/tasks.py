"""Sessions that two tasks or threads use at once."""

import ast
from collections import Counter
from collections.abc import Iterator

from memos_assets.session_rules.scopes import Evaluator, Scope
from memos_assets.session_rules.values import Is, Other

#: Run their arguments at the same time; a session in one of them alone is not shared.
_TOGETHER = frozenset({"gather", "wait", "as_completed"})
#: Run a coroutine beside the caller.
_COROUTINE = frozenset({"create_task", "ensure_future", "run_coroutine_threadsafe"})
#: Run a function that is their first argument, beside the caller or in a thread.
_FUNCTION = frozenset({"to_thread", "submit", "start_soon", "add_task", "run_in_threadpool"})
_THREADS = frozenset({"Thread", "Timer", "Process"})


def shared_sessions(
    evaluator: Evaluator, node: ast.Call, scope: Scope
) -> Iterator[tuple[str, str]]:
    """Yield the sessions that a call shares between tasks or threads, and its name.

    Args:
        evaluator: of the module.
        node: the call.
        scope: in which it is.
    """
    name, base = _name(node.func)
    if isinstance(node.func, ast.Name) and isinstance(
        evaluator.value(node.func, scope), Is | Other
    ):
        return  # a function of the sources with such a name
    if name in _TOGETHER and base in ("asyncio", "", "aio"):
        counted: Counter[str] = Counter()
        for argument in node.args:
            counted += _in_argument(evaluator, argument, scope)
        found = [origin for origin, uses in counted.items() if uses > 1]
    else:
        parts = _run_beside(node, name, base)
        if not parts or evaluator.session(parts[0], scope) is not None:
            return  # service.create_task(session, title) is a call like others
        found = [one for part in parts for one in evaluator.sessions_in(part, scope)]
    for origin in dict.fromkeys(found):
        yield origin, f"{name}()"


def _run_beside(node: ast.Call, name: str, base: str) -> list[ast.expr]:
    """Return the arguments of a call that another task or thread gets: the function first."""
    arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
    if name in _COROUTINE:
        return node.args[:1]
    if name == "run_in_executor":
        return node.args[1:]
    in_thread = name == "run_sync" and base == "to_thread"
    if name in _FUNCTION or in_thread or name in _THREADS or (name == "map" and _is_pool(base)):
        return arguments
    return []


def collected(evaluator: Evaluator, node: ast.expr, scope: Scope, *, loops: int) -> Counter[str]:
    """Return how many calls of a list use each session: one in a loop is as good as two."""
    if isinstance(node, ast.ListComp | ast.GeneratorExp | ast.SetComp):
        return Counter(dict.fromkeys(evaluator.sessions_in(node, scope), 2))
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        counted: Counter[str] = Counter()
        for element in node.elts:
            counted += collected(evaluator, element, scope, loops=loops)
        return counted
    if isinstance(node, ast.Call | ast.Starred):
        uses = 2 if loops or isinstance(node, ast.Starred) else 1
        return Counter(dict.fromkeys(evaluator.sessions_in(node, scope), uses))
    return Counter()


def note_appended(evaluator: Evaluator, node: ast.Call, scope: Scope) -> None:
    """Note a call that is appended to a list: ``tasks.append(store(session, x))``."""
    func = node.func
    if not isinstance(func, ast.Attribute) or func.attr not in ("append", "add", "extend"):
        return
    if isinstance(func.value, ast.Name) and func.value.id in scope.tasks and node.args:
        more = collected(evaluator, node.args[0], scope, loops=scope.loops)
        scope.tasks[func.value.id] = scope.tasks[func.value.id] + more


def _in_argument(evaluator: Evaluator, node: ast.expr, scope: Scope) -> Counter[str]:
    """Return how many tasks of an argument of ``gather`` use each session."""
    inner = node.value if isinstance(node, ast.Starred) else node
    if isinstance(inner, ast.Name):
        if inner.id in scope.tasks:
            return scope.tasks[inner.id]
        return Counter()
    several = isinstance(node, ast.Starred) and not isinstance(inner, ast.List | ast.Tuple)
    if isinstance(inner, ast.List | ast.Tuple | ast.Set | ast.ListComp | ast.GeneratorExp):
        return collected(evaluator, inner, scope, loops=0)
    return Counter(dict.fromkeys(evaluator.sessions_in(inner, scope), 1 + several))


def _name(func: ast.expr) -> tuple[str, str]:
    """Return the name of what is called, and the last name before it."""
    if isinstance(func, ast.Attribute):
        base = func.value
        return func.attr, getattr(base, "attr", getattr(base, "id", ""))
    return getattr(func, "id", ""), ""


def _is_pool(name: str) -> bool:
    return name.lower().rstrip("_").endswith(("executor", "pool"))
