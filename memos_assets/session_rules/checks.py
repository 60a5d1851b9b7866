"""V42: the sources of services keep the rules about sessions."""

from collections.abc import Iterator

from memos_assets.catalog import Catalog
from memos_assets.check import AnyCheck, Check, CheckContext, Subject
from memos_assets.errors import UsageError
from memos_assets.finding import Finding
from memos_assets.session_rules.check import Checked, check_paths

#: Places that the evidence lists; it counts all of them.
_LISTED = 50


def check_configured(context: CheckContext, _: None) -> Checked | None:
    """Check the sources of the settings; return None where they name none.

    Raises:
        UsageError: M780 when a path of MEMOS_SESSIONS_PATH does not exist.
    """
    settings = context.settings
    if not settings.sessions_path:
        return None
    return check_paths(settings.sessions_path, settings.sessions_made_in)


def sources_keep_the_session_rules(context: CheckContext, _: None) -> Finding:
    """V42: no service makes, ends or shares a session, in the sources that the settings name."""
    expected = "every file checked, and no place that breaks a rule"
    try:
        checked = context.read_once(check_configured, None)
    except UsageError as error:
        return Finding(passed=False, expected=expected, observed=str(error))
    if checked is None:
        return Finding(
            passed=True, expected=expected, observed="MEMOS_SESSIONS_PATH is unset: none checked"
        )
    broken = {rule: count for rule, count in checked.by_rule().items() if count}
    said = [f"{rule} at {count:,}" for rule, count in broken.items()]
    if checked.not_read:
        said.append(f"{len(checked.not_read):,} not checked")
    if not checked.files:
        said.append("no Python file is there")
    return Finding(
        passed=checked.clean and checked.files > 0,
        expected=expected,
        observed=f"{checked.files:,} files: {', '.join(said) or 'every rule is kept'}",
        evidence={
            "files": checked.files,
            "broken": broken,
            "places": [f"{one.place} {one.rule} {one.what}" for one in checked.violations][
                :_LISTED
            ],
            "not checked": [str(one) for one in checked.not_read][:_LISTED],
            "allowed": [
                f"{one.violation.place} {one.violation.rule} because {one.reason}"
                for one in checked.suppressed
            ][:_LISTED],
        },
    )


def _sources(catalog: Catalog) -> Iterator[Subject[None]]:
    if catalog.application:
        yield Subject(catalog.names.service_sources, None, "service_sources_checks")


CHECKS: tuple[AnyCheck, ...] = (
    Check(
        number=42,
        name="v42_sources_keep_the_session_rules",
        title="No service makes a session, ends one that it was given, or shares one between "
        "tasks.",
        fix="`memos-assets check-sessions PATH` names each place, with the reason and the remedy",
        where="the sources that `MEMOS_SESSIONS_PATH` names; passes where it is unset",
        reads="their Python files; nothing is imported or run",
        when_failed="Rows are committed apart from those of the caller, or lost with them. "
        "`memos-assets check-sessions PATH` prints each place with its remedy; a place that is "
        "right says so in a comment: `# session-rule: S001 because REASON`.",
        subjects=_sources,
        judge=sources_keep_the_session_rules,
        group="memory",
    ),
)
