"""The commands tokens create, tokens list and tokens revoke."""

import json

import sqlalchemy as sa

from memos_assets_tests.cli.conftest import Command


def test_a_token_is_printed_once_listed_without_it_and_revoked(
    memos_assets: Command, database: sa.Engine
) -> None:
    assert memos_assets("tokens", "list") == (0, "There is no token.\n", "")
    code, out, err = memos_assets("tokens", "create", "--user", "ann", "--label", "laptop [1]")
    token = out.strip()
    assert (code, len(token), err) == (
        0,
        49,
        "Token 1 holds for 90 days. It is not shown again.\n",
    )
    assert memos_assets("tokens", "create", "--user", "bob", "--no-expiry")[0] == 0
    code, out, err = memos_assets("tokens", "list")
    assert (code, err) == (0, "")
    assert token not in out
    assert "laptop [1]" in out
    assert "never" in out
    assert memos_assets("tokens", "revoke", "1") == (0, "Token 1 is revoked.\n", "")
    assert memos_assets("tokens", "revoke", "1") == (0, "Token 1 was revoked before.\n", "")
    _, out, _ = memos_assets("tokens", "list", "--user", "ann", "--json", "-")
    (line,) = json.loads(out)["tokens"]
    assert (line["state"], line["uses"], line["used_at"]) == ("revoked", 0, None)
    for arguments, said in (
        (("revoke", "7"), "M956 token 7: "),
        (("create", "--user", "ann", "--space", "team"), "M954 'team': "),
        (("create", "--user", "ann", "--days", "0"), "M955 access token: "),
    ):
        code, out, err = memos_assets("tokens", *arguments)
        assert (code, out) == (2, "")
        assert err.startswith(said)
    with database.connect() as conn:
        assert conn.scalar(sa.text("select count(*) from agent.tokens")) == 2
