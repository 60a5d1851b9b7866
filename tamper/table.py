"""The tamperings as one table."""

from collections.abc import Sequence

from bench.sheets import Sheet
from tamper.judge import Outcome

_MOST = 90


def sheet_of(outcomes: Sequence[Outcome]) -> Sheet:
    """Return one line per tampering: what, the checks that are red, what they name."""
    rows = [_row(outcome) for outcome in outcomes]
    matter = [outcome for outcome in outcomes if not outcome.tampering.why]
    seen = sum(outcome.is_seen for outcome in matter)
    return Sheet(
        "tamper",
        f"{len(outcomes)} tamperings: {seen} of {len(matter)} that matter are seen",
        ("tampered", "red", "named, or why it is harmless"),
        rows,
        "Each is made on a copy of the consolidated demo, and judged by the checks of its table "
        "and of the whole database, without those that search (V16 to V18). All that is red is "
        "listed.",
    )


def _row(outcome: Outcome) -> tuple[str, str, str]:
    tampering = outcome.tampering
    labels = ", ".join(sorted(outcome.noticed)) or "-"
    if tampering.why:
        return tampering.what, labels, tampering.why
    named = next(
        (outcome.noticed[label] for label in tampering.red if label in outcome.noticed), "NOT SEEN"
    )
    text = " ".join(named.replace("|", "/").replace("`", "'").split())
    return tampering.what, labels, text if len(text) <= _MOST else f"{text[: _MOST - 3]}..."
