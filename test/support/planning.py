"""Random cost tables for the tests of the planner, and candidates one by one."""

import math

import numpy as np

from codesign_ros.cost.tables import Axes, CostTables
from codesign_ros.planning.candidates import evaluate
from codesign_ros.types.forms import BRANCH_STRUCTURES, PRECISIONS, Merge, Structure
from codesign_ros.types.links import LinkSpec

LINK = LinkSpec(8e6, 0.01)


def random_tables(
    seed,
    segments=4,
    servers=1,
    structures=BRANCH_STRUCTURES,
    merges=(Merge.FOLD, Merge.PRUNE),
    precisions=("fp32", "int8-channel"),
    codecs=("jpeg", "raw", "uint8"),
    unknown=0.0,
    robot_power_w=10.0,
):
    """Draw tables that could be a network's: heads grow and tails shrink with the cut.

    ``unknown`` is the share of structure losses and codec losses that were not measured. Folding in
    fp32 and the raw tensor lose nothing and are always known, as is the whole network on the robot.
    JPEG fits the frame alone, other codecs than that and raw only the tensors at inner cuts.
    """
    rng = np.random.default_rng(seed)
    names = tuple(f"server{i}" for i in range(servers))
    axes = Axes(tuple(structures), tuple(merges), tuple(precisions), tuple(codecs), names)
    n, s, m = segments + 1, len(structures), len(merges)
    p, k = len(precisions), len(axes.codecs)
    raw = axes.codecs.index("raw")

    # The more branches the more operations; the base is S3 in fp32.
    extra = np.array([1.0 + 0.1 * list(Structure).index(each) for each in structures])
    speed = np.array([1.0 if each == "fp32" else rng.uniform(0.2, 0.9) for each in precisions])
    flops = rng.uniform(1e8, 1e9, segments)[:, None] * extra
    traffic = rng.uniform(1e6, 1e8, segments)[:, None] * extra

    def times(rate):
        layers = flops / rate * rng.uniform(0.7, 1.4, (segments, s))
        done = np.concatenate([np.zeros((1, s)), np.cumsum(layers, axis=0)])
        return done[:, :, None] * speed

    prepare_s = rng.uniform(0.0, 0.005)
    head_s = times(10 ** rng.uniform(9.5, 11.0))
    head_s[1:] += prepare_s
    tails = []
    for _ in names:
        done = times(10 ** rng.uniform(10.5, 12.0))
        tails.append(done[-1:] - done)
    tail_s = np.array(tails).reshape(servers, n, s, p)

    encode_s = rng.uniform(0.0, 0.003, (n, k))
    encode_s[0] += prepare_s
    decode_s = rng.uniform(0.0, 0.003, (servers, n, k))
    payload = 10 ** rng.uniform(3.0, 5.5, (n, 1)) * rng.uniform(0.1, 0.6, k)
    payload[0] *= 10.0
    payload[:, raw] = payload.max(axis=1) * 2
    for index, codec in enumerate(axes.codecs):
        if codec.startswith("jpeg"):
            payload[1:, index] = np.nan
        elif codec != "raw":
            payload[0, index] = np.nan
    encode_s[-1], payload[-1], decode_s[:, -1] = np.nan, np.nan, np.nan
    encode_s[-1, raw] = payload[-1, raw] = 0.0
    decode_s[:, -1, raw] = 0.0

    structure_loss = rng.uniform(0.0, 0.3, (s, m, p))
    structure_loss[rng.uniform(size=(s, m, p)) < unknown] = np.nan
    codec_loss = rng.uniform(0.0, 0.05, (n, k, p, m))
    codec_loss[rng.uniform(size=codec_loss.shape) < unknown] = np.nan
    codec_loss[:, raw] = 0.0
    if "fp32" in precisions and Merge.FOLD in merges:
        exact = [each in BRANCH_STRUCTURES for each in structures]
        structure_loss[exact, merges.index(Merge.FOLD), precisions.index("fp32")] = 0.0
    share = np.concatenate([[0.0], np.cumsum(flops[:, 0])]) / flops[:, 0].sum()
    memory = rng.uniform(1e6, 1e8, (segments, s, p))
    head_memory = np.concatenate([np.zeros((1, s, p)), np.cumsum(memory, axis=0)])
    return CostTables(
        axes,
        head_s,
        encode_s,
        payload,
        tail_s,
        decode_s,
        share,
        structure_loss,
        codec_loss,
        segment_flops=flops,
        segment_bytes=traffic,
        head_memory_bytes=head_memory,
        tail_memory_bytes=head_memory[-1:] - head_memory,
        robot_power_w=robot_power_w,
    )


def price(problem, candidate):
    """What one choice costs, whatever the limits say."""
    evaluation = evaluate(problem)
    return evaluation.row(evaluation.index_of(candidate))


def ranked(solution):
    """All candidates that keep the limits, the best first; ties as ``grid`` says."""

    def order(row):
        c = row.candidate
        return (
            row.prediction.objective,
            row.prediction.latency_s,
            row.prediction.payload_bytes,
            math.inf if row.prediction.energy_j is None else row.prediction.energy_j,
            c.cut,
            *map(list(Structure).index, (c.head_structure, c.tail_structure)),
            list(Merge).index(c.merge),
            PRECISIONS.index(c.precision),
            c.codec,
            c.server,
        )

    places = np.argwhere(np.isfinite(solution.evaluation.objective)).tolist()
    return sorted(map(solution.evaluation.row, places), key=order)
