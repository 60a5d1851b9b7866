"""Every line of the remediation plan's checklist has checks, and is printed with them."""

import pytest

from memos_assets.check import Checklist
from memos_assets.checklist import CHECKLIST
from memos_assets.remediation_plan import LINES, plan_checks
from tools.checklist_page import PAGE


def test_every_phase_has_its_lines_and_every_line_its_checks() -> None:
    phases = [line.phase for line in LINES]
    assert phases == [*(phase for phase in range(1, 6) for _ in range(3)), 6]
    assert all(line.checks(CHECKLIST) for line in LINES)


def test_a_line_whose_check_is_gone_is_noticed() -> None:
    with pytest.raises(ValueError, match="no check has the number 6: Vector queries"):
        LINES[0].checks(Checklist(()))


def test_the_checks_of_its_lines_are_taken_once_in_their_order() -> None:
    numbers = [check.number for check in plan_checks(CHECKLIST)]
    assert numbers == sorted({number for line in LINES for number in line.numbers})


def test_the_page_shows_its_own_words() -> None:
    page = PAGE.read_text("utf-8")
    assert all(f"| {line.phase} | {line.words} |" in page for line in LINES)
