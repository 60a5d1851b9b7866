"""Who runs a command, as decisions and acceptances name them."""

import os
import pwd


def who() -> str:
    """Return the name of the user who runs the command; a number where the system has no name."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"user {os.getuid()}"
