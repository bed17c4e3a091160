"""Named entries of a configuration file: one clear line for whatever is wrong with one."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from codesign_ros.types import CodesignError

Default = TypeVar("Default", float, None)


@dataclass(frozen=True)
class Entry:
    """One entry as it was read.

    Attributes:
        where: kind, name and file, with which messages begin.
        name: its key.
        fields: what it says.
    """

    where: str
    name: str
    fields: dict[str, Any]

    def positive(self, field: str, value: Any, zero: bool = False) -> float:
        """Check a value of this entry that must be a finite number above 0 (with ``zero``, or 0).

        Raises:
            CodesignError: it is not that.
        """
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if is_number and math.isfinite(value) and (value > 0 or (zero and value == 0)):
            return float(value)
        wanted = "a number of 0 or more" if zero else "a positive number"
        hint = ""
        if isinstance(value, str) and "e" in value.lower():
            # YAML 1.1 takes 4.72e11 and 1e+9 for text.
            hint = " (in YAML a number has a dot and a signed exponent, as 4.72e+11)"
        raise CodesignError(f"{self.where}: {field} must be {wanted}, not {value!r}{hint}")

    def number(self, field: str, default: Default, zero: bool = False) -> float | Default:
        """Read a finite number above 0 (with ``zero``, or 0); ``default`` if it is not given.

        Raises:
            CodesignError: it is not that.
        """
        return self.positive(field, self.fields[field], zero) if field in self.fields else default

    def text(self, field: str) -> str:
        """Read a line of text; empty if it is not given.

        Raises:
            CodesignError: it is not text.
        """
        value = self.fields.get(field, "")
        if not isinstance(value, str):
            raise CodesignError(f"{self.where}: {field} must be text, not {value!r}")
        return " ".join(value.split())


def read_entries(
    path: Path, kind: str, required: Collection[str], optional: Collection[str]
) -> list[Entry]:
    """Read a file that maps ``{kind}s`` to entries by name.

    Args:
        path: the file.
        kind: what an entry is, as ``device``.
        required: fields that each must have.
        optional: fields that it may have.

    Raises:
        CodesignError: the file cannot be read, or an entry has other fields than these.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise CodesignError(f"cannot read {kind}s from {path}: {reason}") from None
    entries = content.get(f"{kind}s") if isinstance(content, dict) else None
    if not isinstance(entries, dict) or not entries:
        raise CodesignError(f"{path} names no {kind}s: it needs a mapping '{kind}s'")
    read = []
    for key, fields in entries.items():
        name = str(key)
        where = f"{kind} {name!r} in {path}"
        given = set(fields) if isinstance(fields, dict) else set()
        if missing := [f for f in required if f not in given]:
            raise CodesignError(f"{where} lacks {', '.join(missing)}")
        if unknown := sorted(map(str, given - {*required, *optional})):
            known = ", ".join((*required, *optional))
            raise CodesignError(f"{where} has an unknown field {unknown[0]!r}; known are {known}")
        read.append(Entry(where, name, fields))
    return read
