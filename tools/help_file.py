"""memos_assets/cli/help.json: the help of every command, which is shown without importing one."""

from memos_assets.cli.main import assemble
from memos_assets.cli.stored_help import written


def help_file() -> str:
    """Return the text of the file."""
    return written(assemble(None))
