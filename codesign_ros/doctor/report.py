"""What the checks found, for people and for scripts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from codesign_ros.console import slim_table
from codesign_ros.doctor.finding import Finding, Verdict

_STYLES = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.FAIL: "bold red"}

Groups = Mapping[str, Sequence[Finding]]


def findings_of(groups: Groups) -> list[Finding]:
    """All findings, group by group."""
    return [finding for findings in groups.values() for finding in findings]


def report_table(groups: Groups) -> Table:
    """A line for each check and, where something is to be changed, what, on a line below."""
    table = slim_table("", "check", "", "found", show_header=False)
    for group, findings in groups.items():
        table.add_row(Text(group, "bold"), "", "")
        for finding in findings:
            style = _STYLES[finding.verdict]
            words = Text(finding.found)
            if finding.change:
                words.append(f"\n-> {finding.change}", style)
            table.add_row(Text(f"  {finding.check}"), Text(finding.verdict.value, style), words)
    return table


def summary(groups: Groups) -> str:
    """How many checks ended in which way, one line."""
    counts = Counter(finding.verdict for finding in findings_of(groups))
    return ", ".join(f"{counts[verdict]} {verdict.value}" for verdict in Verdict)


def content(groups: Groups) -> dict[str, Any]:
    """The findings as JSON has them."""
    counts = Counter(finding.verdict.value for finding in findings_of(groups))
    return {
        "counts": {verdict.value: counts[verdict.value] for verdict in Verdict},
        "checks": [
            {
                "group": group,
                "check": finding.check,
                "verdict": finding.verdict.value,
                "found": finding.found,
                "change": finding.change,
            }
            for group, findings in groups.items()
            for finding in findings
        ],
    }
