"""No half of a file is ever read."""

import os
import re
import stat
from pathlib import Path

import pytest

import memos_assets
from memos_assets.files import append_private, make_private, write_private, write_whole


def test_a_file_is_replaced_as_a_whole_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "outcome.json"
    path.write_text("former")
    reader = path.open()
    write_whole(path, "wholly other")
    # Who had it open reads the former file to its end.
    assert reader.read() == "former"
    reader.close()
    assert path.read_text() == "wholly other"
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_former_file_and_no_part(tmp_path: Path) -> None:
    path = tmp_path / "outcome.json"
    path.write_text("former")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "begun \ud800")
    assert path.read_text() == "former"
    assert list(tmp_path.iterdir()) == [path]


def test_a_device_is_written_to_and_stays_a_device() -> None:
    null = Path("/dev/null")
    write_whole(null, "into the void")
    assert null.is_char_device()


@pytest.mark.parametrize("umask", [0o000, 0o777 - 0o700])
def test_what_may_hold_rows_is_its_users_alone_under_any_umask(tmp_path: Path, umask: int) -> None:
    folder = tmp_path / "reports" / "of today"
    before = os.umask(umask)
    try:
        make_private(folder)
        (folder / "was open").touch(0o644)
        for name in ("new", "was open"):
            with write_private(folder / name) as file:
                file.write("row")
        append_private(folder / "log").close()
        write_whole(folder / "report.html", "row")
    finally:
        os.umask(before)
    assert {mode(path) for path in folder.iterdir()} == {0o600}
    assert (mode(folder), mode(folder.parent)) == (0o700, 0o700)
    folder.chmod(0o755)
    make_private(folder)
    assert mode(folder) == 0o700


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_log_is_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic link"):
        append_private(tmp_path / "log")


def test_every_file_of_the_package_is_written_by_this_module() -> None:
    """Others open files by the umask; the demo has rows of nobody, memos.conf has none.

    The supervisor's workspace names sockets, in a folder of its own.
    """
    exempt = ("demo/", "files.py", "postgres/server/cluster.py")
    package = Path(memos_assets.__file__).parent
    writing = re.compile(r"\.write_(text|bytes)\(|\.open\(\"[wax]")
    found = [
        str(path.relative_to(package))
        for path in sorted(package.rglob("*.py"))
        if not str(path.relative_to(package)).startswith(exempt)
        and writing.search(path.read_text("utf-8"))
    ]
    assert found == ["runs/ui/supervisor.py"]
