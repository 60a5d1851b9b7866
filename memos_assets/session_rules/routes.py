"""Routes of a web framework: functions that own the session they are given."""

import ast

_METHODS = frozenset(
    {"get", "post", "put", "patch", "delete", "head", "options", "trace", "query", "api_route"}
    | {"route", "websocket", "websocket_route"}
)
_REGISTERING = frozenset({"add_api_route", "add_route", "add_api_websocket_route", "add_url_rule"})
_OBJECTS = ("router", "app", "api", "blueprint", "bp", "routes", "application")


Function = ast.FunctionDef | ast.AsyncFunctionDef


def is_route(node: Function, registered: frozenset[str], *, injected: bool) -> bool:
    """Return whether a function answers requests.

    Args:
        node: the function.
        registered: names that the module hands to a router, see `registered_in`.
        injected: whether the framework gives it a session.
    """
    if node.name in registered:
        return True
    for decorator in node.decorator_list:
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        if not isinstance(called, ast.Attribute) or called.attr not in _METHODS:
            continue
        base = called.value
        name = base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "")
        if injected or any(part in _OBJECTS for part in name.lower().split("_")):
            return True
        if name.lower().endswith(_OBJECTS[:3]):
            return True
    return False


def registered_in(tree: ast.Module) -> frozenset[str]:
    """Return the names of functions that a module hands to a router, and does not decorate."""
    found = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        if name in _REGISTERING or getattr(node.func, "id", "") in ("Route", "APIRoute"):
            handlers = [*node.args, *(k.value for k in node.keywords if k.arg in _HANDLERS)]
            found |= {_name(one) for one in handlers}
    return frozenset(found - {""})


_HANDLERS = ("endpoint", "view_func")


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""
