"""Plans as they really run in this process, frame by frame, and what their parts take."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from rich.console import Console
from rich.progress import track

from codesign_ros.bundle import Bundle
from codesign_ros.engines.base import Engine, EngineKey
from codesign_ros.engines.factory import EngineFactory
from codesign_ros.pixels.letterbox import letterbox
from codesign_ros.runtime.engines.leases import Lease
from codesign_ros.runtime.engines.pool import EnginePool
from codesign_ros.runtime.stages.engine_keys import head_key, tail_key
from codesign_ros.runtime.stages.head import HeadStage
from codesign_ros.runtime.stages.tail import TailStage
from codesign_ros.types.plan import Plan
from codesign_ros.wire.codecs import JPEG_QUALITY

# Frames that the profile is timed on; the plans run on the others.
_PROFILED_FRAMES = 4
_PASSES = 3
_FRAMES_A_PASS = 9


@dataclass(frozen=True)
class Parts:
    """Times of one frame, each part by itself [s]."""

    head_s: float
    encode_s: float
    decode_s: float
    tail_s: float

    @property
    def latency_s(self) -> float:
        """The whole, without the link [s]."""
        return self.head_s + self.encode_s + self.decode_s + self.tail_s


class RealRun:
    """A plan as it runs: its stages, and the times of the frames that went through.

    Args:
        bundle: the network.
        pool: makes its engines.
        plan: what to run.
    """

    def __init__(self, bundle: Bundle, pool: EnginePool, plan: Plan) -> None:
        self.last = bundle.last_cut
        self._input = bundle.input
        self._leases: list[Lease[Engine]] = []
        self._head = HeadStage(
            bundle, plan, self._lease(pool, head_key(plan)) if plan.cut else None
        )
        self._tail = None
        if plan.cut < self.last:
            self._tail = TailStage(bundle, plan, self._lease(pool, tail_key(plan)))
        self.frames: list[Parts] = []
        self.processor_s = 0.0

    def run(self, jpeg: np.ndarray) -> None:
        """Run a frame of the camera and note its times."""
        processor_s = time.process_time()
        start = time.perf_counter()
        rgb = cv2.cvtColor(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        output = self._head.run(letterbox(rgb, self._input))
        sent = time.perf_counter()
        decoded = answered = sent
        if self._tail is not None:
            tensors = self._tail.decode(output.encoded)
            decoded = time.perf_counter()
            self._tail.run(tensors)
            answered = time.perf_counter()
        head_s = sent - start - output.encode_s
        self.processor_s += time.process_time() - processor_s
        self.frames.append(Parts(head_s, output.encode_s, decoded - sent, answered - decoded))

    def close(self) -> None:
        """Give the engines back; nothing can be run afterwards."""
        for lease in self._leases:
            lease.release()

    def _lease(self, pool: EnginePool, key: EngineKey) -> Engine:
        lease = pool.lease(key)
        self._leases.append(lease)
        return lease.thing

    @property
    def typical(self) -> Parts:
        """Medians of the parts."""
        values = zip(*(vars(frame).values() for frame in self.frames), strict=True)
        return Parts(*map(statistics.median, values))

    @property
    def latency_s(self) -> float:
        """Median of the whole [s]."""
        return statistics.median(frame.latency_s for frame in self.frames)


def run_really(bundle: Bundle, factory: EngineFactory, plans: Sequence[Plan]) -> list[RealRun]:
    """Run all plans, pass by pass."""
    frames = bundle.calibration_frames()
    frames = frames[_PROFILED_FRAMES:] if len(frames) > _PROFILED_FRAMES else frames
    jpegs = [
        cv2.imencode(
            ".jpg", cv2.cvtColor(f, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        )[1]
        for f in frames
    ]
    pool = EnginePool(factory)
    runs = [RealRun(bundle, pool, plan) for plan in plans]
    for at in track(range(_PASSES), "running the plans", console=Console(stderr=True)):
        for run in runs:
            for number in range(_FRAMES_A_PASS):
                run.run(jpegs[(at * _FRAMES_A_PASS + number) % len(jpegs)])
    for run in runs:
        run.close()
    return runs


def waited_share(runs: Sequence[RealRun]) -> float:
    """Share of the plans' time in which no processor worked for them."""
    total_s = sum(frame.latency_s for run in runs for frame in run.frames)
    return max(0.0, 1 - sum(run.processor_s for run in runs) / total_s)
