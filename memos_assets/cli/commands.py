"""The table of commands: by job, the name of each and where it is. Nothing is imported."""

from collections.abc import Mapping

#: Job -> its commands -> the function or group of each, as `module:name` in this package.
JOBS: Mapping[str, Mapping[str, str]] = {
    "Load and prove": {
        "plan": "plan:plan",
        "consolidate": "data:consolidate_command",
        "verify": "data:verify_command",
        "observe": "data:observe",
        "report": "report:report",
        "explain": "explain:explain",
    },
    "Settle what was not loaded": {
        "rejects": "rejects:group",
        "acknowledge": "acknowledge:acknowledge",
    },
    "Search and ask": {
        "search": "search:search",
        "ask": "research:ask",
    },
    "Replace all tables, and go back": {
        "versions": "versions:versions",
        "rollback": "versions:rollback",
    },
    "Retire source files": {
        "retire": "retire:retire_command",
        "archive": "retire:archive",
        "restore-source": "retire:restore_source",
        "purge-archive": "retire:purge_archive",
        "forget": "retire:forget_command",
    },
    "Keep the database healthy": {
        "status": "status:status",
        "maintain": "maintenance:maintain",
        "impact": "impact:impact",
        "check-sessions": "check_sessions:check_sessions",
    },
    "Serve agents": {
        "serve": "serve:serve",
        "mcp": "serve:mcp",
        "tokens": "tokens:group",
        "memory": "memory:group",
        "cache": "cache:group",
        "board": "board:group",
        "snapshots": "snapshots:group",
        "user": "user:group",
        "keys": "keys:group",
    },
    "Run the server": {
        "up": "server:up",
        "down": "server:down",
        "url": "server:url",
        "ui": "server:ui",
        "migrate": "migrate:migrate",
        "settings": "settings:settings",
        "demo": "demo:demo",
    },
}

#: Command -> its function, or its group of commands, as `module:name` in this package.
COMMANDS: Mapping[str, str] = {
    name: place for commands in JOBS.values() for name, place in commands.items()
}
