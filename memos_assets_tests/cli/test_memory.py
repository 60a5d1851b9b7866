"""The commands of memory at a terminal: embed what waits, exchange the model."""

import re

import pytest
import sqlalchemy as sa

from memos_assets_tests.cli.conftest import Command
from memos_assets_tests.memory.test_outbox import make_due, remember


def test_memories_are_embedded_and_the_model_is_exchanged(
    memos_assets: Command,
    database: sa.Engine,
    engine: sa.Engine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert database
    remember(engine, *(f"note {n} about the pump and valve of hall {n}" for n in range(5)))
    monkeypatch.setenv("MEMOS_EMBEDDER", "ollama")
    monkeypatch.setenv("MEMOS_EMBEDDER_MODEL", "one")
    monkeypatch.setenv("MEMOS_EMBEDDER_URL", "http://127.0.0.1:1")
    code, out, err = memos_assets("memory", "embed")
    assert (code, out) == (1, "Embedded 0 memories, made 0 links; 5 wait.\n")
    assert "M578: the endpoint does not answer" in err
    assert "pump" not in err
    make_due(engine)
    monkeypatch.delenv("MEMOS_EMBEDDER_URL")
    monkeypatch.setenv("MEMOS_EMBEDDER", "deterministic")
    code, out, err = memos_assets("memory", "embed", "--missing")
    assert (code, err) == (0, "")
    assert re.fullmatch(r"Embedded 5 memories, made \d+ links; 0 wait\.\n", out)

    assert memos_assets("memory", "models", "register")[2].startswith("M577 MEMOS_EMBEDDER_NEXT: ")
    monkeypatch.setenv("MEMOS_EMBEDDER_NEXT", "deterministic:two")
    assert memos_assets("memory", "models", "swap")[2].startswith("M767 agent.models: ")
    assert memos_assets("memory", "models", "register")[1].startswith("Registered two (1,024 ")
    assert memos_assets("memory", "models", "re-embed")[1] == "Embedded 5 memories by two.\n"
    code, out, err = memos_assets("memory", "models", "swap")
    assert (code, err) == (0, "")
    assert out.startswith("two is the current model since now; one was. 0 memories wait ")
    assert "Known memories among the first 10: 1.000, before 1.000" in out
    assert memos_assets("memory", "models", "drop", "two")[2].startswith("M766 model two: ")
    listed = memos_assets("memory", "models", "list")[1]
    assert re.search(r"^two +current +1,024 +5 ", listed, re.MULTILINE)
    assert re.search(r"^one +former +1,024 +5 ", listed, re.MULTILINE)
    assert memos_assets("memory", "models", "drop", "one")[0] == 0
