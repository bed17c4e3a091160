"""What the stages of the plan in force really take, frame by frame."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from statistics import fmean, median, pstdev

from codesign_ros.hardware.sustained import Run, sustained_s
from codesign_ros.runtime.device import WINDOW_FRAMES, Payload, StageMedians
from codesign_ros.runtime.messages import Result

# A frame that waited so long for the tail was next as soon as the one before was done [s]. What is
# shorter is the way from thread to thread.
_WAITED_S = 0.003
# Gaps of which the middle one counts, of the last frames.
_LEAST_GAPS = 3
# Frames of one codec of which the mean size counts, likewise.
_LEAST_SIZES = 3
# Plans in a row under which frames may still be in flight.
_PAST_EPOCHS = 16


class ProcessorUse:
    """How long a frame keeps the robot's processor busy, with all that is done for it.

    Where it has no more than one core, no two frames can follow each other sooner. What a stage
    takes does not show that: on a share of a core it takes longer the more the processor has to do
    beside it, and less where the robot waits for the link or the server. What is left over of this
    beside the stage is a gap between frames, which is known before frames follow each other without
    a pause; for one that is passed on as it came, it is all there is. Where there are more cores,
    others have time for it, and it is not known.

    Args:
        cores: what the process may use of the processors [cores]; None = more than one.
        cpu_s: processor time used of them so far [s].
    """

    def __init__(self, cores: float | None, cpu_s: Callable[[], float]) -> None:
        self._cores = cores
        self._cpu_s = cpu_s
        self._last_s: float | None = None

    def frame(self, is_next: bool) -> float | None:
        """Note that a frame is begun with; what the one before took, if that is known [s].

        Args:
            is_next: whether others are under way, so that what was done since was for frames.
        """
        if self._cores is None:
            return None
        now_s, last_s = self._cpu_s(), self._last_s
        self._last_s = now_s
        return None if last_s is None or not is_next else (now_s - last_s) / self._cores


class RunningTimes:
    """Medians over the last frames of the newest epoch. Not thread safe: the runtime has a lock.

    Args:
        cores: see ``ProcessorUse``.
    """

    def __init__(self, cores: float | None = None) -> None:
        self._cores = cores
        self._epoch = 0
        self._past: deque[int] = deque(maxlen=_PAST_EPOCHS)
        self._frames = 0
        self._times: deque[tuple[float, float, float]] = deque(maxlen=WINDOW_FRAMES)
        self._runs: deque[Run] = deque(maxlen=WINDOW_FRAMES)
        # Between frames in a row, on the robot and at the tail; None = not in a row [s].
        self._gaps: deque[tuple[float | None, float | None]] = deque(maxlen=WINDOW_FRAMES)
        # Codec and payload of those that were sent [bytes].
        self._sizes: deque[tuple[str, int]] = deque(maxlen=WINDOW_FRAMES)
        self._answered_s = 0.0

    def add(
        self,
        result: Result,
        head_gap_s: float | None,
        now_s: float,
        waited_s: float = 0.0,
        codec: str = "",
        head_run: Run | None = None,
    ) -> None:
        """Take a frame that was answered as its plan says.

        One of an older epoch counts nothing, nor does one of which the tail says what is no time.

        Waiting at the tail or for the link is not part of any stage: it comes from too many frames
        in flight, or from the load of others.

        Args:
            result: the frame's answer.
            head_gap_s: what passed on the robot between the frame before and this one; None where
                this one was not there yet [s].
            now_s: when the answer came, on any steady clock [s].
            waited_s: the part of its ``link_s`` that was waiting for the link [s].
            codec: with which it was sent; empty = it was not.
            head_run: what the robot's stage took; None where that is not known.
        """
        times = (
            result.head_s + result.encode_s,
            result.link_s - waited_s,
            result.decode_s + result.tail_s,
        )
        if result.epoch in self._past or not all(0 <= time_s < math.inf for time_s in times):
            return
        if result.epoch != self._epoch:
            self._past.append(self._epoch)
            self._epoch, self._frames = result.epoch, 0
            self._times.clear()
            self._gaps.clear()
            self._runs.clear()
            self._sizes.clear()
        self._frames += 1
        if codec:
            self._sizes.append((codec, result.payload_bytes))
        self._times.append(times)
        if head_run is not None:
            self._runs.append(head_run)
        tail_gap_s = None
        if result.queue_s > _WAITED_S and self._gaps:
            tail_gap_s = max(0.0, now_s - self._answered_s - times[2])
        self._gaps.append((head_gap_s, tail_gap_s))
        self._answered_s = now_s

    @property
    def running(self) -> StageMedians:
        """The medians, and over how many frames since the epoch began they were taken."""
        if not self._times:
            return StageMedians()
        head_s, link_s, tail_s = map(median, zip(*self._times, strict=True))
        head_gap_s, tail_gap_s = map(_middle, zip(*self._gaps, strict=True))
        return StageMedians(
            self._epoch,
            self._frames,
            head_s,
            link_s,
            tail_s,
            head_gap_s,
            tail_gap_s,
            sustained_s(self._runs, self._cores) if self._cores and self._runs else 0.0,
            tuple(self._payloads()),
        )

    def _payloads(self) -> Iterator[Payload]:
        """How large the last frames were, by codec."""
        for codec in dict.fromkeys(codec for codec, _ in self._sizes):
            sizes = [size for each, size in self._sizes if each == codec]
            if len(sizes) >= _LEAST_SIZES:
                yield Payload(codec, len(sizes), fmean(sizes), pstdev(sizes))


def _middle(gaps_s: tuple[float | None, ...]) -> float:
    """The median of the gaps that there are; 0 where there are too few."""
    known_s = [gap_s for gap_s in gaps_s if gap_s is not None]
    return median(known_s) if len(known_s) >= _LEAST_GAPS else 0.0
