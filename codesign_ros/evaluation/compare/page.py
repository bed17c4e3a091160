"""The comparison as one HTML file that needs nothing beside itself."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from codesign_ros.console import short
from codesign_ros.evaluation.compare.ablations import COLUMNS, TITLE, Ablation, cells
from codesign_ros.evaluation.compare.advice import Advice
from codesign_ros.evaluation.compare.charts import bars, front, ranges, stacks, timeline
from codesign_ros.evaluation.compare.charts import roofs as roof_chart
from codesign_ros.evaluation.compare.fronts import fronts, losses
from codesign_ros.evaluation.compare.report import IN_TIME, Setting, accuracy_words
from codesign_ros.evaluation.compare.rooflines import ROBOT, SERVER, Rooflines
from codesign_ros.evaluation.compare.run import Compared, refusals
from codesign_ros.evaluation.compare.summary import Summary
from codesign_ros.evaluation.compare.worst import WorstFrame
from codesign_ros.simulation.link_rate import LinkRate
from codesign_ros.simulation.pipeline import Finished
from codesign_ros.types.errors import CodesignError

_BINS = 120
_STYLE = """
:root{color-scheme:light dark;--ink:#1d2329;--soft:#5c6670;
--back:#fff;--card:#f5f6f8;--line:#d5d9de;
--chosen:#b4470b;--other:#3b6ea5;--p0:#3b6ea5;--p1:#d08a1d;--p2:#3f8f6b;--p3:#9a6aa8}
@media(prefers-color-scheme:dark){:root{--ink:#e7eaee;--soft:#a3adb8;--back:#14181c;--card:#1e242a;
--line:#3a434c;--chosen:#f08a4b;--other:#7fb0e6;--p0:#7fb0e6;--p1:#e6b35c;--p2:#7cc8a3;--p3:#c9a0d6}}
*{box-sizing:border-box}body{margin:0 auto;padding:16px;max-width:1280px;background:var(--back);
color:var(--ink);font:16px/1.45 system-ui,sans-serif}h1{font-size:1.5rem;margin:0 0 8px}
h1 b{color:var(--chosen)}h2{font-size:1rem;margin:0 0 6px}p,ul{margin:6px 0}ul{padding-left:20px}
.soft{color:var(--soft);font-size:.85rem}.grid{display:grid;gap:12px;margin-top:16px;
grid-template-columns:repeat(auto-fit,minmax(min(340px,100%),1fr))}.apart{margin-top:12px}
section{background:var(--card);border-radius:8px;padding:12px;min-width:0}.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.85rem}th,td{padding:3px 6px;text-align:right;
border-bottom:1px solid var(--line);white-space:nowrap}
th:first-child,td:first-child{text-align:left}
tr.chosen td{color:var(--chosen);font-weight:600}svg{width:100%;height:auto;display:block}
svg text{font-size:12px;fill:var(--ink)}svg .soft{fill:var(--soft);font-size:11px}
svg .end{text-anchor:end}svg .middle{text-anchor:middle}svg .strong{font-weight:700}
svg .inside{fill:#1d2329;font-weight:700}
.chosen{fill:var(--chosen)}.other{fill:var(--other)}.whisker,.median{stroke:var(--ink);stroke-width:1.5}
.median{stroke-width:2.5}line.grid{stroke:var(--line)}
.hollow{fill:var(--card);stroke:var(--other);stroke-width:2}.chosen.hollow{stroke:var(--chosen)}
.loss{stroke:var(--soft);stroke-dasharray:2 2}svg circle.soft{fill:var(--soft)}
.front{fill:none;stroke:var(--soft);stroke-dasharray:4 3}.rate{fill:none;stroke:var(--ink)}
.drop{stroke:var(--chosen);opacity:.6}.plan0{fill:var(--p0)}.plan1{fill:var(--p1)}
.plan2{fill:var(--p2)}.plan3{fill:var(--p3)}
.roof{fill:none;stroke-width:2}.roof.plan0{stroke:var(--p0)}.roof.plan2{stroke:var(--p2)}
.faint{opacity:.55}circle.strong{stroke:var(--ink);stroke-width:2}
img{width:100%;border-radius:6px}
@media(max-width:500px){table{font-size:.8rem}th,td{padding:3px 4px}}
"""


def write_page(path: Path, text: str) -> None:
    """Write the report that ``page`` makes.

    Raises:
        CodesignError: the file cannot be written.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CodesignError(f"cannot write {path}: {error.strerror}") from None


def page(
    setting: Setting,
    compared: Compared,
    summaries: Sequence[Summary],
    advice: Advice,
    sweep: Sequence[dict[str, Any]],
    roofs: Rooflines | None,
    rate: LinkRate,
    worst: Sequence[WorstFrame],
    taken: Sequence[Ablation] = (),
) -> str:
    """The report; what to use and why comes first."""
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in advice.reasons)
    conditions = f"{setting.source} with {setting.bundle}: {setting.frames} frames, "
    conditions += f"{setting.arrivals}; {setting.link}; {setting.times}. "
    conditions += f"{setting.how[0].upper()}{setting.how[1:]}."
    missing = "".join(f"<li>{escape(line)}</li>" for line in refusals(compared.unavailable))
    notes = "".join(f"<li>{escape(note)}</li>" for note in setting.notes)
    charts = _charts(setting, compared, summaries, advice, sweep, roofs, rate)
    return (
        "<!DOCTYPE html><html lang=en><meta charset=utf-8>"
        '<meta name=viewport content="width=device-width,initial-scale=1">'
        f'<link rel=icon href="data:,"><title>{escape(setting.source)}: policies compared</title>'
        f"<style>{_STYLE}</style><h1>Use <b>{escape(advice.policy)}</b></h1><ul>{reasons}</ul>"
        f"<p class=soft>{escape(conditions)}</p>"
        f"{_table(setting, summaries, advice)}"
        f'<div class="grid">{charts}</div>'
        f"{_ablations(taken)}{_worst(advice, worst)}"
        f"<section class=apart><h2>How it was judged</h2><p>{escape(advice.rule)} Answers are held "
        f"against {escape(setting.truth_is)}; {escape(IN_TIME)}.</p>"
        f"<ul class=soft>{missing}{notes}</ul></section></html>\n"
    )


def _ablations(taken: Sequence[Ablation]) -> str:
    if not taken:
        return ""
    rows = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in (each.part, *cells(each)))}</tr>"
        for each in taken
    )
    head = "".join(f"<th>{escape(name)}</th>" for name in ("without", *COLUMNS))
    return (
        f"<section class=apart><h2>{escape(TITLE)}</h2><div class=wide><table>"
        f"<tr>{head}</tr>{rows}</table></div></section>"
    )


def _table(setting: Setting, summaries: Sequence[Summary], advice: Advice) -> str:
    # A telephone shows the first five.
    heads = ("policy", "p95 ms", "frames/s", "late", "in time", setting.metric.partition(" ")[0],
             "kB/frame", "p50 ms", "lost", "last plan")  # fmt: skip
    rows = []
    for each in summaries:
        cells = (
            each.policy,
            f"{each.response_ms['p95']:.0f}",
            f"{each.throughput_fps:.1f}",
            f"{each.late:.1%}",
            *(accuracy_words(value) for value in (each.accuracy_in_time, each.accuracy)),
            f"{each.payload_bytes / 1e3:.1f}",
            f"{each.response_ms['p50']:.0f}",
            f"{each.lost:.1%}",
            each.plans[-1].words,
        )
        kind = " class=chosen" if each.policy == advice.policy else ""
        rows.append(f"<tr{kind}>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>")
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    return f"<div class=wide><table><tr>{head}</tr>{''.join(rows)}</table></div>"


def _charts(
    setting: Setting,
    compared: Compared,
    summaries: Sequence[Summary],
    advice: Advice,
    sweep: Sequence[dict[str, Any]],
    roofs: Rooflines | None,
    rate: LinkRate,
) -> str:
    chosen, metric = advice.policy, setting.metric
    five = [
        (each.policy, [each.response_ms[f"p{p}"] for p in (5, 25, 50, 75, 95)])
        for each in summaries
    ]
    pace = [(each.policy, each.throughput_fps, f"{each.throughput_fps:.1f}") for each in summaries]
    known = [(each, each.accuracy) for each in summaries if each.accuracy is not None]
    cards = [
        ("Frames a second", bars(pace, "answered frames a second", chosen)),
        (
            "Response time: 5 to 95 % as a line, the middle half as a box, the median as a tick",
            ranges(five, "ms", chosen),
        ),
    ]
    if known:
        shares = [(each.policy, value, f"{value:.3f}") for each, value in known]
        cards += [
            ("Accuracy of the frames that were answered", bars(shares, metric, chosen)),
        ]
    found = fronts(summaries)
    cards += [
        (
            f"Accuracy in time against {name}, with the Pareto front",
            front(each, f"{metric}, late or lost = no answer", chosen),
        )
        for name, each in found.items()
    ]
    off = "".join(f"<li>{escape(reason)}.</li>" for reason in losses(found))
    if off:
        cards.append(("Not on a front, for frames late or lost (hollow)", f"<ul>{off}</ul>"))
    link = "set" if setting.is_run else "simulated"
    strips = _timeline(compared, summaries, rate, chosen)
    cards.append((f"Link ({link}), plans, dropped frames", strips))
    if sweep:
        parts = [
            (f"cut {row['cut']}", [row[f"{name}_ms"] for name in ("robot", "link", "server")])
            for row in sweep
        ]
        title = "Best plan of each cut at the first rate, predicted: robot, link, server"
        cards.append((title, stacks(parts, "ms of one frame")))
    if roofs is not None and roofs.halves and roofs.roofs:
        last = next(each for each in summaries if each.policy == chosen).plans[-1].cut
        whose = "" if roofs.is_named else ", an example's peaks, not this machine's"
        title = f"Rooflines{whose}; a point for each cut, that of {chosen} framed"
        cards.append((title, _rooflines(roofs, last)))
    return "".join(f"<section><h2>{escape(title)}</h2>{svg}</section>" for title, svg in cards)


def _timeline(compared: Compared, summaries: Sequence[Summary], rate: LinkRate, chosen: str) -> str:
    end_s = max(each.duration_s for each in summaries) or 1.0
    edges = np.linspace(0.0, end_s, _BINS + 1)
    rates = [
        (float(start), 1e-6 * rate.mean_bps(float(start), float(stop)))
        for start, stop in itertools.pairwise(edges)
    ]
    strips = [
        (
            each.policy,
            [(plan.since_s, plan.words) for plan in each.plans],
            [
                passage.done_s
                for passage in compared.outcomes[each.policy].passages
                if passage.finished is Finished.DROPPED
            ],
        )
        for each in summaries
    ]
    return timeline(rates, strips, end_s, chosen)


def _rooflines(found: Rooflines, cut: int) -> str:
    kinds = {ROBOT: "plan0", SERVER: "plan2"}
    half = {ROBOT: "heads", SERVER: "tails"}
    lines = [
        (
            kinds[roof.side],
            f"{half[roof.side]} on the {roof.side}, {roof.device}: "
            f"{short(1e-9 * roof.peak_flops)} GFLOP/s, {short(1e-9 * roof.memory_bandwidth)} GB/s",
            1e-9 * roof.peak_flops,
            1e-9 * roof.memory_bandwidth,
        )
        for roof in found.roofs
    ]
    points = [
        (
            kinds[each.side],
            f"cut {each.cut}, {each.side}: {each.intensity:.3g} FLOP/byte, "
            f"{1e-9 * each.flops_per_s:.3g} GFLOP/s",
            each.intensity,
            1e-9 * each.flops_per_s,
            each.cut == cut,
        )
        for each in found.halves
    ]
    return roof_chart(lines, points)


def _worst(advice: Advice, worst: Sequence[WorstFrame]) -> str:
    if not worst:
        return ""
    figures = "".join(
        f"<section><img alt='frame {each.number}: left what is there, right what was found' "
        f"src='data:image/jpeg;base64,{base64.b64encode(each.jpeg).decode()}'>"
        f"<p class=soft>frame {each.number}, stamp {each.stamp_ns} ns: {each.mistakes} "
        f"mistake{'s' if each.mistakes > 1 else ''}</p>"
        "</section>"
        for each in worst
    )
    title = f"Worst frames of {advice.policy}: left what is there, right what was found"
    return f"<h2 style='margin-top:16px'>{escape(title)}</h2><div class=grid>{figures}</div>"
