"""Three tiers in a row: robot, edge server, cloud; what a frame costs that passes all of them.

Simplified in the same way for every policy that uses the cloud. The server's part between two cuts
is the difference of its tails at both. Its tensor goes on raw, which takes no time to encode and as
much to decode in the cloud as it would on the server. A server that computes nothing passes on what
it got, and the cloud decodes that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from codesign_ros.cost.link import occupancy_s, round_trip_s
from codesign_ros.planning.policies.base import (
    CloudTier,
    Decision,
    Situation,
    all_tiers,
    reprice,
)
from codesign_ros.planning.problem import Row
from codesign_ros.types.errors import CodesignError


def need_cloud(situation: Situation) -> CloudTier:
    """Return the cloud.

    Raises:
        CodesignError: there is no server or no cloud.
    """
    situation.need_server()
    if situation.cloud is None:
        raise CodesignError("it needs a cloud: a third device and the link from the server to it")
    return situation.cloud


def through_tiers(situation: Situation, row: Row, cloud_cut: int) -> Decision | None:
    """Price a choice whose tail is cut once more, at ``cloud_cut``.

    Args:
        situation: with a cloud.
        row: where the robot stops and how it sends; with a server, both halves in one structure.
        cloud_cut: where the server stops, from the robot's cut on. N leaves the cloud nothing.

    Returns:
        None where a cost is not known.
    """
    tables, cloud = situation.problem.tables, need_cloud(situation)
    choice, prediction = row.candidate, row.prediction
    if cloud_cut == tables.segments:
        return Decision(row)
    axes = tables.axes
    structure = axes.structures.index(choice.tail_structure)
    precision = axes.precisions.index(choice.precision)
    server = axes.servers.index(choice.server)
    # Who computes nothing passes on what he got.
    sent_as = choice.codec if cloud_cut == choice.cut else "raw"
    codec = axes.codecs.index(sent_as)
    edge_s = 0.0
    if cloud_cut > choice.cut:
        tail_s = tables.tail_s[server, :, structure, precision]
        # Timings are noisy: the shorter tail may seem to take longer.
        part_s = max(0.0, float(tail_s[choice.cut] - tail_s[cloud_cut]))
        edge_s = part_s + float(
            tables.decode_s[server, choice.cut, axes.codecs.index(choice.codec)]
        )
    sent_bytes = float(tables.payload_bytes[cloud_cut, codec])
    if tables.payload_scale is not None:
        sent_bytes *= float(tables.payload_scale[cloud_cut, codec, precision])
    link_s = round_trip_s(sent_bytes, cloud.link, tables.answer_bytes)
    cloud_s = float(
        cloud.tail_s[cloud_cut, structure, precision] + tables.decode_s[server, cloud_cut, codec]
    )
    if math.isnan(edge_s + link_s + cloud_s):
        return None
    decision = Decision(
        reprice(situation.problem, row, prediction.head_s, edge_s),
        in_decision_space=False,
        cloud_cut=cloud_cut,
        cloud_s=cloud_s,
        cloud_link_s=link_s,
        cloud_occupancy_s=occupancy_s(sent_bytes, cloud.link),
    )
    return all_tiers(situation.problem, decision)


def best_through_tiers(
    situation: Situation,
    choices: Iterable[tuple[Row, int]],
    criterion: Callable[[Decision], float],
) -> Decision:
    """Pick the best of (row, cloud cut), the first of equals.

    Raises:
        CodesignError: there is no cloud, or no choice's cost is known.
    """
    need_cloud(situation)
    priced = (through_tiers(situation, row, cloud_cut) for row, cloud_cut in choices)
    known = (decision for decision in priced if decision is not None)
    best = min(known, key=criterion, default=None)
    if best is None:
        raise CodesignError("no way through server and cloud has a known cost")
    return best
