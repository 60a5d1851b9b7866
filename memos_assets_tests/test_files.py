"""No half of a file is ever read."""

from pathlib import Path

import pytest

from memos_assets.files import write_whole


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
