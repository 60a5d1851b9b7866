"""FANUC-like alarm codes: the same code has the same text in every file of one seed."""

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

#: Instant of the first row of every file; nothing reads a clock.
BASE_TIME = datetime(2025, 12, 27, 20, 0, 0, tzinfo=UTC)
BASE_UNIX = BASE_TIME.timestamp()

#: The 105 alarm groups of the corpus; the first are those of the commonest codes.
_GROUPS = (
    "SRVO SYST HOST MOTN INTP TPIF PRIO FILE COMM VARS SVGN IBSS FORC SEAL CVIS MACR "
    "ACAL APSH ARC ASBN ATZN BBOX CALM CMND CNTR COND COPT CPMO CTRL CUST DIAG DICT DJOG "
    "DMDR DMER DNET DTBR DX ELOG EMAR FLPY FRCE FRSY FXTL GBTD HRTL ICRZ IFPN IRPK ISD ISDT "
    "JOG KALM KCLI KCMN KFLT LANG LASR LECO LNTK LSTP MARL MCTL MEMO MENT MHND MUPS NPTH OPTN "
    "OS PALL PALT PICK PMON PNT PROF PROG PTPG PWD QMGR RIPE ROUT RPC RPM RTCP SCIO SDTL "
    "SENS SHAP SPOT SPRM SRIO SSPC TAST TCPP TG THSR TJOG TKSP TMAT TOOL TRAK TRSV UAPC WEAV"
)
CATEGORIES = tuple(_GROUPS.split())
#: Number of the first code of a category, 1 for others: everybody knows SRVO-062.
_FIRST_NUMBERS = {"SRVO": 62}

SEVERITIES = ("warning", "alarm", "pause", "stop", "servo")

#: Topic, what was seen, what helps.
TOPICS = (
    (
        "encoder",
        "the encoder reported a pulse count that does not match the reference",
        "check the encoder wiring, then master the axis again",
    ),
    (
        "brake",
        "brake release took longer than expected on the stated axis",
        "measure the brake coil resistance and replace the brake if open",
    ),
    (
        "cable",
        "a cable between the cabinet and the arm lost contact while moving",
        "swap the cable and inspect both connectors for bent pins",
    ),
    (
        "overcurrent",
        "the servo amplifier measured a current above its limit",
        "check the motor windings for a short circuit to ground",
    ),
    (
        "vision",
        "the vision tool could not locate the taught feature",
        "clean the lens, adjust exposure and teach the vision model again",
    ),
    (
        "parameter",
        "a parameter is outside the range the firmware accepts",
        "restore the parameter from the last image backup and cycle power",
    ),
    (
        "interlock",
        "an interlock input opened during automatic operation",
        "close the guard and reset the interlock chain",
    ),
    (
        "sensor",
        "the sensor signal drifted beyond the tare window",
        "unload the tool and run the sensor zeroing routine",
    ),
    (
        "program",
        "the program called a line number that no longer exists",
        "open the program in the editor and correct the jump label",
    ),
    (
        "collision",
        "the disturbance torque exceeded the collision limit",
        "jog the arm free and verify the payload setting",
    ),
)

_NOTES = (
    "\nNote: observed after a cold start.\n\n  Second occurrence within one shift.",
    " 参照: 保守説明書 — “Kapitel 4”, ~₂₅%.",
    " Übertemperatur am Regler möglich; μ-Schalter prüfen.",
)


@dataclass(frozen=True, slots=True)
class Code:
    """One alarm code and what the manual says about it."""

    index: int
    canonical_form: str
    category: str
    number: int
    severity: str
    topic: str
    cause: str
    remedy: str
    page: int
    cluster: int

    @property
    def entity_id(self) -> str:
        """Key of the code in the HSEA files, e.g. ``error_code_srvo_063``."""
        return f"error_code_{self.canonical_form.lower().replace('-', '_')}"

    @property
    def title(self) -> str:
        """Heading with the unexpanded placeholders memOS keeps."""
        return f"{self.canonical_form} {self.topic} fault (G:%d A:%d)"

    @property
    def hsea_content(self) -> str:
        """Text of the HSEA rows: a leading newline, then labelled lines."""
        return (
            f"\nError Code: {self.canonical_form}\nTitle: {self.title}\n"
            f"Category: {self.category}\nCause: {self.cause}\nRemedy: {self.remedy}\n"
        )

    @property
    def alarm_page(self) -> str:
        """Text of a corpus document made from the alarm interface."""
        return (
            f"FANUC Alarm Code: {self.canonical_form}\nCategory: {self.category}\n"
            f"Severity: {self.severity}\n\nDescription: {self.title}\n\nCause: {self.cause}\n\n"
            f"Remedy: {self.remedy}\n\n"
        )


@lru_cache(maxsize=2048)
def code(seed: str, index: int) -> Code:
    """Return the alarm code number ``index``, counted over all categories in turn."""
    draw = random.Random(f"{seed}/code/{index}")
    category = CATEGORIES[index % len(CATEGORIES)]
    number = index // len(CATEGORIES) + _FIRST_NUMBERS.get(category, 1)
    topic_index = draw.randrange(len(TOPICS))
    topic, seen, help_text = TOPICS[topic_index]
    cause = (
        f"On group {draw.randint(1, 3)} axis {draw.randint(1, 6)}, {seen}. "
        f"Counter {draw.randint(1000, 99999)} at {draw.randint(15, 90)} °C, "
        f"{draw.randint(1, 400)} µs."
    )
    kind = draw.randrange(24)
    if kind < len(_NOTES):
        cause += _NOTES[kind]
    elif kind == len(_NOTES):
        cause = ""
    part = f"A{draw.choice((5, 6, 16, 20)):02d}B-{draw.randint(1000, 9999)}"
    return Code(
        index=index,
        canonical_form=f"{category}-{number:03d}",
        category=category,
        number=number,
        severity=draw.choice(SEVERITIES),
        topic=topic,
        cause=cause,
        remedy=(
            f"First {help_text}. Wait {draw.randint(2, 120)} s; if it returns, replace unit "
            f"{part}-H{draw.randint(100, 999)}."
        ),
        page=index + 223,
        cluster=index % len(CATEGORIES) * len(TOPICS) + topic_index,
    )


def sqlite_utc(seconds: float) -> str:
    """Return CURRENT_TIMESTAMP's form, UTC without a zone, ``seconds`` after the base time."""
    return (BASE_TIME + timedelta(seconds=seconds)).strftime("%Y-%m-%d %H:%M:%S")


def iso_offset(seconds: float) -> str:
    """Return ISO-8601 with ``+00:00``; the fraction is absent when it is exactly zero."""
    return (BASE_TIME + timedelta(seconds=seconds)).isoformat()


def iso_local(seconds: float) -> str:
    """Return ISO-8601 without an offset in the server's zone, five hours west of UTC."""
    local = BASE_TIME.replace(tzinfo=None) - timedelta(hours=5)
    return (local + timedelta(seconds=seconds)).isoformat()
