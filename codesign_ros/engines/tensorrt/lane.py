"""One of the ways through an engine: what a single run needs to be alone."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from codesign_ros.engines.tensorrt.cuda import CudaContext, DeviceBuffer, HostBuffer
from codesign_ros.engines.tensorrt.cuda_driver import CudaGraph
from codesign_ros.engines.tensorrt.reports import failure
from codesign_ros.engines.tensorrt.settings import TensorRtSettings
from codesign_ros.engines.tensorrt.versions import Api, Loaded
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.tensors import TensorSpec

_log = logging.getLogger(__name__)

_ANY_SIZE = 0


@dataclass
class _Tensor:
    spec: TensorSpec
    host: HostBuffer
    device: DeviceBuffer | None  # None = the GPU uses the host's memory

    @property
    def address(self) -> int:
        return self.host.address if self.device is None else self.device.address

    def frames(self, size: int) -> np.ndarray:
        """View of the first ``size`` frames in the host's memory, (size, ...)."""
        used = self.host.array[: size * self.spec.nbytes].view(self.spec.dtype)
        return used.reshape(size, *self.spec.shape[1:])


@dataclass
class _Way:
    """An execution context, and the graph that was recorded with it."""

    execution: Any
    records: bool  # whether a graph is wanted
    size: int = 0  # frames that it is set to
    graph: CudaGraph | None = None


class Lane:
    """Execution contexts, a stream and memory for ``max_batch`` frames. One thread at a time.

    A graph is of one batch size and of the execution context it was recorded with, which must not
    be set to another size afterwards. So the sizes that are frequent, one frame and the full batch,
    have a context each and are recorded; the sizes between share one and are not.

    Args:
        api: TensorRT.
        loaded: the engine, which has to outlive this.
        context: the GPU, likewise.
        inputs: tensors that go in, of one frame.
        outputs: tensors that come out, of one frame.
        max_batch: frames that a run takes at most; 1 for an engine of a fixed size.
        free_batch: whether the engine's batch size is free.
        settings: whether to record and to share memory.

    Raises:
        CodesignError: there is not enough memory.
    """

    def __init__(
        self,
        api: Api,
        loaded: Loaded,
        context: CudaContext,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        *,
        max_batch: int,
        free_batch: bool,
        settings: TensorRtSettings,
    ) -> None:
        self._api = api
        self._context = context
        self._max_batch = max_batch
        self._free_batch = free_batch
        self._zero_copy = bool(settings.zero_copy)
        self._inputs: list[_Tensor] = []
        self._outputs: list[_Tensor] = []
        self._ways: dict[int, _Way] = {}
        self._stream: Any = None
        try:
            with context.active():
                self._stream = context.new_stream()
                if settings.zero_copy is None:
                    self._zero_copy = context.gpu().integrated
                for specs, tensors in ((inputs, self._inputs), (outputs, self._outputs)):
                    for spec in specs:
                        self._allocate(spec, tensors)
                recorded = sorted({1, max_batch}) if settings.cuda_graph else []
                for size in recorded:
                    self._ways[size] = _Way(self._new_execution(loaded), records=True)
                if len(recorded) < max_batch:
                    self._ways[_ANY_SIZE] = _Way(self._new_execution(loaded), records=False)
        except BaseException:
            self.close()
            raise

    def run(self, frames: Sequence[dict[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
        """Run once on 1 to ``max_batch`` frames; return new arrays, in the same order.

        Raises:
            CodesignError: the GPU or TensorRT fails.
        """
        size = len(frames)
        with self._context.active():
            for tensor in self._inputs:
                memory = tensor.frames(size)
                for index, frame in enumerate(frames):
                    memory[index] = frame[tensor.spec.name][0]
            way = self._ways.get(size) or self._ways[_ANY_SIZE]
            try:
                if way.graph is not None:
                    way.graph.launch()
                else:
                    self._set_size(way, size)
                    self._enqueue(way, size)
                # Lets go of Python's lock while it waits, as all of PyCUDA's calls that wait do.
                self._stream.synchronize()
            except BaseException:
                # Whatever is still under way writes into memory that the next run uses: this waits.
                self._context.check(self._stream)
                raise
            results = [
                {t.spec.name: t.frames(size)[i : i + 1].copy() for t in self._outputs}
                for i in range(size)
            ]
            if way.records and way.graph is None:
                self._record(way, size)
            return results

    def close(self) -> None:
        """Free everything. A second call does nothing."""
        if self._stream is None:
            return
        with self._context.active():
            # Contexts of execution first: what they have on the stream may use the memory.
            with contextlib.suppress(Exception):
                self._stream.synchronize()
            for way in self._ways.values():
                if way.graph is not None:
                    way.graph.close()
                way.execution = None
            self._ways.clear()
            for tensor in (*self._inputs, *self._outputs):
                if tensor.device is not None:
                    tensor.device.close()
                tensor.host.close()
            self._inputs, self._outputs = [], []
            self._stream = None

    def _allocate(self, spec: TensorSpec, tensors: list[_Tensor]) -> None:
        nbytes = spec.nbytes * self._max_batch
        tensor = _Tensor(spec, self._context.host_buffer(nbytes, mapped=self._zero_copy), None)
        tensors.append(tensor)  # before the rest, which may fail
        if not self._zero_copy:
            tensor.device = self._context.device_buffer(nbytes)

    def _new_execution(self, loaded: Loaded) -> Any:
        execution = self._api.create_context(loaded)
        for tensor in (*self._inputs, *self._outputs):
            if not execution.set_tensor_address(tensor.spec.name, tensor.address):
                raise failure(f"tensor {tensor.spec.name} cannot be placed", self._api.log.take())
        return execution

    def _set_size(self, way: _Way, size: int) -> None:
        if way.size == size or not self._free_batch:
            return
        for tensor in self._inputs:
            shape = (size, *tensor.spec.shape[1:])
            if not way.execution.set_input_shape(tensor.spec.name, shape):
                way.size = 0
                raise failure(f"a batch of {size} cannot be run", self._api.log.take())
        way.size = size

    def _enqueue(self, way: _Way, size: int) -> None:
        """Put one run on the stream."""
        for tensor in self._inputs:
            if tensor.device is not None:
                self._context.copy_in(tensor.device, tensor.frames(size), self._stream)
        if not way.execution.execute_async_v3(self._stream.handle):
            raise failure("the engine cannot be run", self._api.log.take())
        for tensor in self._outputs:
            if tensor.device is not None:
                self._context.copy_out(tensor.frames(size), tensor.device, self._stream)

    def _record(self, way: _Way, size: int) -> None:
        """Record a run, after one that was not: TensorRT gets ready in the first one."""
        way.records = False  # one attempt
        try:
            if not self._api.is_capturable(way.execution, self._stream.handle):
                raise CodesignError("TensorRT says that it cannot be recorded")
            # PyCUDA's errors too: the run that this follows has its results.
            with self._context.in_words("a run cannot be recorded"):
                way.graph = CudaGraph(self._stream.handle, lambda: self._enqueue(way, size))
        except CodesignError as error:
            _log.info("a batch of %d runs without a CUDA graph: %s", size, error)
