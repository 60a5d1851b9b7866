"""V08 and V09: the pinned files themselves, their content and their layout."""

from collections.abc import Sequence
from contextlib import suppress

from memos_assets.consolidate.archive.manifests import is_purged
from memos_assets.consolidate.sources.layout import left_behind
from memos_assets.consolidate.sources.pins import Pin, is_unchanged
from memos_assets.errors import SourceError
from memos_assets.finding import Finding
from memos_assets.sqlite import file as sqlite_file


def source_unchanged(pins: Sequence[Pin]) -> Finding:
    """V08: every file of a kind is as it was pinned; a retired one is read in the archive."""
    changed, purged = [], []
    for pin in pins:
        if not pin.origin.exists() and is_purged(pin.origin):
            purged.append(pin.source)
            continue
        try:
            unchanged = is_unchanged(pin)
        except SourceError as error:
            changed.append(f"{pin.source}: {error.what}")
            continue
        if not unchanged:
            changed.append(f"{pin.source}: {pin.origin.name} holds other rows than its pin")
    return Finding(
        not changed,
        expected=f"{len(pins)} files as they were pinned",
        observed=("; ".join(changed) or f"{len(pins) - len(purged)} unchanged")
        + (f", {', '.join(purged)} purged from the archive" if purged else ""),
        evidence={
            "files": [{"source": p.source, "pin": p.digest[:16]} for p in pins],
            "pins": {pin.source: pin.digest for pin in pins},
        },
    )


def source_accounted_for(pins: Sequence[Pin]) -> Finding:
    """V09: every table with rows and every column of a kind's files is in the catalog.

    The file is read as well as its pinned copy: a table that was added since is moved with it.
    """
    left = []
    for pin in pins:
        with sqlite_file.opened(pin.path) as connection:
            found = left_behind(connection, pin.kind)
        # A file that cannot be read is a matter of V08.
        with suppress(SourceError):
            if pin.origin.exists():
                with sqlite_file.opened(pin.origin) as connection:
                    since = left_behind(connection, pin.kind)
                found += [what for what in since if what not in found]
        left += [f"{pin.source}: {what}" for what in found]
    return Finding(
        not left,
        expected="0 tables or columns left behind",
        observed="; ".join(left) or "0",
        evidence={"left_behind": left, "pins": {pin.source: pin.digest for pin in pins}},
    )
