"""An accuracy table for people to read."""

from __future__ import annotations

from itertools import groupby

from rich.table import Column, Table

from codesign_ros.console import right, slim_table
from codesign_ros.cost.accuracy import AccuracyTable
from codesign_ros.cost.accuracy_row import AccuracyRow
from codesign_ros.types.codec_names import (
    H264_CODECS,
    JPEG444_CODECS,
    encoded_anew,
    is_encoded_anew,
)
from codesign_ros.types.errors import CodesignError

_Way = tuple[int | None, str]

# Columns of values that a table of 110 characters can hold.
_MOST_COLUMNS, _MOST_WITH_ERRORS = 10, 7


def accuracy_tables(table: AccuracyTable, metric: str | None = None) -> list[Table]:
    """Lay out the measurements: a line for each form, a column for each codec and cut.

    Many columns are parted into several tables, each with the forms that were measured there. Where
    there are details (classes, sizes of objects), the last table has them for each form.

    Args:
        table: what was measured.
        metric: one of the details to show; None = the table's own metric.

    Raises:
        CodesignError: there is no such detail.
    """
    if metric not in (None, table.metric, *table.details):
        known = ", ".join((table.metric, *table.details))
        raise CodesignError(f"'{metric}' was not measured; there are {known}")
    chosen = metric if metric in table.details else None
    reference = table.details[chosen] if chosen else table.reference
    title = f"{chosen or table.metric} on {table.data}, {_share(reference)} unchanged"
    if chosen is None:
        title += f"; {_resolves(table)}"
    ways = sorted({(row.cut, row.codec) for row in table.rows}, key=_order)
    values = {
        (_form(row), (row.cut, row.codec)): _share(row.details.get(chosen))
        if chosen
        else _share(row.value) + _of_film(row.unsent) + _error(row.standard_error)
        for row in table.rows
    }
    forms = list(dict.fromkeys(map(_form, table.rows)))
    tables = []
    has_errors = chosen is None and any(row.standard_error is not None for row in table.rows)
    for some in _pages(ways, _MOST_WITH_ERRORS if has_errors else _MOST_COLUMNS):
        page = _table(title, [_heading(way) for way in some])
        for form in forms:
            if any((form, way) in values for way in some):
                page.add_row(*form, *(values.get((form, way), "") for way in some))
        tables.append(page)
    if table.details:
        names = [name.replace(".", " ") for name in table.details]
        details = _table("Uncut, by class and by size of the objects", names)
        details.add_row("unchanged", "", "", *map(_share, table.details.values()))
        for row in table.rows:
            if row.cut is None:
                details.add_row(*_form(row), *map(_share, map(row.details.get, table.details)))
        tables.append(details)
    return tables


def _resolves(table: AccuracyTable) -> str:
    """Say what difference from the unchanged network the frames can tell."""
    if any(row.standard_error is not None for row in table.rows):
        return "\N{PLUS-MINUS SIGN} is the standard error of the difference from it, or from uncut"
    if table.frames is None:
        return "of how many frames is not known, nor any standard error"
    return (
        "no standard errors measured: differences of "
        f"{100 * table.resolution:.2g} points and less are within theirs"
    )


def _pages(ways: list[_Way], most: int) -> list[list[_Way]]:
    """Part the columns so that each table can be read; a cut stays in one table.

    What becomes of a camera's JPEGs may stand in another one than what becomes of frames.
    """
    pages: list[list[_Way]] = [[]]
    for _, group in groupby(ways, key=lambda way: (way[0], is_encoded_anew(way[1]))):
        of_cut = list(group)
        if len(pages[-1]) + len(of_cut) > most:
            pages.append([])
        pages[-1] += of_cut
    return pages


def _table(title: str, columns: list[str]) -> Table:
    form = (Column(name, no_wrap=True) for name in ("merge", "structure", "precision"))
    return slim_table(f"{title} [%]", *form, *right(*columns, overflow="fold"))


def _form(row: AccuracyRow) -> tuple[str, str, str]:
    halves = dict.fromkeys((row.head_structure.value, row.tail_structure.value))
    return row.merge.value, " | ".join(halves), row.precision


def _order(way: _Way) -> tuple[int, int, str]:
    cut, codec = way
    ladders = *JPEG444_CODECS, *H264_CODECS
    qualities = (*ladders, *map(encoded_anew, ladders))
    place = 1 + qualities.index(codec) if codec in qualities else 0
    return (-1 if cut is None else cut), place, codec


def _heading(way: _Way) -> str:
    cut, codec = way
    return "uncut" if cut is None else f"{codec.replace('+', ', then ')} at {cut}"


def _error(error: float | None) -> str:
    return "" if error is None else f" \N{PLUS-MINUS SIGN}{100 * error:.1f}"


def _of_film(unsent: float | None) -> str:
    """What is reached on a film with nothing sent, of a row that was measured on one."""
    return "" if unsent is None else f" of {100 * unsent:.1f}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"
