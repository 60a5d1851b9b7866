"""The kills as one table, summed by the phase in which they fell."""

from collections.abc import Sequence

from bench.sheets import Sheet
from faults.campaign import Campaign, Kill
from faults.phases import PHASES

_COLUMNS = (
    "killed during",
    "kills",
    "worker",
    "server",
    "chunks in the ledger",
    "saved",
    "copied by the resume",
    "copied again",
    "half there",
    "lost",
    "doubled",
)


def sheet_of(campaign: Campaign) -> Sheet:
    """Return one line per phase, and their sum."""
    kills = campaign.kills
    groups = [(phase, [k for k in kills if k.outcome.phase == phase]) for phase in PHASES]
    rows = [_row(phase, group, campaign.chunks) for phase, group in groups if group]
    return Sheet(
        "faults",
        f"{len(kills)} kills on the way to {campaign.cycles} consolidations",
        _COLUMNS,
        [*rows, _row("all", kills, campaign.chunks)],
        (
            f"Chunks in the ledger: fewest - most of {campaign.chunks} that a whole consolidation "
            "has. Saved: of these, what the next run left alone, summed; it may have been killed "
            "as well. Lost and doubled rows are counted when a consolidation is done, in "
            f"the line of its last kill. Seed {campaign.seed}."
        ),
    )


def _row(name: str, kills: Sequence[Kill], chunks: int) -> tuple[str, ...]:
    ledgers = [kill.ledger for kill in kills]
    return (
        name,
        f"{len(kills)}",
        f"{sum(kill.outcome.victim == 'worker' for kill in kills)}",
        f"{sum(kill.outcome.victim == 'server' for kill in kills)}",
        f"{min(ledgers, default=0)} - {max(ledgers, default=0)} of {chunks}",
        f"{sum(kill.saved for kill in kills):,}",
        f"{sum(kill.copied for kill in kills):,}",
        f"{sum(kill.again for kill in kills):,}",
        f"{sum(kill.half for kill in kills):,}",
        f"{sum(kill.lost for kill in kills):,}",
        f"{sum(kill.doubled for kill in kills):,}",
    )


def last_line(campaign: Campaign) -> str:
    """Sum it up, e.g. ``100 kills: 0 lost, 0 doubled, 1,234 chunks saved``."""
    kills = campaign.kills
    return (
        f"{len(kills)} kills: {sum(kill.lost for kill in kills):,} lost, "
        f"{sum(kill.doubled for kill in kills):,} doubled, "
        f"{sum(kill.saved for kill in kills):,} chunks saved"
    )
