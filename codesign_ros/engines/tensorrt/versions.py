"""The one place that knows TensorRT 8.5 to 8.6, 10, 11 and TensorRT for RTX apart.

What differs is asked of the library itself (is there such a flag, such a method), not of its
version number, so a version between two that are known here does what it can.

- 8 has networks with or without an explicit batch, and flags say which precisions layers may use.
- 10 has strongly typed networks besides: the piece of ONNX says what each tensor is.
- 11 and TensorRT for RTX have only these, and no flags for precisions.
- TensorRT for RTX builds without a GPU, and compiles kernels where the engine runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

from codesign_ros.engines.tensorrt.library import find_library
from codesign_ros.engines.tensorrt.reports import (
    Progress,
    failure,
    new_log,
    new_monitor,
    unreadable,
)
from codesign_ros.engines.tensorrt.request import BuildRequest
from codesign_ros.engines.tensorrt.target import ANY_RTX, Gpu
from codesign_ros.engines.tensorrt.tensors import EngineTensor, dtype_of, tensors_of_network
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import PRECISIONS

# By flavour; they count their versions apart. Before these, tensors had numbers and no names, or an
# engine could not say for which GPUs it is.
_OLDEST = {"tensorrt": (8, 5), "tensorrt-rtx": (1, 2)}


@dataclass
class Draft:
    """A parsed network on its way to an engine, and what has to live as long as it.

    Attributes:
        builder: TensorRT's builder.
        network: the network.
        parser: the parser, which holds the weights.
        tensors: the network's inputs and outputs.
        config: the builder's configuration.
        kept: what the configuration points to.
    """

    builder: Any
    network: Any
    parser: Any
    tensors: tuple[EngineTensor, ...]
    config: Any
    kept: list[Any] = field(default_factory=list)


@dataclass
class Loaded:
    """An engine that can run. The runtime has to outlive it, so it is let go of second."""

    engine: Any
    runtime: Any


class Api:
    """One installed TensorRT.

    Args:
        trt: its Python module.
        flavour: "tensorrt" or "tensorrt-rtx".

    Raises:
        CodesignError: it is too old.
    """

    def __init__(self, trt: Any, flavour: str) -> None:
        self.flavour = flavour
        self.version: str = trt.__version__
        oldest = _OLDEST[flavour]
        if tuple(int(part) for part in self.version.split(".")[:2]) < oldest:
            raise CodesignError(
                f"{flavour} {self.version} is too old; install {oldest[0]}.{oldest[1]} or later"
            )
        self._trt = trt
        # TensorRT logs everything to the first logger that it is given, so there is one, and it
        # lives as long as this.
        self.log = new_log(trt)
        self._compiled: Any = None  # TensorRT for RTX: kernels compiled in this process

    def precisions(self, gpu: Gpu) -> tuple[str, ...]:
        """Return those of ``PRECISIONS`` in which a GPU is faster than in fp32.

        Asked of the compute capability: TensorRT itself tells in 8 and 10 only.
        """
        if gpu == ANY_RTX:
            return PRECISIONS
        capability = gpu.compute_capability
        has_fp16 = capability >= (7, 0) or capability in ((5, 3), (6, 0), (6, 2))
        # Products of four bytes: from Pascal on, except its largest chip and Jetson TX2.
        has_int8 = capability >= (6, 1) and capability != (6, 2)
        return (
            "fp32",
            *(("fp16",) if has_fp16 else ()),
            *(("int8-tensor", "int8-channel") if has_int8 else ()),
        )

    def dla_cores(self) -> int:
        """Return how many DLA cores this TensorRT finds next to the GPU whose context is current.

        Raises:
            CodesignError: TensorRT does not work here.
        """
        return int(self._new(self._trt.Builder, "TensorRT cannot be used here").num_DLA_cores)

    # Building

    def parse(self, piece: bytes, request: BuildRequest) -> Draft:
        """Make a network from a piece of ONNX.

        Raises:
            CodesignError: TensorRT cannot build here at all, or cannot read the piece; names node
                and operator where it is one of them.
        """
        builder = self._new(self._trt.Builder, "TensorRT cannot build engines here")
        if request.dla_core is not None and request.dla_core >= builder.num_DLA_cores:
            raise CodesignError(
                f"no DLA core {request.dla_core}: {self.flavour} {self.version} finds "
                f"{builder.num_DLA_cores} on this machine; set tensorrt.dla_core to -1 for none"
            )
        network = builder.create_network(self._network_flags(request))
        parser = self._trt.OnnxParser(network, self.log)
        if not parser.parse(piece):
            raise unreadable(parser, piece, self.log.take())
        if network.num_outputs == 0:
            raise failure("TensorRT cannot read the piece of ONNX", ["it is no ONNX model"])
        return Draft(
            builder, network, parser, tensors_of_network(network), builder.create_builder_config()
        )

    def configure(self, draft: Draft, request: BuildRequest, progress: Progress) -> None:
        """Set everything the request says in the draft's configuration."""
        trt, config = self._trt, draft.config
        # TF32 keeps 10 bits of each factor. What is called fp32 is to be that, so that a head here
        # and a tail on another machine's CPU are one network; and so are the layers that a network
        # in 8 bits keeps in float, because their numbers are the answer itself.
        config.clear_flag(trt.BuilderFlag.TF32)
        if not self._strongly_typed(request):
            if request.precision == "fp16":
                config.set_flag(trt.BuilderFlag.FP16)
            elif request.precision.startswith("int8"):
                config.set_flag(trt.BuilderFlag.INT8)
                if draft.builder.platform_has_fast_fp16:
                    # What has no kernel in 8 bits need not be fp32.
                    config.set_flag(trt.BuilderFlag.FP16)
        if request.workspace_bytes is not None:
            config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, request.workspace_bytes)
        if request.dla_core is not None:
            config.default_device_type = trt.DeviceType.DLA
            config.DLA_core = request.dla_core
            config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
        if self.flavour == "tensorrt-rtx" and request.gpu is not None:
            # Otherwise for all from Ampere on. (One for Turing as well could hold no Gemm in fp32.)
            config.num_compute_capabilities = 1
            config.set_compute_capability(trt.ComputeCapability.CURRENT, 0)
        if hasattr(trt.BuilderFlag, "REQUIRE_USER_ALLOCATION"):
            # TensorRT for RTX: without it a run may allocate, and cannot be recorded as a graph.
            config.set_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)
        if hasattr(trt, "IProgressMonitor"):
            monitor = new_monitor(trt, progress)
            config.progress_monitor = monitor
            draft.kept.append(monitor)
        self._set_profile(draft, request.max_batch)

    def use_timing_cache(self, draft: Draft, timings: bytes) -> bool:
        """Let a build begin with the timings of former ones; b"" = none.

        Returns:
            Whether they were of this GPU and version; if not, the build begins without any.
        """
        if not self._has_timing_cache:
            return True
        for serialised in (timings, b""):
            timing_cache = draft.config.create_timing_cache(serialised)
            if timing_cache is not None and draft.config.set_timing_cache(timing_cache, False):
                draft.kept.append(timing_cache)
                return serialised == timings
        return False

    def timing_cache(self, draft: Draft) -> bytes:
        """Return all timings after a build; b"" if this TensorRT takes none."""
        if not self._has_timing_cache:
            return b""
        timing_cache = draft.config.get_timing_cache()
        return b"" if timing_cache is None else bytes(timing_cache.serialize())

    def serialise(self, draft: Draft) -> bytes:
        """Build the engine.

        Raises:
            CodesignError: TensorRT does not build it.
        """
        self.log.take()
        engine = draft.builder.build_serialized_network(draft.network, draft.config)
        if engine is None:
            raise failure("the engine cannot be built", self.log.take())
        return bytes(engine)

    @property
    def _has_timing_cache(self) -> bool:
        # TensorRT for RTX times nothing while it builds.
        return self.flavour == "tensorrt"

    def _strongly_typed(self, request: BuildRequest) -> bool:
        if not hasattr(self._trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED"):
            return False
        # As long as there are flags for precisions, DLAs go by them and not by types.
        return request.dla_core is None or not hasattr(self._trt.BuilderFlag, "FP16")

    def _network_flags(self, request: BuildRequest) -> int:
        flags = self._trt.NetworkDefinitionCreationFlag
        if self._strongly_typed(request):
            return 1 << int(flags.STRONGLY_TYPED)
        # Deprecated in 10, where there is nothing else, and gone in 11.
        return 1 << int(flags.EXPLICIT_BATCH)

    def _share_profile(self, draft: Draft) -> None:
        """Let all execution contexts use one profile, which 8.6 has to be asked for.

        Later ones always allow it; 8.5 never.
        """
        feature: Any = getattr(self._trt, "PreviewFeature", None)
        if self.flavour != "tensorrt" or not self.version.startswith("8."):
            return
        if not hasattr(feature, "PROFILE_SHARING_0806"):
            raise CodesignError(
                f"TensorRT {self.version} runs engines of several frames one at a time only; "
                "set tensorrt.max_batch to 1, or install 8.6 or later"
            )
        draft.config.set_preview_feature(feature.PROFILE_SHARING_0806, True)

    def _set_profile(self, draft: Draft, max_batch: int) -> None:
        free = [tensor for tensor in draft.tensors if tensor.is_input and -1 in tensor.shape]
        if not free:
            return
        self._share_profile(draft)
        profile = draft.builder.create_optimization_profile()
        for tensor in free:
            one, most = (1, *tensor.shape[1:]), (max_batch, *tensor.shape[1:])
            # Kernels are chosen for the full batch: that is when time is short.
            profile.set_shape(tensor.name, one, most, most)
        draft.config.add_optimization_profile(profile)

    def _new(self, kind: Any, failed: str) -> Any:
        """Make a builder or runtime; without a GPU or driver the bindings raise for a null."""
        self.log.take()
        try:
            return kind(self.log)
        except (TypeError, RuntimeError) as error:
            raise failure(failed, self.log.take() or [str(error)]) from error

    # Running

    def deserialize(self, data: bytes, dla_core: int | None = None) -> Loaded:
        """Load an engine. The context of its GPU has to be current.

        Args:
            data: what ``serialise`` returned.
            dla_core: the DLA core that it was built for; does nothing to an engine for the GPU.

        Raises:
            CodesignError: TensorRT does not load it.
        """
        runtime = self._new(self._trt.Runtime, "TensorRT cannot run engines here")
        if dla_core is not None:
            runtime.DLA_core = dla_core
        engine = runtime.deserialize_cuda_engine(data)
        if engine is None:
            raise failure("the engine cannot be loaded", self.log.take())
        return Loaded(engine, runtime)

    def tensors(self, loaded: Loaded) -> tuple[EngineTensor, ...]:
        """Return the engine's inputs and outputs."""
        engine = loaded.engine
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        return tuple(
            EngineTensor(
                name,
                engine.get_tensor_mode(name) == self._trt.TensorIOMode.INPUT,
                tuple(engine.get_tensor_shape(name)),
                dtype_of(engine.get_tensor_dtype(name)),
            )
            for name in names
        )

    def create_context(self, loaded: Loaded) -> Any:
        """Return a new execution context; the engine has to outlive it.

        It is used as it is: ``set_input_shape``, ``set_tensor_address`` and ``execute_async_v3``
        are the same in all versions.

        Raises:
            CodesignError: there is no memory for it.
        """
        self.log.take()
        if self.flavour == "tensorrt-rtx":
            settings = loaded.engine.create_runtime_config()
            # Kernels are compiled for the GPU here; all contexts of the process share them.
            if self._compiled is None:
                self._compiled = settings.create_runtime_cache()
            settings.set_runtime_cache(self._compiled)
            context = loaded.engine.create_execution_context(settings)
        else:
            context = loaded.engine.create_execution_context()
        if context is None:
            raise failure("the engine cannot be made ready to run", self.log.take())
        return context

    def is_capturable(self, context: Any, stream_handle: int) -> bool:
        """Tell whether a run may be recorded as a CUDA graph, after one run on the same shapes.

        Only TensorRT for RTX can tell; elsewhere the attempt shows.
        """
        if hasattr(context, "is_stream_capturable"):
            return bool(context.is_stream_capturable(stream_handle))
        return True


@cache
def load_api() -> Api:
    """Return the installed TensorRT.

    Raises:
        CodesignError: there is none, it does not load, or it is too old.
    """
    return Api(*find_library())
