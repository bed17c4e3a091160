"""Latency of TensorRT engines with and without CUDA graphs, zero-copy and batches.

    python benchmarks/tensorrt_latency.py [BUNDLE] [--cut N] [--precision fp16] [--json FILE]

Needs a GPU, PyCUDA and TensorRT. It was written on a machine without, and has not run on one yet.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from codesign_ros.bundle import Bundle
from codesign_ros.engines.base import EngineKey, zeros
from codesign_ros.engines.factory import open_backend
from codesign_ros.engines.tensorrt.cuda import open_gpu
from codesign_ros.engines.tensorrt.settings import TensorRtSettings
from codesign_ros.resources import resource_path
from codesign_ros.types.errors import CodesignError


def measure(args: argparse.Namespace) -> list[dict[str, object]]:
    """Return median and 95th percentile [ms] of a run by batch size, graph and zero-copy."""
    bundle = Bundle.open(resource_path("bundles") / f"{args.bundle}.bundle")
    cut = args.cut if args.cut is not None else bundle.last_cut
    rows: list[dict[str, object]] = []
    for batch, graph, zero_copy in itertools.product(args.batch, (False, True), (False, True)):
        settings = TensorRtSettings(
            max_batch=batch, contexts=1, cuda_graph=graph, zero_copy=zero_copy
        )
        factory = open_backend(bundle, "tensorrt", settings=settings)
        try:
            engine = factory.build(EngineKey("head", cut, precision=args.precision))
            try:
                size = min(batch, engine.max_batch)
                frames = [zeros(engine.inputs)] * size
                engine.warm_up(10)
                seconds = []
                for _ in range(args.runs):
                    start = time.perf_counter()
                    engine.run_batch(frames)
                    seconds.append(time.perf_counter() - start)
            finally:
                engine.close()
        finally:
            factory.close()
        median, slow = np.percentile(seconds, (50, 95)) * 1e3
        rows.append(
            {"batch": size, "cuda_graph": graph, "zero_copy": zero_copy,
             "median_ms": round(median, 4), "p95_ms": round(slow, 4)}
        )  # fmt: skip
    return rows


def main() -> int:
    """Measure, print a table, write JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", nargs="?", default="mine_yolo")
    parser.add_argument("--cut", type=int, help="the head's last segment; the whole network if not")
    parser.add_argument("--precision", default="fp16")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    try:
        context = open_gpu(0)
        try:
            gpu = context.gpu()
            rows = measure(args)
        finally:
            context.close()
    except CodesignError as error:
        print(f"nothing measured: {error}", file=sys.stderr)
        return 1
    table = Table(title=f"{args.bundle}, {args.precision}, {gpu.name}")
    for column in rows[0]:
        table.add_column(column)
    for row in rows:
        table.add_row(*map(str, row.values()))
    Console().print(table)
    if args.json:
        args.json.write_text(json.dumps({"gpu": asdict(gpu), "rows": rows}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
