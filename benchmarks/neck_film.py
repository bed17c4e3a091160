"""What the frame before saves a bundle's neck on a film: real payloads, each of them read back.

Each frame is written alone, and after the newest frame whose answer has come: before the next frame
is written, or one or two frames later. Where the bundle's tables know no frame before, they are
counted on two other films.

    OMP_NUM_THREADS=1 scripts/in_ros python benchmarks/neck_film.py --source mine:7
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from codesign_ros.bundle import Bundle
from codesign_ros.console import progress_bar, right, slim_table
from codesign_ros.data.sources import open_source
from codesign_ros.engines.base import Engine, EngineKey
from codesign_ros.engines.factory import open_backend
from codesign_ros.pixels.letterbox import letterbox
from codesign_ros.resources import default_bundle
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.tensors import NECK
from codesign_ros.wire.neck.film import CodeReader, CodeWriter
from codesign_ros.wire.neck.payload import quantise
from codesign_ros.wire.neck.tables import CodeTables, frequencies_after

DELAYS = (0, 1, 2)
COUNTED_ON = ("mine:901", "mine:902")


def latents(head: Engine, bundle: Bundle, source: str, frames: int, fps: float) -> list[np.ndarray]:
    """What the neck's encoder makes of a film, float32 (1, C, h, w) each."""
    with progress_bar() as bars:
        film = islice(open_source(source, fps=fps), frames)
        return [
            head.run({"image": letterbox(frame.rgb(), bundle.input)})[NECK].copy()
            for frame in bars.track(film, frames, description=source)
        ]


def counted(tables: CodeTables, films: Sequence[Sequence[np.ndarray]]) -> CodeTables:
    """The tables with what comes after the frame before on some films."""
    after = []
    for level in range(tables.levels):
        codes = [[quantise(each, tables, level).astype(int) for each in film] for film in films]
        before = np.stack([each for film in codes for each in film[:-1]])
        behind = np.stack([each for film in codes for each in film[1:]])
        own = tables.frequencies[level]
        after.append(frequencies_after(before, behind, own, tables.low))
    return replace(tables, after=np.stack(after))


def film_bytes(
    film: Sequence[np.ndarray], tables: CodeTables, level: int, delay: int
) -> tuple[float, float]:
    """Mean bytes of a frame alone, and where answers come ``delay`` frames late; all read back."""
    writer, reader = CodeWriter(tables), CodeReader(tables)
    sizes = []
    for number, codes in enumerate(film):
        written = writer.write(codes, level, number)
        read, _ = reader.read(written.shortest, number)
        if not np.array_equal(read, codes):
            raise CodesignError(f"frame {number} was not read as it was written")
        sizes.append([len(written.alone), len(written.shortest)])
        if number >= delay:
            writer.acknowledge(number - delay)
    alone, after = np.mean(sizes, axis=0)
    return float(alone), float(after)


def report(levels: list[dict[str, Any]], source: str) -> Table:
    """A line a level."""
    table = slim_table(
        f"Bytes a frame of {source}; after the newest frame whose answer came, by how late it was",
        *right("level", "alone", "at once", "1 frame late", "2 frames late"),
    )
    for each in levels:
        after = (f"{size:,.0f} ({size / each['alone'] - 1:+.1%})" for size in each["after"])
        table.add_row(str(each["level"]), f"{each['alone']:,.0f}", *after)
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it and print the table."""
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, default=default_bundle())
    parser.add_argument("--cut", type=int, default=12, help="one that has a neck")
    parser.add_argument("--source", default="mine:7", help="a film")
    parser.add_argument("--frames", type=int, default=200, help="of each film")
    parser.add_argument("--fps", type=float, default=10.0, help="frames a second of the films")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    chosen = parser.parse_args(arguments)
    try:
        bundle = Bundle.open(chosen.bundle)
        tables = bundle.neck_tables(chosen.cut)
        head = open_backend(bundle, threads=1).build(EngineKey("head", chosen.cut, neck=True))

        def film_of(source: str) -> list[np.ndarray]:
            return latents(head, bundle, source, chosen.frames, chosen.fps)

        if tables.after is None:
            tables = counted(tables, [film_of(source) for source in COUNTED_ON])
        film = film_of(chosen.source)
        levels = []
        for level in range(tables.levels):
            codes = [quantise(each, tables, level) for each in film]
            sizes = [film_bytes(codes, tables, level, delay) for delay in DELAYS]
            levels.append(
                {"level": level, "alone": sizes[0][0], "after": [after for _, after in sizes]}
            )
    except CodesignError as error:
        print(f"neck_film: {error}", file=sys.stderr)
        return 2
    Console().print(report(levels, chosen.source))
    if chosen.json:
        chosen.json.write_text(json.dumps(levels, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
