"""Does the measured cost model predict real latency? Plans predicted, run, and compared.

1. Plans are drawn at random (seeded): cut, structure of head and of tail, precision and codec, all
   with merge fold, of the detector that comes with the package or of ``--bundle``.
2. Heads, tails and codecs are timed as ``codesign profile`` and the nodes time them: whole, round
   by round, the median of a few runs on the bundle's first calibration frames. Only what the plans
   need is timed, or everything with ``--complete``. Prediction: the head with preparing the frame,
   encoding, decoding, and the tail, each looked up by itself (T1 and T2 of Eq. 5 and 6; no link).
3. Then every plan really runs in this process, one after the other for each frame: JPEG to input,
   head, encode, decode, tail, answer, on the other calibration frames. The link is left out, since
   its time is not the model's to predict here. The median of all frames counts; the plans are
   visited in several passes, so that no single moment of the machine decides about one of them.

Exit status 1 if the median error is above 5 % or the worst above 15 %.

With ``--interpolate N`` halves are timed at every Nth cut only, and at the others interpolated by
the roofline (``cost/interpolate.py``). How long frames waited for a processor is told too, where
one thread works: above a few percent the machine was busy with something else, and neither figure
says much.

    OMP_NUM_THREADS=1 scripts/in_ros python benchmarks/predicted_vs_measured

With ``--link`` the plans run on real nodes over a shaped link of each of these rates, one frame in
flight, and the prediction is what the running planner says of a plan when it makes it. Wants root.

    sudo -E scripts/in_ros python benchmarks/predicted_vs_measured --link 2 16 100
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from real_run import Parts, RealRun, run_really, waited_share
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from codesign_ros.bundle import Bundle
from codesign_ros.console import slim_table
from codesign_ros.cost.catalogue import find_device, load_devices
from codesign_ros.cost.half_times import Extent, HalfTimes
from codesign_ros.cost.interpolate import between_cuts
from codesign_ros.cost.profile import profile_network
from codesign_ros.engines.factory import BACKENDS, DEFAULT_BACKEND, EngineFactory, open_backend
from codesign_ros.profiling.profile import profile_from
from codesign_ros.profiling.timer import StageTimer
from codesign_ros.resources import default_bundle, resource_path
from codesign_ros.runtime.stages.engine_keys import head_key, tail_key
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import BRANCH_STRUCTURES, HalfForm, Part
from codesign_ros.types.plan import Plan
from codesign_ros.wire.codecs import codecs_for

MEDIAN_LIMIT, WORST_LIMIT = 0.05, 0.15


def draw_plans(bundle: Bundle, count: int, seed: int, precisions: Sequence[str]) -> list[Plan]:
    """Draw different plans, every choice as likely as any other of its kind."""
    rng = np.random.default_rng(seed)
    last = bundle.last_cut
    structures = list(BRANCH_STRUCTURES)
    plans: dict[Plan, None] = {}
    while len(plans) < count:
        cut = int(rng.integers(last + 1))
        usable = [set(codecs_for(spec)) for spec in bundle.crossings[cut]] if cut < last else []
        codecs = sorted(set.intersection(*usable)) if usable else ["raw"]
        head, tail = (structures[rng.integers(len(structures))] for _ in range(2))
        plan = Plan(
            cut=cut,
            head_structure=tail if cut == 0 else head,
            tail_structure=head if cut == last else tail,
            precision=precisions[rng.integers(len(precisions))],
            codec=codecs[rng.integers(len(codecs))],
            model_id=bundle.model_id,
        )
        plans[plan] = None
    return list(plans)


def halves_of(plans: Sequence[Plan], part: Part) -> set[HalfForm]:
    """The heads or tails that the plans run."""
    key_of = head_key if part == "head" else tail_key
    return {key_of(plan).form for plan in plans}


def predicted(plan: Plan, head: HalfTimes, tail: HalfTimes, last: int) -> Parts:
    """What the cost model says of a plan."""
    sides = (
        head.half_s.get(head_key(plan).form),
        0.0 if plan.cut == last else head.codec_s.get((plan.cut, plan.codec)),
        0.0 if plan.cut == last else tail.codec_s.get((plan.cut, plan.codec)),
        tail.half_s.get(tail_key(plan).form),
    )
    known = [side for side in sides if side is not None]
    if len(known) < len(sides):
        raise CodesignError(f"the profile does not know {plan}")
    return Parts(*known)


def described(plan: Plan) -> str:
    """Write a plan in few words."""
    return (
        f"{plan.cut:2d} {plan.head_structure.value}|{plan.tail_structure.value} "
        f"{plan.precision} {plan.codec}"
    )


def profiled(
    factory: EngineFactory, part: Part, plans: Sequence[Plan], options: argparse.Namespace
) -> HalfTimes:
    """Time a part: every form at every cut, or what the plans need."""
    bundle = factory.bundle
    last = bundle.last_cut
    needed = halves_of(plans, part)
    forms = {half._replace(cut=0) for half in needed}
    step = 1 if options.complete else options.interpolate
    if step:
        precisions = tuple(sorted({half.precision for half in needed}))
        extent = Extent((*range(0, last, step), last), precisions=precisions)
        needed = {
            half
            for half in extent.halves(last)
            if options.complete or half._replace(cut=0) in forms
        }
    cuts = sorted({plan.cut for plan in plans if plan.cut < last})
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task(f"timing {part}s", total=None)
        # With TensorRT, heads that only make what tails and codecs get need no engines of it.
        crossings = open_backend(bundle, threads=factory.threads)
        advance = partial(progress.advance, task)
        with contextlib.closing(StageTimer(factory, part, advance, crossings)) as timer:
            groups = timer.groups(sorted(needed))
            progress.update(task, total=sum(map(len, groups)) + len(cuts))
            timer.time_codecs(cuts)
            for group in groups:
                timer.time_halves(group)
            times = profile_from(timer, needed)
    if not options.interpolate:
        return times
    devices = load_devices(resource_path("config") / "devices.yaml")
    network = profile_network(bundle.network())
    return between_cuts(network, times, find_device(devices, options.device), part == "tail")


def compare(
    plans: Sequence[Plan], runs: Sequence[RealRun], head: HalfTimes, tail: HalfTimes
) -> list[dict[str, Any]]:
    """Predicted and measured side by side, plan by plan, in milliseconds."""
    rows: list[dict[str, Any]] = []
    for plan, run in zip(plans, runs, strict=True):
        parts = predicted(plan, head, tail, run.last)
        error = parts.latency_s / run.latency_s - 1
        rows.append(
            {
                "plan": described(plan),
                "predicted_ms": parts.latency_s * 1e3,
                "measured_ms": run.latency_s * 1e3,
                "error": error,
                "predicted_parts_ms": {k: v * 1e3 for k, v in vars(parts).items()},
                "measured_parts_ms": {k: v * 1e3 for k, v in vars(run.typical).items()},
            }
        )
    return rows


def table_of(rows: Sequence[dict[str, Any]], title: str) -> Table:
    """The comparison as a table."""
    table = slim_table(title)
    table.add_column("cut, head|tail, precision, codec")
    for name in ("predicted ms", "measured ms", "error"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            str(row["plan"]),
            f"{row['predicted_ms']:.1f}",
            f"{row['measured_ms']:.1f}",
            f"{row['error']:+.1%}",
        )
    return table


def verdict(median: float, worst: float, good: bool) -> str:
    """The errors beside what they may be."""
    return (
        f"error: median {median:.1%} (at most {MEDIAN_LIMIT:.0%}), worst {worst:.1%} "
        f"(at most {WORST_LIMIT:.0%}): {'good' if good else 'too much'}"
    )


def main() -> int:
    """Run the benchmark; see the module's text."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", default="", help="default: the one of the package")
    parser.add_argument("--plans", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--backend", choices=BACKENDS, default=DEFAULT_BACKEND)
    parser.add_argument("--threads", type=int, default=1)
    extent = parser.add_mutually_exclusive_group()
    extent.add_argument("--complete", action="store_true", help="time every form at every cut")
    extent.add_argument(
        "--interpolate",
        type=int,
        default=0,
        metavar="N",
        help="time every Nth cut and interpolate the others",
    )
    parser.add_argument(
        "--device", default="x86-server", help="by whose peaks (config/devices.yaml) to interpolate"
    )
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument(
        "--link", type=float, nargs="+", metavar="MBPS", help="run them over links of these rates"
    )
    parser.add_argument("--robot-cores", type=float, default=0.5, help="--link: the robot's share")
    parser.add_argument("--seconds", type=float, default=5.0, help="--link: to watch a plan")
    options = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 110)
    if options.link:
        return _over_link(options, console)

    bundle = Bundle.open(Path(options.bundle) if options.bundle else default_bundle())
    factory = open_backend(bundle, options.backend, threads=options.threads)
    plans = draw_plans(bundle, options.plans, options.seed, factory.precisions)
    head, tail = (profiled(factory, part, plans, options) for part in ("head", "tail"))
    runs = run_really(bundle, factory, plans)
    rows = compare(plans, runs, head, tail)

    errors = [abs(row["error"]) for row in rows]
    median, worst = statistics.median(errors), max(errors)
    good = median <= MEDIAN_LIMIT and worst <= WORST_LIMIT
    title = f"{bundle.name}, {options.backend}, {options.threads} thread(s), link left out"
    console.print(table_of(rows, title), verdict(median, worst, good))
    if options.threads == 1:
        print(f"frames waited {waited_share(runs):.1%} of their time for a processor")
    if options.json:
        content = {"rows": rows, "median_error": median, "worst_error": worst}
        Path(options.json).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return 0 if good else 1


def _over_link(options: argparse.Namespace, console: Console) -> int:
    # Here, for all else runs without ROS.
    import over_link

    from codesign_ros.testbed.predictions import median_and_worst

    rates_bps = [1e6 * mbps for mbps in options.link]
    try:
        rows = over_link.run_over_link(
            rates_bps, options.plans, options.seed, options.robot_cores, options.seconds, console
        )
        median, worst = median_and_worst(rows)
    except CodesignError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    good = median <= MEDIAN_LIMIT and worst <= WORST_LIMIT
    console.print(over_link.table_of(rows), verdict(median, worst, good))
    if options.json:
        content = {"rows": [row.to_json() for row in rows], "median": median, "worst": worst}
        Path(options.json).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
