"""What the frame before saves a neck on a film: payloads of the real coder, each of them read back.

Two films of the mine, of different seeds, go through the shipped detector up to a cut. Their codes
are the principal components of 2 x 2 patches of what crosses (a neck's start before any training),
rounded at four steps. Components and tables are of the first film, payloads of the second. Each
frame is written alone, and after the newest frame whose answer has come: before the next frame is
written, or one or two frames later.

    OMP_NUM_THREADS=1 scripts/in_ros python benchmarks/neck_film.py
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table

from codesign_ros.bundle import Bundle
from codesign_ros.console import progress_bar, right, slim_table
from codesign_ros.mine.generator import MineGenerator
from codesign_ros.models.reparam import reparameterize
from codesign_ros.resources import default_bundle
from codesign_ros.types import IMAGE, CodesignError, Merge, Structure
from codesign_ros.wire.neck.film import CodeReader, CodeWriter
from codesign_ros.wire.neck.payload import encode_codes, quantise
from codesign_ros.wire.neck.tables import CodeTables, frequencies_after, frequencies_of

MOST = 31
# Standard deviations of the weakest channel kept that are one code.
STEPS = (1.5, 2.0, 4.0, 8.0)
DELAYS = (0, 1, 2)
SEEDS = (901, 902)


def patches(bundle: Bundle, cut: int, seed: int, frames: int, fps: float) -> np.ndarray:
    """What crosses the cut on a film, 2 x 2 patches as channels: float16 (frames, 4 C, h, w)."""
    network = reparameterize(bundle.network(), Structure.S3, Merge.FOLD).eval()
    (spec,) = bundle.crossings[cut]
    mean, std = np.float32(bundle.input.mean), np.float32(bundle.input.std)
    made = []
    with torch.inference_mode(), progress_bar() as bars:
        for frame in bars.track(
            MineGenerator(seed).sequence(frames, fps), frames, description=f"film {seed}"
        ):
            scaled = (np.float32(frame.image) / 255 - mean) / std
            image = torch.from_numpy(scaled.transpose(2, 0, 1)[np.newaxis].copy())
            crossing = network.run({IMAGE: image}, 0, cut, [spec.name])[spec.name]
            made.append(F.pixel_unshuffle(crossing, 2)[0].half().numpy())
    return np.stack(made)


def components(film: np.ndarray, channels: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Mean (D,), directions (D, channels) and the weakest one's standard deviation."""
    vectors = film[::4].astype(np.float32).transpose(0, 2, 3, 1).reshape(-1, film.shape[1])
    mean = vectors.mean(0)
    vectors -= mean
    variances, directions = np.linalg.eigh(vectors.T @ vectors / len(vectors))
    return mean, directions[:, : -channels - 1 : -1], float(variances[-channels]) ** 0.5


def counts(codes: np.ndarray) -> np.ndarray:
    """How often each code comes in each channel, (C, symbols)."""
    return np.stack([(codes == code).sum((0, 2, 3)) for code in range(-MOST, MOST + 1)], -1) + 0.05


def level_tables(latents: np.ndarray, gain: float) -> CodeTables:
    """Tables of one level, counted on a film's latents (frames, C, h, w)."""
    shape = latents.shape[1:]
    gains = np.full((1, shape[0]), gain, np.float32)
    codes = np.clip(np.rint(latents * np.float32(gain)), -MOST, MOST).astype(np.int64)
    alone = frequencies_of(counts(codes))
    after = frequencies_after(codes[:-1], codes[1:], alone, -MOST)
    return CodeTables(gains, alone[np.newaxis], -MOST, shape, after[np.newaxis])


def film_bytes(film: Sequence[np.ndarray], tables: CodeTables, delay: int) -> float:
    """Mean bytes of a frame where its answer comes ``delay`` frames late; all are read back."""
    writer, reader = CodeWriter(tables), CodeReader(tables)
    written = 0
    for number, codes in enumerate(film):
        payload = writer.write(codes, 0, number)
        read, _ = reader.read(payload, number)
        if not np.array_equal(read, codes):
            raise CodesignError(f"frame {number} was not read as it was written")
        written += len(payload)
        if number >= delay:
            writer.acknowledge(number - delay)
    return written / len(film)


def report(levels: list[dict[str, Any]]) -> Table:
    """A line a level."""
    table = slim_table(
        "Bytes a frame; after the newest frame whose answer came, by how late answers are",
        *right("not zero", "alone", "at once", "1 frame late", "2 frames late"),
    )
    for each in levels:
        after = (f"{size:,.0f} ({size / each['alone'] - 1:+.1%})" for size in each["after"])
        table.add_row(f"{each['not_zero']:.0%}", f"{each['alone']:,.0f}", *after)
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it and print the table."""
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, default=default_bundle())
    parser.add_argument("--cut", type=int, default=12, help="one that a single tensor crosses")
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument("--frames", type=int, default=200, help="of each film")
    parser.add_argument("--fps", type=float, default=10.0, help="frames a second of the films")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    chosen = parser.parse_args(arguments)
    try:
        bundle = Bundle.open(chosen.bundle)
        films = [patches(bundle, chosen.cut, seed, chosen.frames, chosen.fps) for seed in SEEDS]
        mean, directions, weakest = components(films[0], chosen.channels)
        counted, used = (
            np.einsum("nchw,ck->nkhw", film.astype(np.float32), directions)
            - (mean @ directions)[:, np.newaxis, np.newaxis]
            for film in films
        )
        levels = []
        for step in STEPS:
            tables = level_tables(counted, 1 / (step * weakest))
            film = [quantise(latent[np.newaxis], tables, 0) for latent in used]
            levels.append(
                {
                    "not_zero": float(np.mean([(codes != 0).mean() for codes in film])),
                    "alone": float(np.mean([len(encode_codes(c, tables, 0)) for c in film])),
                    "after": [film_bytes(film, tables, delay) for delay in DELAYS],
                }
            )
    except CodesignError as error:
        print(f"neck_film: {error}", file=sys.stderr)
        return 2
    Console().print(report(levels))
    if chosen.json:
        chosen.json.write_text(json.dumps(levels, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
