"""The example of the README runs as it is written."""

import ast
import asyncio
import inspect
import re
from typing import Any

from memos_assets.memory import SyncMemory, sync_sessions_for
from memos_assets.settings import PROJECT_ROOT, Settings


def example() -> str:
    """Return the block of Python of the README."""
    readme = (PROJECT_ROOT / "README.md").read_text("utf-8")
    block: str
    (block,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    return block


async def run(code: str, names: dict[str, Any]) -> None:
    """Run code with ``await`` in it, as a notebook does, and close its pool."""
    compiled = compile(code, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    done = eval(compiled, names)  # our own page
    if inspect.isawaitable(done):
        await done
    await names["sessions"].kw["bind"].dispose()


def test_the_example_runs_as_written(settings: Settings) -> None:
    settings = settings.model_copy(update={"embedder": "deterministic", "embedder_dimension": 64})
    before = SyncMemory(settings)
    riga = before.prepare(
        "Anna lives in Riga.", subject="anna", attribute="city", recorded_at="2026-01-15"
    )
    sessions = sync_sessions_for(settings)
    with sessions.begin() as session:
        before.act_as(session, user="u1")
        before.create_space(session, "team-a")
        known = before.remember(session, riga)
    sessions.kw["bind"].dispose()

    names: dict[str, Any] = {"settings": settings}
    asyncio.run(run(example(), names))

    kept = names["kept"]
    assert (kept.superseded, kept.duplicate_of, kept.waits) == ([known.id], None, None)
    assert [hit.id for hit in names["now"]] == [kept.id]
    (hit,) = names["now"]
    assert (hit.state, hit.source, hit.valid_from.year) == ("current", "mail:4711", 2026)
    assert {"meaning", "words"} <= hit.scores.keys()
    assert [hit.content for hit in names["then"]] == ["Anna lives in Riga."]
    assert [hit.content for hit in names["knew"]] == ["Anna lives in Riga."]
    assert names["then"][0].state == "superseded"
    assert names["text"].startswith(f"[{kept.id}] from mail:4711, true since 2026-05-01")
