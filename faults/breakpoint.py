"""Run a command of memos-assets that kills itself with signal 9 at a named place of the code.

`python -m faults.breakpoint MODULE:NAME:N ARGUMENT...`: the N-th call of NAME in MODULE does not
begin, or with `:after` behind it does not return. No block is left, no file closed, no connection
ended in an orderly way, as at a kill from outside; but it falls into the phase that is meant.
"""

import importlib
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from memos_assets.cli.main import run


def kill_at(place: str) -> None:
    """Have this process killed at a call.

    Args:
        place: ``module:name:n``, where the module looks the name up; ``Class.method`` is a name.
    """
    module, name, call, *after = place.split(":")
    owner: Any = importlib.import_module(module)
    *path, last = name.split(".")
    for part in path:
        owner = getattr(owner, part)
    setattr(owner, last, _killing(getattr(owner, last), int(call), after=bool(after)))


def _killing(function: Callable[..., Any], call: int, *, after: bool) -> Callable[..., Any]:
    calls = 0

    def called(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call and after:
            function(*arguments, **named)
        if calls == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **named)

    return called


def main() -> None:
    """Run the command; exit as it does unless the place is reached."""
    kill_at(sys.argv[1])
    sys.exit(run(sys.argv[2:]))


if __name__ == "__main__":
    main()
