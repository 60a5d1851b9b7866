"""The command check-sessions: places with reason and remedy, JSON, exit codes."""

import json
import re
from pathlib import Path

from memos_assets.settings import PROJECT_ROOT
from memos_assets_tests.cli.conftest import Command

SERVICE = (
    "from core.database import SessionLocal\n\n\ndef store(session=None):\n"
    "    own = SessionLocal()\n    session.add(1)\n    session.commit()\n"
)


def test_each_place_is_one_line_with_reason_and_remedy(
    memos_assets: Command, tmp_path: Path
) -> None:
    (tmp_path / "service.py").write_text(SERVICE)
    (tmp_path / "broken.py").write_text("def f(:\n")
    code, out, err = memos_assets("check-sessions", str(tmp_path))
    assert (code, err) == (1, "")
    lines = out.splitlines()
    assert [re.sub(r"^.*/", "", line)[:23] for line in lines[:4]] == [
        "service.py:4:11: S003 s",
        "service.py:5:11: S001 s",
        "service.py:7:5: S002 st",
        "broken.py: not checked:",
    ]
    assert lines[1].startswith(
        f"{tmp_path}/service.py:5:11: S001 store makes a session: SessionLocal(): its rows are "
        "committed apart from those of its caller"
    )
    assert all(line.count(". Fix: ") == 1 for line in lines[:3])
    assert lines[4:] == ["1 file checked: 3 places (S001 1, S002 1, S003 1); 1 not checked."]


def test_json_says_the_same_and_stands_alone_on_standard_output(
    memos_assets: Command, tmp_path: Path
) -> None:
    allowed = SERVICE.replace(
        "SessionLocal()\n", "SessionLocal()  # session-rule: S001 because x\n"
    )
    (tmp_path / "service.py").write_text(allowed)
    code, out, err = memos_assets("check-sessions", str(tmp_path), "--json", "-")
    said = json.loads(out)
    assert (code, said["clean"], said["files"], said["not_read"]) == (1, False, 1, [])
    assert [(one["rule"], one["line"], one["column"]) for one in said["violations"]] == [
        ("S003", 4, 11),
        ("S002", 7, 5),
    ]
    assert all(one["why"] and one["fix"] for one in said["violations"])
    assert [(one["rule"], one["reason"]) for one in said["suppressed"]] == [("S001", "x")]
    assert "1 allowed by comments" in err


def test_files_that_may_make_sessions_are_named(memos_assets: Command, tmp_path: Path) -> None:
    path = tmp_path / "core" / "database.py"
    path.parent.mkdir()
    path.write_text("from x import SessionLocal\n\n\ndef get_db():\n    yield SessionLocal()\n")
    assert memos_assets("check-sessions", str(path))[0] == 1
    code, out, _ = memos_assets("check-sessions", str(path), "--makes-sessions", "core/database.py")
    assert (code, out) == (0, "1 file checked: every rule is kept.\n")


def test_a_path_that_does_not_exist_is_misuse(memos_assets: Command, tmp_path: Path) -> None:
    code, _, err = memos_assets("check-sessions", str(tmp_path / "nothing"))
    assert code == 2
    assert err.startswith("M780 ")


def test_make_lint_checks_our_own_services() -> None:
    makefile = (PROJECT_ROOT / "Makefile").read_text("utf-8")
    (line,) = re.findall(r"^\t\$\(BIN\)/memos-assets check-sessions (.+)$", makefile, re.MULTILINE)
    paths = [PROJECT_ROOT / name for name in line.split()]
    assert {"memory", "search", "memos_face"} <= {path.name for path in paths}
    assert all(path.is_dir() for path in paths)
