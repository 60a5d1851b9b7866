"""What a name stands for, as far as the rules need to know."""

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """What a value is."""

    ENGINE = "an engine"
    MAKER = "a session maker"
    #: Made in the function that uses it, or by what it called.
    OWN = "a session"
    CONNECTION = "a connection"
    #: A parameter, or an attribute that was one: the caller's.
    GIVEN = "the caller's session"
    #: Given on one way, made on another.
    EITHER = "the caller's session, or one of its own"
    #: Given to a route by its framework; the route is the one that may commit it.
    OF_ROUTE = "the request's session"


#: What a service must not make.
MADE = frozenset({Kind.ENGINE, Kind.MAKER, Kind.OWN, Kind.CONNECTION})
SESSIONS = frozenset({Kind.OWN, Kind.GIVEN, Kind.EITHER, Kind.OF_ROUTE})
#: Whose transaction is the caller's.
CALLERS = frozenset({Kind.GIVEN, Kind.EITHER})


@dataclass(frozen=True, slots=True)
class Is:
    """A value of a kind.

    Attributes:
        kind: of the value.
        origin: tells one session from another: the name that it was bound to first.
        sure: False where only a name says so.
    """

    kind: Kind
    origin: str = ""
    sure: bool = True


@dataclass(frozen=True, slots=True)
class Makes:
    """Something to call, whose result is known."""

    result: "Value"


@dataclass(frozen=True, slots=True)
class ClassOf:
    """A class of the checked sources: the name of its module, and its own."""

    module: str
    name: str


@dataclass(frozen=True, slots=True)
class InstanceOf:
    """An object of such a class."""

    of: ClassOf


@dataclass(frozen=True, slots=True)
class ModuleOf:
    """A module, of the checked sources or of others, by its dotted name."""

    name: str


@dataclass(frozen=True, slots=True)
class Named:
    """Something imported from a module that was not checked: dotted name of the original."""

    name: str


@dataclass(frozen=True, slots=True)
class Other:
    """Something that the sources define, and that is nothing of these."""


Value = Is | Makes | ClassOf | InstanceOf | ModuleOf | Named | Other
