"""Which files under the roots are looked at: by patterns of names, without unusable ones.

Patterns are those of a shell (``*``, ``?``, ``[ab]``). Each is compared with the name of a file
and with its path below the root, whose folders ``*`` matches too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Choice:
    """A choice of files; the default takes all.

    Attributes:
        include: a file has to match one of these; none: every file does.
        exclude: a file that matches one of these is not looked at, also if it is included.
        skip_unreadable: files that cannot be used are left alone, and do not stop the others.
    """

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    skip_unreadable: bool = False

    def takes(self, path: Path, root: Path) -> bool:
        """Whether a file under a root is looked at."""
        below = str(path.relative_to(root)) if path != root else path.name
        included = not self.include or _matches(path.name, below, self.include)
        return included and not _matches(path.name, below, self.exclude)

    def __bool__(self) -> bool:
        """Whether there is a pattern."""
        return bool(self.include or self.exclude)


ALL = Choice()


def _matches(name: str, below: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, one) or fnmatchcase(below, one) for one in patterns)
