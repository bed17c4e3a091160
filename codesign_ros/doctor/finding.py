"""What a check found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class Verdict(str, Enum):
    """OK, or worth a look (WARN), or it keeps the system from working (FAIL)."""

    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True)
class Finding:
    """The outcome of one check.

    Attributes:
        check: what was looked at, a word or two.
        verdict: how it is.
        found: what was seen, one line.
        change: what to change, one line; empty where nothing is to be changed.
    """

    check: str
    verdict: Verdict
    found: str
    change: str = ""


def ok(check: str, found: str) -> Finding:
    """All is well."""
    return Finding(check, Verdict.OK, found)


def warn(check: str, found: str, change: str) -> Finding:
    """It works, and less well than it could, or not in every case."""
    return Finding(check, Verdict.WARN, found, change)


def fail(check: str, found: str, change: str) -> Finding:
    """It cannot work like that."""
    return Finding(check, Verdict.FAIL, found, change)


def exit_status(findings: Iterable[Finding]) -> int:
    """0 where nothing fails, else 1."""
    return int(any(finding.verdict is Verdict.FAIL for finding in findings))
