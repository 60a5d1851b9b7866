"""Comments that allow a violation, and the comments that are violations themselves."""

from pathlib import Path

import pytest

from memos_assets.session_rules.check import check_paths
from memos_assets_tests.session_rules.marked import check, write

HEAD = "from core.database import SessionLocal\n"


SAID = "session-rule: S001 because scripts own theirs"


@pytest.mark.parametrize(
    "text",
    [
        f"s = SessionLocal()  # {SAID}\n",
        f"# {SAID}\ns = SessionLocal()\n",
        f"# {SAID}\n\n# of both\ns = SessionLocal()\n",
        f"s = make(\n    SessionLocal(),\n)  # {SAID}\n",
        f"def f():  # {SAID}\n    return SessionLocal()\n",
        f"class A:  # {SAID}\n    def f(self):\n        return SessionLocal()\n",
        f"# {SAID}\n@cache\ndef f():\n    return SessionLocal()\n",
        f"# {SAID.replace('S001', 'file S001')}\nx = 1\ny = SessionLocal()\n",
        f"with SessionLocal() as s:  # {SAID.replace('S001', 'S001,S002')}\n    pass\n",
    ],
)
def test_a_comment_with_a_reason_allows_what_is_there(tmp_path: Path, text: str) -> None:
    checked = check_paths([write(tmp_path, {"a.py": HEAD + text})])
    assert [one.rule for one in checked.violations if one.rule != "S000"] == []
    assert [(one.violation.rule, one.reason) for one in checked.suppressed] == [
        ("S001", "scripts own theirs")
    ]


def test_a_comment_covers_its_statement_and_its_rule_alone(tmp_path: Path) -> None:
    text = """
        from core.database import SessionLocal
        one = SessionLocal()  # session-rule: S001 because it is first
        two = SessionLocal()  #! S001
        with SessionLocal() as three:  # session-rule: S001 because of the block's head alone
            four = SessionLocal()  #! S001
        said = "# session-rule: S001 because text is not a comment"
    """
    checked = check(tmp_path, {"a.py": text})
    assert len(checked.suppressed) == 2


@pytest.mark.parametrize(
    ("comment", "what"),
    [
        ("# session-rule: S001", "without a reason"),
        ("# session-rule: S001 because   ", "without a reason"),
        ("# session-rule: S001 as it is fine", "cannot be read"),
        ("# session-rule S001 because x", "cannot be read"),
        ("# session-rule: S009 because x", "S009, which is not a rule"),
        ("# session-rule: S000 because x", "S000, which is not a rule"),
    ],
)
def test_a_comment_without_rule_or_reason_is_a_violation_and_allows_nothing(
    tmp_path: Path, comment: str, what: str
) -> None:
    path = write(tmp_path, {"a.py": f"{HEAD}session = SessionLocal()  {comment}\n"}) / "a.py"
    first, second = check_paths([path]).violations
    assert (first.line, first.column, first.rule) == (2, 11, "S001")
    assert (second.line, second.column, second.rule) == (2, 27, "S000")
    assert what in second.what


def test_a_comment_that_allows_nothing_is_a_violation(tmp_path: Path) -> None:
    text = HEAD + "x = 1  # session-rule: S001 because there was one\n"
    (one,) = check_paths([write(tmp_path, {"a.py": text})]).violations
    assert (one.rule, one.what) == ("S000", "a comment suppresses S001, which is not broken there")
