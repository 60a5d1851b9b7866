"""`memos-assets impact`: the table, the sentences, the JSON, and refusals of one line."""

import json
from pathlib import Path

import pytest

from memos_assets.impact import measure as measuring
from memos_assets_tests.cli.conftest import Command


@pytest.mark.usefixtures("database")
def test_impact_prints_every_way_and_its_meaning(
    memos_assets: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "INDEX_QUERIES", 5)
    path = tmp_path / "impact.json"
    code, out, err = memos_assets(
        "impact", "--rows", "200,20", "--dimension", "768", "--json", str(path)
    )
    assert (code, err) == (0, "")
    assert out.startswith("Up to ")
    assert "scan, as memOS stores it" in out
    assert "index of the catalog" in out
    assert "At 200 rows of 768 elements" in out
    written = json.loads(path.read_text("utf-8"))
    assert [record["rows"] for record in written["measured"]] == [20] * 6 + [200] * 6
    assert written["summary"][0] in " ".join(out.split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--rows", "0"), "M585 rows: 0 rows cannot be measured. Fix: "),
        (("--rows", "many"), "M585 --rows: 'many' is not a list of row counts. Fix: "),
        (("--rows", ","), "M585 rows: no row counts. Fix: "),
        (("--dimension", "7"), "M586 dimension 7: "),
    ],
)
@pytest.mark.usefixtures("database")
def test_impact_refuses_what_cannot_be_measured(
    memos_assets: Command, arguments: tuple[str, ...], said: str
) -> None:
    code, _, err = memos_assets("impact", *arguments)
    assert code == 2
    assert err.startswith(said)
    assert err.count("\n") == 1
