"""The commands `memory seed` and `memory stats`."""

from pathlib import Path

import sqlalchemy as sa

from memos_assets_tests.cli.conftest import Command
from memos_assets_tests.consolidate import builders as b


def test_a_network_is_seeded_and_its_size_shown(
    memos_assets: Command, database: sa.Engine, tmp_path: Path
) -> None:
    code, _, err = memos_assets("memory", "seed", "--user", "u1", "--source", "semantic_memory")
    assert code != 0
    assert "M720" in err or "M327" in err
    rows = [b.memory(1), b.memory(2), b.memory(3, content="remembered 1")]
    path = b.write_kind(
        tmp_path / "data", "semantic_memory", memories=rows, connections=[b.connection(1, 2, 1)]
    )
    b.consolidate(database, path)
    for new in ("2", "0"):
        code, out, err = memos_assets("memory", "seed", "--user", "u1")
        assert (code, err) == (0, "")
        cells = next(line for line in out.splitlines() if "semantic_memory" in line).split()
        assert [cell for cell in cells if cell.isdigit()][:3] == [new, "3", "1"]
    code, out, err = memos_assets("memory", "stats", "--user", "u1")
    assert (code, err) == (0, "")
    assert "total memories" in out
    assert "remembered" not in out
