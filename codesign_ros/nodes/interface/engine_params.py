"""Parameters of a head or a tail that say how its engines are built and run."""

from __future__ import annotations

from codesign_ros.engines.factory import BACKENDS, DEFAULT_BACKEND
from codesign_ros.engines.tensorrt.settings import TensorRtSettings
from codesign_ros.nodes.interface.params import Param, Params
from codesign_ros.types.forms import PRECISIONS

NO_FALLBACK = "none"
_DEFAULT = TensorRtSettings()
_MIB = 2**20
# YAML takes on and off for booleans.
_ZERO_COPY = {"auto": None, "always": True, "never": False}

ENGINE_PARAMS = (
    Param(
        "backend",
        DEFAULT_BACKEND,
        "inference engine; tensorrt needs a GPU",
        choices=tuple(BACKENDS),
        held_from="configure",
    ),
    Param(
        "engine_fallback",
        NO_FALLBACK,
        "backend to use, with a warning, where the one asked for cannot be used; none = fail",
        choices=(NO_FALLBACK, *BACKENDS),
        held_from="configure",
    ),
    Param(
        "threads",
        1,
        "threads that work on one frame; of no use to tensorrt",
        low=1,
        high=64,
        held_from="configure",
    ),
    Param(
        "precisions",
        ["fp32"],
        "precisions to time beside fp32, so that the planner may choose them",
        choices=PRECISIONS,
        held_from="configure",
    ),
    Param(
        "tensorrt.workspace_mib",
        0,
        "most memory that a layer may use for its work [MiB]; 0 = TensorRT's own limit, and a "
        "quarter of a memory that GPU and CPU share",
        low=0,
        high=2**20,
        held_from="configure",
    ),
    Param(
        "tensorrt.dla_core",
        -1,
        "DLA core that fp16 engines run on; what it cannot run goes to the GPU; -1 = none",
        low=-1,
        high=7,
        held_from="configure",
    ),
    Param(
        "tensorrt.max_batch",
        _DEFAULT.max_batch,
        "frames in one run at most",
        low=1,
        high=64,
        held_from="configure",
    ),
    Param(
        "tensorrt.contexts",
        _DEFAULT.contexts,
        "runs of one engine that may be under way at once; each takes memory",
        low=1,
        high=16,
        held_from="configure",
    ),
    Param(
        "tensorrt.cuda_graph",
        _DEFAULT.cuda_graph,
        "record a run once and replay it",
        held_from="configure",
    ),
    Param(
        "tensorrt.zero_copy",
        "auto",
        "GPU and CPU share the memory of inputs and outputs; auto = where their memory is one, as "
        "a Jetson's",
        choices=tuple(_ZERO_COPY),
        held_from="configure",
    ),
    Param(
        "tensorrt.gpu",
        _DEFAULT.gpu,
        "index of the GPU, as CUDA counts",
        low=0,
        high=63,
        held_from="configure",
    ),
)


def backend_settings(backend: str, params: Params) -> TensorRtSettings | None:
    """Read the parameters ``tensorrt.*`` for that backend; others do not mind what is wrong there.

    Raises:
        CodesignError: two of them exclude each other.
    """
    if backend != "tensorrt":
        return None
    workspace_mib, dla_core = params["tensorrt.workspace_mib"], params["tensorrt.dla_core"]
    same = ("max_batch", "contexts", "cuda_graph", "gpu")
    return TensorRtSettings(
        workspace_bytes=workspace_mib * _MIB if workspace_mib > 0 else None,
        dla_core=dla_core if dla_core >= 0 else None,
        zero_copy=_ZERO_COPY[params["tensorrt.zero_copy"]],
        **{name: params[f"tensorrt.{name}"] for name in same},
    )
