"""An error names a code, and `explain` prints the documentation of the code."""

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from memos_assets.checklist import CHECKLIST
from memos_assets.cli import display, manual
from memos_assets.consolidate.decoding.reject_reasons import EMBEDDING_REASONS, REJECT_REASONS
from memos_assets.settings import PROJECT_ROOT
from memos_assets_tests.cli.conftest import Command

LINE = "M307 database: the role may not change the schema. Fix: memos-assets migrate"


def codes_of_errors() -> list[str]:
    text = (PROJECT_ROOT / "docs" / "errors.md").read_text("utf-8")
    return re.findall(r"^### (M\d{3})$", text, re.MULTILINE)


def test_explain_prints_the_section_of_an_error_and_nothing_of_the_next(
    memos_assets: Command,
) -> None:
    code, out, err = memos_assets("explain", "m307")
    assert (code, err) == (0, "")
    assert out.startswith("### M307\n")
    assert "Fix: Run `memos-assets migrate`" in out
    assert out.count("Fix:") == 1
    assert "M310" not in out


def test_every_error_code_has_a_section_with_a_fix() -> None:
    codes = codes_of_errors()
    assert len(codes) > 100
    for code in codes:
        assert "\n\nFix: " in manual.section(code).text, code


@pytest.mark.parametrize(
    "code", [*(check.label for check in CHECKLIST), *REJECT_REASONS, *EMBEDDING_REASONS]
)
def test_every_check_and_every_reason_has_a_section(code: str) -> None:
    section = manual.section(code)
    assert code in section.text
    assert section.page.name == "checklist.md"


def test_a_code_that_no_page_explains_is_an_error(memos_assets: Command) -> None:
    code, out, err = memos_assets("explain", "M999")
    assert (code, out) == (2, "")
    assert err.startswith("M509 explain: ")
    assert "M307" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("terminal", [True, False])
def test_the_code_of_an_error_is_a_link_at_a_terminal_and_plain_elsewhere(
    monkeypatch: pytest.MonkeyPatch, *, terminal: bool
) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=60)
    monkeypatch.setattr(display, "errors", console)
    display.print_error(LINE)
    shown = out.getvalue()
    if terminal:
        page = (PROJECT_ROOT / "docs" / "errors.md").as_uri()
        assert re.search(rf"\x1b]8;[^;]*;{re.escape(page)}#m307\x1b\\[^\n]*M307", shown)
        assert "(memos-assets explain M307)" in shown
    else:
        assert shown == f"{LINE}\n"


def test_an_error_is_printed_without_a_link_where_the_pages_are_not_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    out = io.StringIO()
    monkeypatch.setattr(display, "errors", Console(file=out, force_terminal=True, width=60))
    monkeypatch.setattr(manual, "_DOCS", tmp_path)
    display.print_error(LINE)
    assert LINE in re.sub(r"\x1b\[[\d;]*m", "", out.getvalue())
    assert "explain" not in out.getvalue()
