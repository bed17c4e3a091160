"""Engine on TensorRT: runs a built half on the GPU, several frames at once."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

import numpy as np

from codesign_ros.engines.base import check_frame, zeros
from codesign_ros.engines.tensorrt.cuda import CudaContext
from codesign_ros.engines.tensorrt.lane import Lane
from codesign_ros.engines.tensorrt.settings import TensorRtSettings
from codesign_ros.engines.tensorrt.versions import Api, Loaded
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.tensors import TensorSpec


class _Job:
    """Frames of one caller, and what became of them."""

    def __init__(self, frames: Sequence[dict[str, np.ndarray]]) -> None:
        self.frames = frames
        self.taken = False
        self.results: list[dict[str, np.ndarray]] | None = None
        self.error: BaseException | None = None

    @property
    def done(self) -> bool:
        return self.results is not None or self.error is not None


class TensorRtEngine:
    """An ``Engine`` on a serialised engine of TensorRT. May be used from several threads.

    Each run has a lane to itself, so that one copies while another computes. Who finds all lanes
    busy waits; the first of those who wait that gets a lane takes the others' frames along, up to
    ``max_batch``. Nobody waits for a batch to fill.

    Args:
        api: TensorRT.
        context: the GPU; has to stay open as long as this.
        data: the engine, serialised.
        inputs: tensors of one frame that it takes.
        outputs: tensors of one frame that it makes.
        settings: lanes, frames at once, graphs and memory.
        dla_core: the DLA core that it was built for.

    Raises:
        CodesignError: the engine does not load, is not for these tensors, or there is not enough
            memory.
    """

    def __init__(
        self,
        api: Api,
        context: CudaContext,
        data: bytes,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        settings: TensorRtSettings,
        dla_core: int | None = None,
    ) -> None:
        self.inputs = inputs
        self.outputs = outputs
        self._context = context
        self._changed = threading.Condition()
        self._waiting: deque[_Job] = deque()
        self._callers = 0
        self._closing = False
        self._lanes: list[Lane] = []
        self._loaded: Loaded | None = None
        try:
            with context.active():
                self._loaded = api.deserialize(data, dla_core)
                free_batch = self._check_tensors(api, self._loaded)
            self.max_batch = settings.max_batch if free_batch else 1
            for _ in range(settings.contexts):
                self._lanes.append(
                    Lane(
                        api,
                        self._loaded,
                        context,
                        inputs,
                        outputs,
                        max_batch=self.max_batch,
                        free_batch=free_batch,
                        settings=settings,
                    )
                )
        except BaseException:
            self._free_all()
            raise
        self._free = list(self._lanes)
        context.closes_first(self)

    def warm_up(self, runs: int = 2) -> None:
        """Run on zeros ``runs`` times on each lane, one frame and the full batch.

        Call it before others run: it waits for every lane in turn.
        """
        frame = zeros(self.inputs)
        with self._changed:
            self._enter()
        try:
            for lane in self._lanes:
                with self._changed:
                    self._changed.wait_for(lambda lane=lane: lane in self._free)  # type: ignore[misc]
                    self._free.remove(lane)
                try:
                    for size in sorted({1, self.max_batch}):
                        for _ in range(runs):
                            lane.run([frame] * size)
                finally:
                    self._give_back(lane)
        finally:
            self._leave()

    def run(self, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once; see ``Engine.run``.

        Raises:
            ValueError: an array is missing, or is not what ``inputs`` says.
            CodesignError: the GPU or TensorRT fails.
            RuntimeError: the engine is closed.
        """
        return self.run_batch([tensors])[0]

    def run_batch(self, batch: Sequence[dict[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
        """Run once on up to ``max_batch`` frames; see ``Engine.run_batch`` and ``run``."""
        if len(batch) > self.max_batch:
            raise ValueError(f"a batch of {len(batch)}; the engine takes up to {self.max_batch}")
        for frame in batch:
            # Before it joins others: one caller's mistake is not theirs.
            check_frame(self.inputs, frame)
        if not batch:
            return []
        job = _Job(batch)
        with self._changed:
            self._enter()
            self._waiting.append(job)
        try:
            self._serve(job)
        finally:
            self._leave()
        if job.error is not None:
            # What was raised holds this frame, and by it the job, the lane and what is on the GPU.
            error, job.error = job.error, None
            try:
                raise error
            finally:
                del error
        assert job.results is not None
        return job.results

    def close(self) -> None:
        """Wait for the runs under way and free everything, on any thread."""
        with self._changed:
            self._closing = True
            self._changed.wait_for(lambda: self._callers == 0)
            self._free_all()

    def _serve(self, job: _Job) -> None:
        """Wait until the job is done, or a lane is free to do it and those before it."""
        while True:
            with self._changed:
                try:
                    self._changed.wait_for(lambda: job.done or (not job.taken and bool(self._free)))
                except BaseException:  # Ctrl-C: nobody is left to run it or to take the answer
                    if not job.taken:
                        self._waiting.remove(job)
                    raise
                if job.done:
                    return
                lane, jobs = self._free.pop(), self._take()
            try:
                frames = [frame for each in jobs for frame in each.frames]
                results = iter(lane.run(frames))
                for each in jobs:
                    each.results = [next(results) for _ in each.frames]
            except BaseException as error:
                for each in jobs:
                    each.error = error
            finally:
                self._give_back(lane)

    def _take(self) -> list[_Job]:
        """Take those who wait longest and fit into one batch."""
        jobs: list[_Job] = []
        room = self.max_batch
        while self._waiting and len(self._waiting[0].frames) <= room:
            job = self._waiting.popleft()
            job.taken = True
            room -= len(job.frames)
            jobs.append(job)
        return jobs

    def _enter(self) -> None:
        if self._closing:
            raise RuntimeError("the engine is closed")
        self._callers += 1

    def _leave(self) -> None:
        with self._changed:
            self._callers -= 1
            self._changed.notify_all()

    def _give_back(self, lane: Lane) -> None:
        with self._changed:
            self._free.append(lane)
            self._changed.notify_all()

    def _check_tensors(self, api: Api, loaded: Loaded) -> bool:
        """Compare the engine's tensors with the specs; return whether its batch size is free."""
        found = {(t.name, t.is_input): t for t in api.tensors(loaded)}
        wanted = {(s.name, True): s for s in self.inputs}
        wanted.update({(s.name, False): s for s in self.outputs})
        for (name, _), spec in wanted.items():
            tensor = found.get((name, _))
            if (
                tensor is None
                or tensor.dtype != np.dtype(spec.dtype)
                or tensor.shape[1:] != spec.shape[1:]
                or tensor.shape[0] not in (-1, 1)
            ):
                raise CodesignError(
                    f"the engine was built for other tensors: {name} should be {spec.dtype} "
                    f"{spec.shape}; delete it and build it anew"
                )
        if len(found) != len(wanted):
            raise CodesignError(
                "the engine was built for other tensors: it has more than the network; "
                "delete it and build it anew"
            )
        return any(tensor.shape[0] == -1 for tensor in found.values())

    def _free_all(self) -> None:
        for lane in self._lanes:
            with self._context.freeing():
                lane.close()
        self._lanes, self._free = [], []
        if self._loaded is not None:
            with self._context.freeing(), self._context.active():
                # The engine before its runtime.
                self._loaded.engine = None
                self._loaded = None
