"""The two files of a report: the same values, every one escaped, nothing from outside."""

import html
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from memos_assets.catalog import MEMOS
from memos_assets.checklist import CHECKLIST
from memos_assets.report import formatting
from memos_assets.report.compose import Recorded, compose
from memos_assets.report.outcomes import check_results
from memos_assets.report.render import (
    as_html,
    as_json,
    find_report,
    markdown_summary,
    write_report,
)
from memos_assets.report.tree import OtherFile, Report, Step
from memos_assets_tests.report.test_outcomes import V01, evaluation

HOSTILE = '<script>alert("x")</script>'
CHECKS = [("memos/a", V01), ("memos/b", V01)]


@pytest.fixture
def unchecked(engine: sa.Engine) -> Report:
    """A report of a database in which nothing was ever loaded or checked."""
    return compose(
        engine, MEMOS, Recorded("by-hand", ["run-1"], 0.0, check_results(CHECKLIST, CHECKS, [], {}))
    )


@pytest.fixture
def hostile(engine: sa.Engine) -> Report:
    """A report in which files, evaluations, failures and people say what they should not."""
    with engine.begin() as conn:
        conn.execute(
            sa.text(
                "insert into memos_ops.sources (source, kind, path) "
                "values (:text, 'meta_buffer', :text)"
            ),
            {"text": HOSTILE},
        )
        conn.execute(
            sa.text(
                "insert into memos_ops.repairs values "
                "(:text, 'embeddings', 'nul_character', :text, :text, now(), :text)"
            ),
            {"text": HOSTILE},
        )
    seen = replace(evaluation(passed=False), observed=HOSTILE, expected=HOSTILE)
    moment = formatting.moment(0)
    return compose(
        engine,
        MEMOS,
        Recorded(
            HOSTILE,
            [HOSTILE],
            0.0,
            check_results(CHECKLIST, CHECKS, [seen], {}),
            steps=[Step("load", HOSTILE, moment, 1.5, HOSTILE)],
            failures=[HOSTILE],
            other_files=[OtherFile(HOSTILE, "left alone", HOSTILE, 1, moment)],
        ),
    )


class _Page(HTMLParser):
    """Collects the elements and the text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page.replace("<wbr>", ""))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from _leaves(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _leaves(inner)
    else:
        yield value


def test_both_files_say_the_same(hostile: Report) -> None:
    written = json.loads(as_json(hostile))
    values = asdict(hostile)
    for check in values["checklist"]:
        # The key in the JSON of format 1.
        check["claim"] = check.pop("statement")
    assert written == json.loads(json.dumps(values))
    page = _Page(as_html(hostile))
    said = [
        *(check[name] for check in written["checklist"] for name in ("check", "name", "claim")),
        *_leaves([check["unproven"] for check in written["checklist"]]),
        *(
            evaluation[name]
            for check in written["checklist"]
            for evaluation in check["evaluations"]
            for name in ("asset", "expected", "observed")
        ),
        *_leaves([(todo["subject"], todo["what"]) for todo in written["to_do"]]),
        *_leaves([(d["table"], d["origin"], d["fingerprint"]) for d in written["decisions"]]),
        *_leaves([(d["vectors"], d["links"], d["notes"]) for d in written["decisions"]]),
        *_leaves([(i["index"], i["strategy"]) for i in written["indexes"]]),
        *_leaves(written["versions"]),
        *(written["target"][name] for name in ("address", "schema", "revision")),
        written["verdict"]["sentence"],
        written["written_by"],
        formatting.clock(written["written_at"]),
        formatting.clock(written["started_at"]),
    ]
    assert len(said) > 150
    assert [text for text in said if text not in page.text] == []
    assert {decision.table for decision in hostile.decisions} == {s.qualified for s in MEMOS.tables}


def test_everything_is_escaped(hostile: Report) -> None:
    page = _Page(as_html(hostile))
    assert "script" not in {tag for tag, _ in page.elements}
    # Source, kind of other file, failure, evaluation, step, repair: each of them is on the page.
    assert page.text.count(HOSTILE) >= 12
    assert html.escape("<script>", quote=False) in as_html(hostile).replace("<wbr>", "")


def test_the_page_needs_nothing_from_outside(hostile: Report) -> None:
    page = as_html(hostile)
    elements = _Page(page).elements
    assert {tag for tag, _ in elements}.isdisjoint({"script", "link", "img", "iframe", "object"})
    names = {name for _, attributes in elements for name in attributes}
    assert {name for name in names if name in ("src", "href") or name.startswith("on")} == set()
    # The name of SVG's own namespace is the one address, and nobody fetches it.
    addresses = set(re.findall(r"https?://[^\"'\s)]+", page))
    assert addresses <= {"http://www.w3.org/2000/svg"}
    assert "url(" not in page
    assert "@import" not in page


def test_a_database_in_which_nothing_was_checked_proves_nothing(unchecked: Report) -> None:
    assert not unchecked.verdict.proven
    assert unchecked.verdict.sentence.startswith("Nothing is proven: ")
    (todo,) = unchecked.to_do
    assert (todo.subject, todo.what) == ("not evaluated", "V01 on memos/a, memos/b")
    page = _Page(as_html(unchecked)).text
    assert "No file is registered." in page
    assert "Nothing is loaded." in page
    assert "never evaluated" in page


def test_failures_failed_checks_and_newer_sources_are_listed_as_things_to_do(
    hostile: Report,
) -> None:
    subjects = [todo.subject for todo in hostile.to_do]
    assert subjects == ["failed step", "failed check", "not evaluated", "source is newer"]
    assert "1 step failed, 1 check failed, 1 evaluation missing" in hostile.verdict.sentence


def test_a_report_on_rows_of_a_demo_is_stamped(hostile: Report) -> None:
    stamp = "Demo data, not yours"
    demo = replace(hostile, sources=tuple(replace(s, is_demo=True) for s in hostile.sources))
    assert stamp in _Page(as_html(demo)).text
    assert stamp not in _Page(as_html(hostile)).text
    assert markdown_summary(demo).startswith("**Demo data. ")
    assert not markdown_summary(hostile).startswith("**Demo data. ")


def test_markdown_shows_what_files_say_and_does_not_follow_it(hostile: Report) -> None:
    summary = markdown_summary(replace(hostile, to_do=hostile.to_do[1:2]))
    assert r"\<script\>alert" in summary
    bait = replace(hostile.to_do[0], what="![x](http://elsewhere) [y](z)")
    assert r"\!\[x\]\(http://elsewhere\) \[y\]\(z\)" in markdown_summary(
        replace(hostile, to_do=(bait,))
    )


def test_a_report_is_found_by_its_id_and_without_one_the_last_is(
    unchecked: Report, tmp_path: Path
) -> None:
    folder = tmp_path / "reports"
    assert find_report(folder) is None
    first = write_report(folder, unchecked)
    last = write_report(folder, replace(unchecked, consolidation="a-later-one"))
    assert (find_report(folder), find_report(folder, "by-hand")) == (last, first)
    assert find_report(folder, "another") is None
    assert sorted(path.name for path in folder.iterdir()) == [
        "a-later-one.html",
        "a-later-one.json",
        "by-hand.html",
        "by-hand.json",
    ]
