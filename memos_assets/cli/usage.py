"""Examples of every command, and the variables of the environment that it reads most."""

from collections.abc import Mapping, Sequence
from typing import Final

#: Command -> command lines, and what each does. Tests parse every line.
EXAMPLES: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "": (
        ("memos-assets plan --data DIR", "see what is there, and what would be done"),
        ("memos-assets consolidate --data DIR", "load it, build the indexes, prove every row"),
        ("memos-assets status", "see whether all of it is well"),
    ),
    "plan": (
        ("memos-assets plan --data ~/memOS", "list the files and forecast their rows"),
        ("memos-assets plan --data ~/memOS --json -", "the same as JSON alone"),
    ),
    "consolidate": (
        ("memos-assets consolidate --data ~/memOS", "load what changed, and prove all of it"),
        ("memos-assets consolidate --data robots=/srv/fanuc.db", "one file, with a name of yours"),
        ("memos-assets consolidate --data ~/memOS --swap", "readers keep the old rows meanwhile"),
    ),
    "verify": (
        ("memos-assets verify", "read both sides again"),
        ("memos-assets -v verify", "with every check, not only those that need you"),
    ),
    "report": (("memos-assets report", "the path of the latest report, a page to print and sign"),),
    "observe": (("memos-assets observe --data ~/memOS", "register and pin; load nothing"),),
    "demo": (("memos-assets demo /tmp/memOS", "a folder to try everything on"),),
    "up": (("memos-assets up", "start it, or see whether your own server is reached"),),
    "down": (("memos-assets down", "stop the embedded server; its data stays"),),
    "status": (("memos-assets status", "rows, last verdict, open rejects, schedules, daemon"),),
    "url": (('psql "$(memos-assets url --password)"', "open the database in psql"),),
    "ui": (("memos-assets ui --port 3001", "the UI at another port"),),
    "migrate": (
        ("memos-assets migrate", "bring the schema up to date"),
        ("memos-assets migrate --to base --dry-run", "what going back would take away"),
    ),
    "settings": (
        ("memos-assets settings", "what was set, and unknown variables"),
        ("memos-assets -v settings", "all settings, with their defaults"),
    ),
    "maintain": (
        ("memos-assets maintain --dry-run", "list what is worn"),
        ("memos-assets maintain embeddings", "mend one table"),
    ),
    "search": (
        ('memos-assets search "SRVO-062 battery"', "by words and by meaning, in every table"),
        ("memos-assets search --like 17 --table embeddings", "rows near to a stored one"),
    ),
    "ask": (('memos-assets ask "What does SRVO-062 mean?"', "an answer with its sources"),),
    "impact": (("memos-assets impact --rows 1000,10000", "measure two sizes"),),
    "explain": (("memos-assets explain M307", "an error"), ("memos-assets explain V12", "a check")),
    "retire": (
        ("memos-assets retire --data ~/memOS --dry-run", "what would be moved, and what not"),
        ("memos-assets retire --data ~/memOS", "ask, then move the proven files"),
    ),
    "restore-source": (("memos-assets restore-source fanuc_robotics", "put one file back"),),
    "archive": (("memos-assets archive", "what is there, and how long it stays"),),
    "purge-archive": (("memos-assets purge-archive --dry-run", "what may be deleted now"),),
    "forget": (("memos-assets forget fanuc_robotics --with-rows", "ask, then delete its rows"),),
    "rollback": (
        ("memos-assets rollback --dry-run", "which version would be live"),
        ("memos-assets rollback", "ask, then go back to the former version"),
    ),
    "versions": (("memos-assets versions", "the live one, and those that are kept"),),
    "acknowledge": (
        (
            'memos-assets acknowledge fanuc notes --reason "drafts"',
            "leave a table behind, knowingly",
        ),
    ),
    "check-sessions": (("memos-assets check-sessions src/services", "check a folder"),),
    "serve": (("memos-assets serve --port 8765", "answer agents over HTTP"),),
    "mcp": (("memos-assets mcp", "answer one agent on standard input and output"),),
    "rejects list": (("memos-assets rejects list", "what waits, why, and the rules that fit"),),
    "rejects show": (
        ("memos-assets rejects show fanuc corpus_entities 17", "one row, column by column"),
    ),
    "rejects export": (("memos-assets rejects export rejects.jsonl", "all open ones, as lines"),),
    "rejects decide": (
        (
            "memos-assets rejects decide --table semantic_links --reason dangling_end --rule drop",
            "leave links behind that lead nowhere",
        ),
    ),
    "rejects accept": (
        (
            "memos-assets rejects accept --table embeddings --reason wrong_length --count 3",
            "accept exactly three",
        ),
    ),
    "rejects withdraw": (
        (
            "memos-assets rejects withdraw --table semantic_links --reason dangling_end",
            "take the decision back",
        ),
    ),
    "rejects replay": (("memos-assets rejects replay", "apply decisions, and prove the rows"),),
    "memory embed": (("memos-assets memory embed --missing", "those without an embedding, too"),),
    "memory seed": (("memos-assets memory seed --user u1", "from the consolidated network"),),
    "memory stats": (("memos-assets memory stats --user u1", "how much one user has"),),
    "memory models list": (("memos-assets memory models list", "which model is current"),),
    "memory models register": (
        ("memos-assets memory models register", "name the next one in MEMOS_EMBEDDER_NEXT first"),
    ),
    "memory models re-embed": (("memos-assets memory models re-embed", "go on where it was"),),
    "memory models swap": (("memos-assets memory models swap", "compare, then exchange"),),
    "memory models drop": (("memos-assets memory models drop minilm", "free a former model"),),
    "cache stats": (("memos-assets cache stats --hours 1", "the last hour"),),
    "cache evict": (("memos-assets cache evict --user u1", "the answers of one user"),),
    "cache import": (("memos-assets cache import content_cache.db", "memOS's own answers"),),
    "board list": (("memos-assets board list --state open", "those that agents work on"),),
    "board show": (
        ("memos-assets board show 445840b6-ea17-4f06-9df7-1a0696675aaf", "questions and size"),
    ),
    "board replay": (
        (
            "memos-assets board replay 445840b6-ea17-4f06-9df7-1a0696675aaf --at 7",
            "its state after event 7",
        ),
    ),
    "board archive": (("memos-assets board archive", "all that are complete"),),
    "snapshots write": (
        ("memos-assets snapshots write --label before", "a snapshot that is kept"),
    ),
    "snapshots list": (("memos-assets snapshots list", "the newest first"),),
    "snapshots show": (("memos-assets snapshots show before", "what one holds"),),
    "snapshots verify": (("memos-assets snapshots verify before", "read every row of it"),),
    "snapshots diff": (("memos-assets snapshots diff before after", "what agents learned"),),
    "snapshots restore": (
        ("memos-assets snapshots restore before", "what would change"),
        ("memos-assets snapshots restore before --mode exact --yes", "exchange all of it"),
    ),
    "snapshots tour": (("memos-assets snapshots tour", "on a demo database"),),
    "snapshots label": (("memos-assets snapshots label 99a3a2 before", "name one"),),
    "snapshots prune": (("memos-assets snapshots prune", "what the policy would delete"),),
    "user export": (("memos-assets user export u1 --to u1-rows", "all rows of one user"),),
    "user erase": (
        ("memos-assets user erase u1", "count what would be erased"),
        ("memos-assets user erase u1 --yes", "erase it; there is no way back"),
    ),
    "user erasures": (("memos-assets user erasures", "who was erased, and what is left"),),
    "keys status": (("memos-assets keys status --sample 100", "try a hundred memories"),),
    "keys rotate": (("memos-assets keys rotate --dry-run", "how many have an older key"),),
    "tokens create": (("memos-assets tokens create --user u1 --days 30", "print a token, once"),),
    "tokens list": (("memos-assets tokens list", "for whom, and until when"),),
    "tokens revoke": (("memos-assets tokens revoke 1", "refuse its bearer from now on"),),
}

_DATABASE = ("MEMOS_DATABASE_URL", "MEMOS_HOME")
_FILES = ("MEMOS_DATA", *_DATABASE)
_EMBEDDER = ("MEMOS_EMBEDDER", *_DATABASE)
#: Command, or its group -> variables; others read those of the database.
_VARIABLES: Final[Mapping[str, Sequence[str]]] = {
    "plan": ("MEMOS_DATA", "MEMOS_HOME"),
    "consolidate": (*_FILES, "MEMOS_MAINTENANCE_WORK_MEM_MB"),
    "observe": _FILES,
    "retire": (*_FILES, "MEMOS_ARCHIVE"),
    "archive": ("MEMOS_ARCHIVE", "MEMOS_ARCHIVE_GRACE_DAYS", "MEMOS_HOME"),
    "purge-archive": ("MEMOS_ARCHIVE", "MEMOS_ARCHIVE_GRACE_DAYS", *_DATABASE),
    "restore-source": ("MEMOS_ARCHIVE", *_DATABASE),
    "versions": (*_DATABASE, "MEMOS_KEEP_VERSIONS_DAYS", "MEMOS_SWAP_TIMEOUT_SECONDS"),
    "rollback": (*_DATABASE, "MEMOS_SWAP_TIMEOUT_SECONDS"),
    "report": ("MEMOS_HOME",),
    "demo": (),
    "explain": (),
    "check-sessions": (),
    "down": _DATABASE,
    "ui": (*_FILES, "DAGSTER_HOME"),
    "status": (*_DATABASE, "DAGSTER_HOME"),
    "search": _EMBEDDER,
    "ask": _EMBEDDER,
    "memory": _EMBEDDER,
    "memory models register": ("MEMOS_EMBEDDER_NEXT", *_EMBEDDER),
    "memory models re-embed": ("MEMOS_EMBEDDER_NEXT", *_EMBEDDER),
    "serve": ("MEMOS_API_HOST", "MEMOS_API_PORT", *_EMBEDDER),
    "mcp": ("MEMOS_API_TOKEN", *_EMBEDDER),
    "snapshots": ("MEMOS_SNAPSHOTS_URL", *_DATABASE),
    "keys": ("MEMOS_ENCRYPTION_KEY", "MEMOS_MEMORY_KEYS", *_DATABASE),
}


def names_of_variables(path: Sequence[str]) -> Sequence[str]:
    """Return the variables that a command reads; those of its group, or of the database."""
    for length in range(len(path), 0, -1):
        named = _VARIABLES.get(" ".join(path[:length]))
        if named is not None:
            return named
    return _DATABASE


def variables_of(path: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return the variables that a command reads, each with the first sentence of its meaning."""
    # pydantic takes a quarter of a second to import, which stored help need not wait for.
    from memos_assets.settings.composed import Settings, variable_of

    meanings = {
        variable_of(name): (field.description or "").partition(". ")[0].rstrip(".") + "."
        for name, field in Settings.model_fields.items()
    }
    # The one that Dagster names is known by its alias.
    meanings |= {"DAGSTER_HOME": meanings.get("DAGSTER_HOME", "")}
    return tuple((name, meanings[name]) for name in names_of_variables(path))
