"""Which block keeps which branches: a refinement of the paper's structure for each half.

Each block's sensitivity is measured: accuracy and time of the whole network with that one block in
another structure, all others in a base. From these a choice for each block is worked out, taking
the changes to add up; it is then measured whole beside the best structures for halves, on frames
that had no part in choosing. Branches that do not stay are folded, which is exact, so that in fp32
the time alone decides and accuracy counts where the network is rounded to 8 bits.

Plans that the nodes run name one structure for each half, so this choice is measured here and not
run by them.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from codesign_ros.engines.onnx_model.forms import in_precision
from codesign_ros.engines.onnx_model.pieces import PieceCutter
from codesign_ros.engines.ort import OnnxEngine
from codesign_ros.evaluation.judges import Judge
from codesign_ros.models.block_structure import block_segments, with_block_structures
from codesign_ros.models.network import Network
from codesign_ros.pixels.letterbox import normalise
from codesign_ros.planning.knapsack import choose
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import BRANCH_STRUCTURES, Structure

Pair = tuple[Structure, Structure]

SURE = 2.0
"""Standard errors from which on a difference counts as one."""

# Samples of the frames from which standard errors are taken (Efron, "Bootstrap Methods", Annals of
# Statistics 1979), and the seed with which they are drawn.
_SAMPLES = 30
_SEED = 0
# A median's standard error is 1.2533 that of a mean, and 1.4826 times the median of the deviations
# estimates a standard deviation, both of a normal distribution.
_MEDIAN_ERROR = 1.2533 * 1.4826


@dataclass(frozen=True)
class BlockEffect:
    """What the whole network loses and gains with one block in another structure than the base.

    ``loss`` is of the metric (negative: it got better), ``time_s`` of one run [s]; each with its
    standard error.
    """

    block: str
    structure: Structure
    loss: float
    loss_error: float
    time_s: float
    time_error_s: float


@dataclass(frozen=True)
class Whole:
    """A whole network as measured: the metric, the time of one run [s], and standard errors."""

    value: float
    value_error: float
    time_s: float
    time_error_s: float


@dataclass(frozen=True)
class PerBlock:
    """What structures per block bring.

    Attributes:
        metric: what accuracy means.
        base: structure of all blocks that are not looked at.
        changes: what was measured of each block.
        chosen: the structure of each block.
        predicted: accuracy lost and time [s] against the base, if the changes add up.
        uniform: the networks with one structure for each half, (head, tail); without a cut both
            are the same.
        best_uniform: the best of them in ``time - lambda_1 * value``.
        per_block: the network as chosen.
        gain: of ``per_block`` over the best uniform one: of the metric, and of the time (negative:
            faster); the errors are of the differences.
    """

    metric: str
    base: Structure
    changes: tuple[BlockEffect, ...]
    chosen: Mapping[str, Structure]
    predicted: tuple[float, float]
    uniform: Mapping[Pair, Whole]
    best_uniform: Pair
    per_block: Whole
    gain: Whole


def measure_per_block(
    network: Network,
    images: Sequence[np.ndarray] | np.ndarray,
    judge_of: Callable[[Sequence[int]], Judge],
    *,
    precision: str,
    lambda_1: float,
    loss_limit: float = math.inf,
    cut: int | None = None,
    base: Structure = Structure.S3,
    structures: Sequence[Structure] = BRANCH_STRUCTURES,
    calibration_frames: np.ndarray | None = None,
    threads: int = 1,
    rounds: int = 20,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> PerBlock:
    """Measure the blocks' sensitivities on ONNX Runtime, choose, and measure the choice.

    Every second frame is for choosing, the others for judging what was chosen. A change
    within ``SURE`` standard errors counts as none: of many changes that are mere noise the best
    would else be taken for a gain.

    Args:
        network: trained, with all its branches.
        images: letterboxed frames, uint8 (n, H, W, 3) RGB, at least 4.
        judge_of: makes what knows the truth of the frames with these indices, which may repeat.
        precision: in which the network runs.
        lambda_1: weight of the accuracy loss in Eq. 11 [s per unit].
        loss_limit: the chosen blocks' losses against the base add up to no more than this.
        cut: structures of halves are compared with where head and tail meet here; None = only those
            with one structure for all.
        base: structure of the blocks that are not looked at.
        structures: what a block may have.
        calibration_frames: uint8 (n, H, W, 3), for 8-bit precisions.
        threads: threads of one engine.
        rounds: runs of each network for its time; the networks that are compared take turns.
        progress: called with (networks measured, networks in all).

    Raises:
        CodesignError: there are too few frames, no blocks, no such cut, or nothing loses so little.
    """
    blocks = block_segments(network)
    if not blocks:
        raise CodesignError("this network has no block with branches to keep or to fold")
    if len(images) < 4:
        raise CodesignError(f"{len(images)} frames are too few: some are to choose, some to judge")
    if cut is not None:
        network.crossing(cut)  # raises where there is no such cut
    choices = tuple(dict.fromkeys((base, *structures)))
    if len(choices) == 1:
        raise CodesignError(f"there is nothing to choose from but {base.value}, the base")
    pairs = _pairs(choices, cut)
    total = 1 + len(blocks) * (len(choices) - 1) + len(pairs) + 1
    counter = itertools.count(1)

    def engine(chosen: Mapping[str, Structure]) -> _Run:
        run = _Run(network, chosen, precision, calibration_frames, threads)
        progress(next(counter), total)
        return run

    for_choosing = _Jury(images, range(0, len(images), 2), judge_of)
    uniform_base = dict.fromkeys(blocks, base)
    base_run = engine(uniform_base)
    base_scores = for_choosing.scores(base_run)
    changes: list[BlockEffect] = []
    for block, structure in itertools.product(blocks, choices[1:]):
        run = engine({**uniform_base, block: structure})
        loss = base_scores - for_choosing.scores(run)
        times = _times_s([base_run, run], images[0], rounds)
        time_s, time_error_s = _median(times[1] - times[0])
        changes.append(
            BlockEffect(block, structure, float(loss[0]), _error(loss), time_s, time_error_s)
        )
    loss_of, time_of = _certain(changes, len(choices))
    picks = choose(time_of, loss_of, lambda_1, loss_limit)
    chosen = {block: choices[pick] for block, pick in zip(blocks, picks, strict=True)}
    rows = np.arange(len(picks))
    predicted = float(loss_of[rows, picks].sum()), float(time_of[rows, picks].sum())

    for_judging = _Jury(images, range(1, len(images), 2), judge_of)
    runs = [engine(_halves(blocks, cut, pair)) for pair in pairs] + [engine(chosen)]
    scores = [for_judging.scores(run) for run in runs]
    times = _times_s(runs, images[1], rounds)
    wholes = [
        Whole(float(score[0]), _error(score), *_median(row))
        for score, row in zip(scores, times, strict=True)
    ]
    best = min(range(len(pairs)), key=lambda i: wholes[i].time_s - lambda_1 * wholes[i].value)
    difference = scores[-1] - scores[best]
    gain = Whole(float(difference[0]), _error(difference), *_median(times[-1] - times[best]))
    return PerBlock(
        for_judging.metric,
        base,
        tuple(changes),
        chosen,
        predicted,
        dict(zip(pairs, wholes[:-1], strict=True)),
        pairs[best],
        wholes[-1],
        gain,
    )


def _pairs(structures: Sequence[Structure], cut: int | None) -> list[Pair]:
    """Structures of head and tail that are compared with."""
    if cut is None:
        return [(structure, structure) for structure in structures]
    return list(itertools.product(structures, structures))


def _halves(blocks: Mapping[str, int], cut: int | None, pair: Pair) -> dict[str, Structure]:
    return {block: pair[cut is not None and index >= cut] for block, index in blocks.items()}


def _certain(changes: Sequence[BlockEffect], choices: int) -> tuple[np.ndarray, np.ndarray]:
    """Losses and times (blocks, choices), the base first; 0 for what is not sure."""
    changed = [
        [
            change.loss if abs(change.loss) > SURE * change.loss_error else 0.0,
            change.time_s if abs(change.time_s) > SURE * change.time_error_s else 0.0,
        ]
        for change in changes
    ]
    both = np.array(changed).reshape(-1, choices - 1, 2)
    with_base = np.pad(both, ((0, 0), (1, 0), (0, 0)))
    return with_base[..., 0], with_base[..., 1]


class _Run:
    """A network with these structures, as an engine for frames."""

    def __init__(
        self,
        network: Network,
        chosen: Mapping[str, Structure],
        precision: str,
        calibration_frames: np.ndarray | None,
        threads: int,
    ) -> None:
        def frames() -> np.ndarray:
            if calibration_frames is None:
                raise CodesignError("8-bit precisions need calibration frames")
            return calibration_frames

        self.input = network.input_spec
        inputs = network.crossing(0)
        outputs = (output,) = network.crossing(len(network.segment_names))
        model = in_precision(with_block_structures(network, chosen), precision, frames)
        cutter = PieceCutter(model, for_cpu=True, float16=precision == "fp16")
        piece = cutter.piece(inputs, outputs)
        self._engine = OnnxEngine(piece, inputs, outputs, threads)
        self._output = output.name

    def output(self, normalised: np.ndarray) -> np.ndarray:
        """Run on a frame, normalised (1, 3, H, W)."""
        return self._engine.run({"image": normalised})[self._output]


class _Jury:
    """Scores networks on some of the frames, and on samples of these drawn with replacement."""

    def __init__(
        self,
        images: Sequence[np.ndarray] | np.ndarray,
        frames: Sequence[int],
        judge_of: Callable[[Sequence[int]], Judge],
    ) -> None:
        self._images = [images[i] for i in frames]
        count = len(frames)
        drawn = np.random.default_rng(_SEED).integers(0, count, (_SAMPLES, count))
        self._samples = np.vstack([np.arange(count), drawn])
        self._judges = [judge_of([frames[i] for i in sample]) for sample in self._samples]
        self.metric = self._judges[0].metric

    def scores(self, run: _Run) -> np.ndarray:
        """Score on all frames, then on each sample: (1 + samples,)."""
        first = self._judges[0]
        answers = [first.answer(run.output(normalise(i, run.input))) for i in self._images]
        return np.array(
            [
                judge.score([answers[i] for i in sample]).value
                for judge, sample in zip(self._judges, self._samples, strict=True)
            ]
        )


def _error(scores: np.ndarray) -> float:
    """Standard error of the first of these scores, from the samples behind it."""
    return float(scores[1:].std(ddof=1))


def _times_s(runs: Sequence[_Run], image: np.ndarray, rounds: int) -> np.ndarray:
    """Times of runs that take turns, (runs, rounds) [s]; a first round is not counted."""
    prepared = normalise(image, runs[0].input)
    times = np.empty((len(runs), rounds + 1))
    for turn, (index, run) in itertools.product(range(rounds + 1), enumerate(runs)):
        start = time.perf_counter()
        run.output(prepared)
        times[index, turn] = time.perf_counter() - start
    return times[:, 1:]


def _median(values: np.ndarray) -> tuple[float, float]:
    """Median, which a busy moment does not move, and its standard error."""
    middle = float(np.median(values))
    spread = float(np.median(np.abs(values - middle)))
    return middle, _MEDIAN_ERROR * spread / math.sqrt(len(values))
