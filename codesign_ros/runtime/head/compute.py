"""The head's compute thread: runs what a frame's plan says, and hands on what comes of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np

from codesign_ros.bundle import Bundle
from codesign_ros.hardware.sustained import Run
from codesign_ros.pixels.letterbox import letterbox
from codesign_ros.runtime.answers import NotFiniteError
from codesign_ros.runtime.emulation import stretched
from codesign_ros.runtime.head.book import FrameBook
from codesign_ros.runtime.head.ledger import Frame, Phase
from codesign_ros.runtime.head.plans import HeadPlans
from codesign_ros.runtime.head.results import result_of
from codesign_ros.runtime.head.server_watch import ServerWatch
from codesign_ros.runtime.head.settings import HeadSettings
from codesign_ros.runtime.head.stage_medians import ProcessorUse, RunningTimes
from codesign_ros.runtime.messages import DropReason
from codesign_ros.runtime.stages.head import HeadOutput, HeadStage
from codesign_ros.runtime.stages.leased import LeasedStage
from codesign_ros.runtime.stages.tail import TailStage
from codesign_ros.types.errors import CodesignError, unexpected
from codesign_ros.types.plan import Plan


class HeadCompute:
    """Computes frames one after the other, on a thread of its own.

    What nobody foresaw costs one frame, never the thread: it is logged, counted under ``errors``,
    and named as the reason for which the frame was dropped.

    Args:
        bundle: the network.
        settings: see ``HeadSettings``.
        book: the frames in flight.
        plans: what runs them.
        server: whether the server is there to finish them.
        times: takes what the stages took.
        send: takes a frame in phase COMPUTING with what crosses the cut, and the plan that ran.
    """

    def __init__(
        self,
        bundle: Bundle,
        settings: HeadSettings,
        book: FrameBook,
        plans: HeadPlans,
        server: ServerWatch,
        times: RunningTimes,
        send: Callable[[Frame, Plan, HeadOutput], None],
    ) -> None:
        self._bundle = bundle
        self._settings = settings
        self._book = book
        self._plans = plans
        self._server = server
        self._times = times
        self._send = send
        # When the last frame was computed; None = there was none to go on with [s].
        self._computed_s: float | None = None
        # What the last frame's stage takes of the processor, in a row with others [s].
        self._stage_busy_s = 0.0
        self._processor = ProcessorUse(settings.scarce_cores, settings.cpu_s)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="head-compute", daemon=True)
        self._thread.start()

    def forward(self) -> None:
        """Hand on to the uplink, in order, the waiting frames that go there as they are.

        Nothing is computed then: waking the compute thread would cost more than the work, and it
        may be busy with a frame that stays on the robot. The book's lock is not held.
        """
        while (begun := self._begin_to_forward()) is not None:
            self.work_on(*begun)

    def _begin_to_forward(
        self,
    ) -> tuple[Frame, LeasedStage[HeadStage] | LeasedStage[TailStage]] | None:
        """Begin with the next frame if it can be forwarded; returns what ``work_on`` wants."""
        book = self._book
        with book.lock:
            frame = book.next_frame() if book.is_open else None
            if (
                frame is None
                or frame.phase is not Phase.WAITING
                or frame.jpeg is None
                or not self._plans.stages.following.stage.sends_jpeg
                or self._is_alone
                or self._settings.slowdown > 1
                or any(other.goes_on for other in book.ledger.in_phase(Phase.COMPUTING))
            ):
                return None
            frame.head_gap_s = self._gap_s(None)
            return frame, self._start(frame, falls_back=False)

    def work_on(
        self,
        frame: Frame,
        leased: LeasedStage[HeadStage] | LeasedStage[TailStage],
        falls_back: bool = False,
    ) -> None:
        """Compute a frame that was begun with; the book's lock is not held."""
        try:
            self._work(frame, leased.stage, falls_back)
        except _UnreadableError as error:
            self._drop(frame, DropReason.UNREADABLE, str(error))
        except NotFiniteError as error:
            self._drop(frame, DropReason.NOT_FINITE, str(error))
        except CodesignError as error:
            self._drop(frame, DropReason.ENGINE, str(error))
        except Exception as error:
            self._book.error(f"frame {frame.sequence} could not be computed")
            self._drop(frame, DropReason.DEFECT, unexpected(error))
        finally:
            leased.release()

    def join(self) -> None:
        """Wait until the thread has seen that the book is closed."""
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        # Nothing is kept in a variable here: it would hold on to an old frame until the next one
        # comes.
        while self._compute_next():
            pass

    def _compute_next(self) -> bool:
        """Wait for a frame and compute it; False when the head is closed."""
        book = self._book
        with book.lock:
            self._server.strand_overdue(time.monotonic())
            while book.is_open and (frame := book.next_frame()) is None:
                book.wait()
                self._server.strand_overdue(time.monotonic())
                self._computed_s = None
            if not book.is_open:
                return False
            assert frame is not None
            falls_back = frame.phase is not Phase.WAITING or self._is_alone
            leased = self._start(frame, falls_back)
            paused_s = None
            if self._computed_s is not None:
                paused_s = time.perf_counter() - self._computed_s
            frame.head_gap_s = self._gap_s(paused_s)
        self.work_on(frame, leased, falls_back)
        return True

    def _gap_s(self, paused_s: float | None) -> float | None:
        """Least time between the stage of the last frame and of this one [s]; None = not known.

        Args:
            paused_s: what passed between them if this one was there already [s].
        """
        is_next = paused_s is not None or bool(self._book.ledger.in_phase(Phase.REMOTE))
        if self._settings.scarce_cores is None:
            return paused_s
        busy_s = self._processor.frame(is_next)
        return None if busy_s is None else max(0.0, busy_s - self._stage_busy_s)

    @property
    def _is_alone(self) -> bool:
        """Whether the plan is split and not followed, for the server is no help."""
        return self._plans.is_split and not self._server.helps

    def _start(
        self, frame: Frame, falls_back: bool
    ) -> LeasedStage[HeadStage] | LeasedStage[TailStage]:
        """Begin with a frame; returns what runs it. The book's lock is held."""
        if frame.phase is Phase.WAITING:
            frame.epoch = self._plans.plan.epoch
        frame.phase = Phase.COMPUTING
        stages = self._plans.stages_of(frame.epoch)
        frame.goes_on = not falls_back and stages.following.stage.plan.cut < self._bundle.last_cut
        # Its own lease: the epoch may be dropped while this frame is computed.
        return (stages.finishing(frame) if falls_back else stages.following).again()

    def _work(self, frame: Frame, stage: HeadStage | TailStage, falls_back: bool) -> None:
        # Of this thread, which is all of it but where an engine was given several on one core.
        start, start_cpu_s = time.perf_counter(), time.thread_time()

        def work() -> tuple[np.ndarray | None, HeadOutput]:
            image = frame.image
            if isinstance(stage, TailStage):  # as the server would have: from what crossed
                return image, HeadOutput(stage.run(stage.decode(frame.encoded)), (), 0.0, 0.0)
            if frame.jpeg is not None and stage.sends_jpeg:
                return image, stage.forward(frame.jpeg)
            if image is None:
                pixels = _pixels(frame)
                image = letterbox(pixels, self._bundle.input)
                frame.size = pixels.shape[0], pixels.shape[1]
            sequence = None if falls_back else frame.sequence
            return image, stage.run(image, frame.jpeg, sequence)

        slowdown = self._settings.slowdown
        image, output = stretched(work, slowdown, self._closing)
        encode_s = output.encode_s * max(1.0, slowdown)
        self._computed_s = time.perf_counter()
        run = Run(self._computed_s - start, time.thread_time() - start_cpu_s)
        self._stage_busy_s = run.cpu_s / (self._settings.scarce_cores or 1.0)
        head_s = run.wall_s - encode_s
        if output.answer is None:
            frame.image, frame.head_s, frame.encode_s = image, head_s, encode_s
            frame.head_run = run
            self._send(frame, stage.plan, output)
            return
        result = result_of(
            frame,
            output.answer,
            self._bundle.input,
            self._settings.selection.max_detections,
            finished_by="fallback" if falls_back else "robot",
            head_s=frame.head_s + head_s,
        )
        with self._book.lock:
            if isinstance(stage, HeadStage):
                self._server.own_time(head_s)
            if frame.phase is not Phase.COMPUTING:  # the server's answer has come meanwhile
                return
            if frame.is_asked:
                self._server.beaten(frame)
            if not falls_back:
                self._times.add(result, frame.head_gap_s, time.monotonic(), head_run=run)
            self._book.settle(frame, result)
        self._book.flush()

    def _drop(self, frame: Frame, why: DropReason, reason: str) -> None:
        with self._book.lock:
            if frame.phase is Phase.COMPUTING:
                self._book.drop(frame, why, reason)
        self._book.flush()


class _UnreadableError(CodesignError):
    """A frame's pixels cannot be read."""


def _pixels(frame: Frame) -> np.ndarray:
    """The pixels of a frame, (h, w, 3) uint8 RGB.

    Raises:
        _UnreadableError: they cannot be read.
    """
    try:
        return frame.load()
    except CodesignError as error:
        raise _UnreadableError(str(error)) from error
