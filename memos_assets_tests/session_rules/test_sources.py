"""Files that cannot be checked are one line each, and stop nothing."""

import os
from pathlib import Path

import pytest

from memos_assets.errors import UsageError
from memos_assets.session_rules.check import check_paths
from memos_assets.session_rules.sources import LARGEST

BROKEN = b"from core.database import SessionLocal\nsession = SessionLocal()\n"


def test_what_is_not_python_text_is_named_with_its_reason(tmp_path: Path) -> None:
    files = {
        "bytes.py": b"\x7fELF\x00\x01",
        "coding.py": b"# coding: no-such\n",
        "deep.py": b"x = " + b"(" * 5_000 + b")" * 5_000,
        "half.py": b"def f(:\n",
        "latin.py": b"name = '\xe9'\n",
        "python2.py": b"print 'hello'\n",
        "tabs.py": b"if x:\n\ty\n        z\n",
        "unclosed.py": b"x = '''\n",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "huge.py").write_bytes(b"#" * (LARGEST + 1))
    (tmp_path / "z.py").write_bytes(BROKEN)
    checked = check_paths([tmp_path])
    assert [Path(one.path).name for one in checked.not_read] == sorted([*files, "huge.py"])
    assert all(
        str(one).count("\n") == 0 and ": not checked: " in str(one) for one in checked.not_read
    )
    assert (checked.files, len(checked.violations), checked.clean) == (1, 1, False)


def test_a_coding_that_is_named_is_read_and_columns_are_characters(tmp_path: Path) -> None:
    latin = (
        "# coding: latin-1\nfrom core.database import SessionLocal\né = 'é'; s = SessionLocal()\n"
    )
    (tmp_path / "latin.py").write_bytes(latin.encode("latin-1"))
    (tmp_path / "mark.py").write_bytes(b"\xef\xbb\xbf" + BROKEN.replace(b"\n", b"\r\n"))
    places = [(one.line, one.column) for one in check_paths([tmp_path]).violations]
    assert places == [(3, 14), (2, 11)]


def test_links_are_followed_once_and_loops_are_named(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "a.py").write_bytes(BROKEN)
    (inner / "loop").symlink_to(tmp_path)
    (tmp_path / "again").symlink_to(inner)
    (tmp_path / "b.py").symlink_to(inner / "a.py")
    (tmp_path / "self.py").symlink_to(tmp_path / "self.py")
    (tmp_path / "gone.py").symlink_to(tmp_path / "nothing")
    checked = check_paths([tmp_path])
    named = {Path(one.path).name: one.why for one in checked.not_read}
    assert named.keys() == {"self.py", "gone.py", "loop"}
    assert "leads back" in named["loop"]
    assert (checked.files, len(checked.violations)) == (1, 1)


def test_what_is_not_a_regular_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "folder.py").mkdir()
    (one,) = check_paths([tmp_path]).not_read
    assert one.why == "it is not a regular file"


def test_a_name_is_one_line_whatever_bytes_are_in_it(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path)
    for name in (b"a\nb\x1b[31m.py", b"\xff.py"):
        with open(os.path.join(folder, name), "wb") as file:  # noqa: PTH118, PTH123
            file.write(BROKEN)
    lines = [str(one) for one in check_paths([tmp_path]).violations]
    assert len(lines) == 2
    assert all(line.isprintable() for line in lines)


def test_environments_caches_and_hidden_folders_are_left_out(tmp_path: Path) -> None:
    for name in (".venv", "node_modules", "__pycache__", "site-packages", "venv"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.py").write_bytes(BROKEN)
    assert check_paths([tmp_path]).files == 0
    assert len(check_paths([tmp_path / ".venv"]).violations) == 1


def test_a_file_that_is_named_is_read_whatever_its_name_is(tmp_path: Path) -> None:
    path = tmp_path / "script"
    path.write_bytes(BROKEN)
    assert len(check_paths([path, path]).violations) == 1


def test_a_path_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^M780 .*there is no such file"):
        check_paths([tmp_path / "nothing"])


def test_a_circle_of_imports_ends(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("from b import session_maker\nfrom b import *\n")
    (tmp_path / "b.py").write_text("from a import session_maker\nsession_maker()\n")
    assert check_paths([tmp_path]).files == 2
