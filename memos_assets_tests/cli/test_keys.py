"""The commands keys status and keys rotate."""

import pytest
import sqlalchemy as sa
from cryptography.fernet import Fernet

from memos_assets_tests.cli.conftest import Command
from memos_assets_tests.memory.service.test_rotation import NEW, OLD, OTHER, old_tokens, write

PASSPHRASE = "a passphrase of memOS with 32 chars"


def test_keys_are_counted_rotated_and_never_shown(
    memos_assets: Command, database: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = memos_assets("keys", "status")
    assert (code, out) == (2, "")
    assert err.startswith("M740 MEMOS_ENCRYPTION_KEY: ")
    monkeypatch.setenv("MEMOS_MEMORY_KEYS", f"{NEW}:nonsense")
    assert memos_assets("keys", "status")[2].startswith("M742 MEMOS_MEMORY_KEYS: key 2 ")

    write(database, [*old_tokens(3), b""])
    monkeypatch.setenv("MEMOS_MEMORY_KEYS", f"{NEW}:{OLD}")
    monkeypatch.setenv("MEMOS_ENCRYPTION_KEY", PASSPHRASE)
    code, out, err = memos_assets("keys", "status")
    assert (code, err) == (0, "")
    assert [line.split()[-1] for line in out.splitlines()[2:]] == ["0", "3", "0", "1"]
    assert memos_assets("keys", "rotate", "--dry-run")[0] == 1
    code, out, err = memos_assets("keys", "rotate")
    assert (code, err) == (0, "")
    assert "Encrypted 1 tables, 4 rows" in out
    assert out.endswith("3 memories rotated.\n")
    assert memos_assets("keys", "rotate", "--dry-run")[0] == 0
    assert "4" not in memos_assets("keys", "status", "--sample", "2")[1]

    monkeypatch.setenv("MEMOS_MEMORY_KEYS", OTHER)
    (memory,) = write(database, [Fernet(OTHER).encrypt(b"text 0")])
    code, out, err = memos_assets("keys", "rotate")
    assert code == 1
    assert len(err.splitlines()) == 3
    assert all(line.startswith("M741 memory ") for line in err.splitlines())
    assert str(memory) not in err
    assert not any(secret in out + err for secret in (NEW, OLD, OTHER, PASSPHRASE, "text 0"))
