"""A table of texts that a terminal and a Markdown page can show."""

from __future__ import annotations

from typing import NamedTuple

from rich.table import Column, Table

from codesign_ros.console import right, slim_table


class Sheet(NamedTuple):
    """A table.

    Attributes:
        title: what it shows.
        words: names of the first columns, which hold words.
        numbers: names of the others, which hold numbers.
        rows: a text for each column.
        caption: what one must know to read it; may be empty.
    """

    title: str
    words: tuple[str, ...]
    numbers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""

    def table(self) -> Table:
        """The table for a terminal."""
        words = (Column(name) for name in self.words)
        table = slim_table(self.title, *words, *right(*self.numbers), caption=self.caption or None)
        for row in self.rows:
            table.add_row(*row)
        return table

    def markdown(self) -> str:
        """The table for a page, its title above and its caption below."""
        header = ("---",) * len(self.words) + ("---:",) * len(self.numbers)
        lines = ((*self.words, *self.numbers), header, *self.rows)
        table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        return "\n\n".join(part for part in (f"**{self.title}**", table, self.caption) if part)


def span(low: float, high: float, digits: int = 3) -> str:
    """Write a range."""
    return f"{low:.{digits}g} to {high:.{digits}g}"


def percent(ratio: float) -> str:
    """Write how far a ratio lies from 1."""
    return f"{ratio - 1:+.0%}"
