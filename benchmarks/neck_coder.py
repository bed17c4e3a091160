"""Bytes and speed of the entropy coder of the necks, in C and in Python.

Codes are drawn as a neck's are distributed: 32 channels of 25 x 40, from wide to nearly always
zero, with 8 to 40 % of all codes not zero. Tables are counted on half of the frames and used on the
other half. Told are the bytes of a payload, header and all, beside the counted entropy (what the
tables' shares, before they are made integers, say a frame holds), and codes a second on one core.

Exit status 1 if a payload is more than 3 % above the counted entropy, or if the coder in C takes
less than 20 MB of codes a second (one byte a code) in either direction.

    OMP_NUM_THREADS=1 scripts/in_ros python benchmarks/neck_coder.py
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from codesign_ros.console import right, slim_table
from codesign_ros.wire.neck import coder, payload, plain
from codesign_ros.wire.neck.tables import CodeTables, frequencies_of

SHAPE, MOST = (32, 25, 40), 31
LEVELS = {"0": 0.40, "1": 0.25, "2": 0.15, "3": 0.08}
OVERHEAD_LIMIT, SPEED_LIMIT_MBPS = 0.03, 20.0


def drawn(not_zero: float, frames: int, rng: np.random.Generator) -> np.ndarray:
    """Codes int8 (frames, C, H, W) of which a share is not zero."""
    noise = rng.laplace(size=(frames, *SHAPE))
    falling = np.geomspace(8.0, 0.25, SHAPE[0])[:, np.newaxis, np.newaxis]
    low, high = 0.0, 10.0
    for _ in range(30):  # the spread that makes the share, by halving
        middle = (low + high) / 2
        share = (np.abs(noise[:4] * falling * middle) > 0.5).mean()
        low, high = (middle, high) if share < not_zero else (low, middle)
    return np.clip(np.rint(noise * falling * low), -MOST, MOST).astype(np.int8)


def counted(frames: np.ndarray) -> np.ndarray:
    """How often each code comes in each channel (C, symbols); a little more than never."""
    codes = np.arange(-MOST, MOST + 1)
    return np.stack([(frames == code).sum((0, 2, 3)) for code in codes], axis=-1) + 0.05


def best_s(call: Callable[[], object], repetitions: int) -> float:
    """Seconds of the fastest of several calls: the others shared the core."""
    times = []
    for _ in range(repetitions):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return min(times)


def measure(not_zero: float, frames: int, repetitions: int) -> dict[str, Any]:
    """One level: bytes of the frames, speed of both coders."""
    rng = np.random.default_rng(1)
    codes = drawn(not_zero, 2 * frames, rng)
    counts = counted(codes[:frames])
    gains = np.ones((1, SHAPE[0]), np.float32)
    tables = CodeTables(gains, frequencies_of(counts)[np.newaxis], -MOST, SHAPE)
    bits = -np.log2(counts / counts.sum(-1, keepdims=True))
    channels = np.arange(SHAPE[0])[:, np.newaxis, np.newaxis]
    entropy, written, speeds = 0.0, 0, {}
    for frame in codes[frames:]:
        entropy += bits[channels, frame.astype(int) + MOST].sum() / 8
        written += len(payload.encode_codes(frame, tables, 0))
    symbols = (codes[-1].astype(np.int16) + MOST).astype(np.uint8).reshape(-1)
    table = tables.cumulative[0]
    for name, each in (("c", coder.native_coder()), ("python", plain)):
        body = memoryview(each.encode(symbols, tables.rows, table))
        write_s = best_s(lambda each=each: each.encode(symbols, tables.rows, table), repetitions)
        read_s = best_s(
            lambda each=each, body=body: each.decode(body, tables.rows, table, MOST), repetitions
        )
        speeds[f"{name}_write_mbps"] = symbols.size / write_s / 1e6
        speeds[f"{name}_read_mbps"] = symbols.size / read_s / 1e6
    return {
        "not_zero": float((codes != 0).mean()),
        "entropy_bytes": entropy / frames,
        "payload_bytes": written / frames,
        "overhead": written / entropy - 1,
        **speeds,
    }


def report(levels: dict[str, dict[str, Any]]) -> Table:
    """A line a level."""
    table = slim_table(
        "Codes of 32 x 25 x 40; MB of codes a second, write / read",
        *right("not zero", "entropy", "payload", "above", "C", "Python"),
    )
    for each in levels.values():
        table.add_row(
            f"{each['not_zero']:.0%}",
            f"{each['entropy_bytes']:,.0f} B",
            f"{each['payload_bytes']:,.0f} B",
            f"{each['overhead']:.2%}",
            f"{each['c_write_mbps']:.0f} / {each['c_read_mbps']:.0f}",
            f"{each['python_write_mbps']:.2f} / {each['python_read_mbps']:.2f}",
        )
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; the exit status tells whether the limits were kept."""
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=20, help="frames whose bytes are counted")
    parser.add_argument("--repetitions", type=int, default=30, help="of each timed call")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    chosen = parser.parse_args(arguments)
    try:
        levels = {
            name: measure(share, chosen.frames, chosen.repetitions)
            for name, share in LEVELS.items()
        }
    except OSError as error:
        print(f"neck_coder: the coder in C was not built: {error}", file=sys.stderr)
        return 2
    Console().print(report(levels))
    if chosen.json:
        chosen.json.write_text(json.dumps(levels, indent=2) + "\n")
    kept = all(
        each["overhead"] <= OVERHEAD_LIMIT
        and min(each["c_write_mbps"], each["c_read_mbps"]) >= SPEED_LIMIT_MBPS
        for each in levels.values()
    )
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
