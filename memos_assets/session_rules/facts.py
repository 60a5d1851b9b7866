"""What a function or an expression uses and binds, read once."""

import ast
from dataclasses import dataclass

from memos_assets.session_rules import vocabulary


@dataclass(frozen=True, slots=True)
class Facts:
    """Of one node, with everything in it.

    Attributes:
        loaded: names that are read, and are not bound in it.
        attributes: (name, attribute) pairs that are read: ``self.session``.
        read: every name that is read, bound in it or not.
        as_session: names whose methods are used that database sessions have, and others have not.
    """

    loaded: tuple[str, ...]
    attributes: tuple[tuple[str, str], ...]
    read: frozenset[str]
    as_session: frozenset[str]


class KnownFacts:
    """The facts of nodes, each read once however often a module is gone through."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[ast.AST, Facts]] = {}

    def of(self, node: ast.AST) -> Facts:
        """Return the facts of a node."""
        known = self._known.get(id(node))
        if known is None:
            # With the node, whose id another one would get if it were freed.
            known = self._known[id(node)] = (node, _read(node))
        return known[1]


def _read(node: ast.AST) -> Facts:
    loads: list[str] = []
    bound: set[str] = set()
    attributes: list[tuple[str, str]] = []
    as_session: set[str] = set()
    for one in ast.walk(node):
        if isinstance(one, ast.Name):
            if isinstance(one.ctx, ast.Load):
                loads.append(one.id)
            else:
                bound.add(one.id)
        elif isinstance(one, ast.arg):
            bound.add(one.arg)
        elif isinstance(one, ast.Attribute) and isinstance(one.value, ast.Name):
            attributes.append((one.value.id, one.attr))
            if one.attr in vocabulary.ONLY_SESSIONS_HAVE:
                as_session.add(one.value.id)
    return Facts(
        tuple(name for name in loads if name not in bound),
        tuple(attributes),
        frozenset(loads),
        frozenset(as_session),
    )
