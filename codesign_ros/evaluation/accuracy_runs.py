"""The runs of a measurement of accuracy: frames side by side, answers kept, progress told."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from codesign_ros.evaluation.accuracy_forms import Form, Sent
from codesign_ros.evaluation.judges import Judge
from codesign_ros.evaluation.pieces import Pieces
from codesign_ros.evaluation.resume import Journal
from codesign_ros.types.forms import Merge

Images = Sequence[np.ndarray] | np.ndarray
Answers = dict[Sent, list]
"""Answers to all frames of the whole network (key None) and of each way."""

_TRIED_FRAMES = 2
# What a run takes in multiples of one of the folded network in fp32, and making a form from
# calibration frames in runs a frame; measured on a processor with AVX-512, for the estimate alone.
_COST = {"fp32": 1.0, "fp16": 2.0, "int8-tensor": 0.5, "int8-channel": 0.6}
_UNCHANGED_COST = 1.5
_CALIBRATION_COST = 5.0


class Runs:
    """Runs forms of a network on frames.

    Args:
        images: letterboxed frames, uint8 (n, H, W, 3) RGB.
        judge: makes answers of outputs.
        journal: what keeps them.
        threads: frames at the same time.
        planned: the ways by form, the unchanged network's under None; all that will be asked for.
        progress: called with (runs done, runs in all) as the work goes on.
    """

    def __init__(
        self,
        images: Images,
        judge: Judge,
        journal: Journal,
        threads: int,
        planned: dict[Form | None, list[tuple[int, str]]],
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self._images, self._judge, self._journal = images, judge, journal
        self._threads = threads
        self._planned = planned
        self._progress = progress
        self._total = len(images) * sum(1 + len(ways) for ways in planned.values())
        self._done = 0

    @property
    def left(self) -> int:
        """Number of runs that no checkpoint holds."""
        return sum(
            self._frames_left(form) * (1 + len(ways)) for form, ways in self._planned.items()
        )

    def estimate_s(self, folded: Pieces, calibration_frames: int) -> float:
        """Estimate how long the runs that are left take, by trying out a few frames [s].

        Args:
            folded: ``FOLDED`` with all ways.
            calibration_frames: their number.
        """
        taken_s: dict[Sent, float] = {}
        # The first frame, which warms up, does not count.
        for image in self._images[: 1 + _TRIED_FRAMES]:
            taken_s, before = {}, time.monotonic()
            for sent, output in folded.outputs(image):
                self._judge.answer(output)
                now = time.monotonic()
                taken_s[sent], before = now - before, now
        whole_s, total_s = taken_s[None], 0.0
        for form, ways in self._planned.items():
            frames = self._frames_left(form)
            cost = _UNCHANGED_COST if form is None else _COST[form.precision]
            of_frame_s = sum(taken_s.get(sent, whole_s) for sent in (None, *ways))
            total_s += cost * frames * of_frame_s / self._threads
            if frames and form is not None and _is_calibrated(form):
                total_s += _CALIBRATION_COST * calibration_frames * whole_s
        return total_s

    def answers(self, form: Form | None, pieces: Callable[[], Pieces]) -> Answers:
        """Return the answers of a form, and of each way that can send what crosses.

        Args:
            form: one of those planned; None = the unchanged network.
            pieces: makes what runs it; called where there is something to run.
        """
        name, ways = self._name(form), self._planned[form]
        found = dict(self._journal.kept(name))
        self._ran(len(found) * (1 + len(ways)))
        left = [frame for frame in range(len(self._images)) if frame not in found]
        if left:
            engines = pieces()

            def run(frame: int) -> list:
                outputs = engines.outputs(self._images[frame], frame)
                made = {sent: self._judge.answer(output) for sent, output in outputs}
                return [self._to_json(made.get(sent)) for sent in (None, *ways)]

            with ThreadPoolExecutor(self._threads) as pool:
                try:
                    for frame, made in zip(left, pool.map(run, left), strict=True):
                        self._journal.add(name, frame, made)
                        found[frame] = made
                        self._ran(1 + len(ways))
                finally:  # after Ctrl-C only the frames that run are waited for
                    pool.shutdown(cancel_futures=True)
        answers: Answers = {}
        for place, sent in enumerate((None, *ways)):
            given = [found[frame][place] for frame in range(len(self._images))]
            if None not in given:
                answers[sent] = list(map(self._judge.from_json, given))
        return answers

    def _frames_left(self, form: Form | None) -> int:
        return len(self._images) - len(self._journal.kept(self._name(form)))

    def _name(self, form: Form | None) -> str:
        """Say in the journal what was run; answers for other ways are no use."""
        return json.dumps(["unchanged" if form is None else form, self._planned[form]])

    def _to_json(self, answer: object) -> object:
        return None if answer is None else self._judge.to_json(answer)

    def _ran(self, count: int) -> None:
        self._done += count
        if self._progress is not None:
            self._progress(self._done, self._total)


def _is_calibrated(form: Form) -> bool:
    return form.merge is Merge.PRUNE_BN or form.precision.startswith("int8")
