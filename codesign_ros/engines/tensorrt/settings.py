"""How engines are built and run on a GPU."""

from __future__ import annotations

from dataclasses import dataclass

from codesign_ros.types.errors import CodesignError


@dataclass(frozen=True)
class TensorRtSettings:
    """What a node or a command asks of TensorRT.

    Attributes:
        workspace_bytes: the most memory that one layer may use for its work while an engine is
            built and run; None = all that the GPU has, or ``Gpu.workspace_bytes``.
        dla_core: DLA core for fp16 engines, and what it cannot run goes to the GPU; engines of
            other precisions run on the GPU. None = everything on the GPU.
        max_batch: frames that one run may take at most.
        contexts: runs that may be under way at once.
        cuda_graph: whether a run is recorded once as a CUDA graph and then replayed.
        zero_copy: whether GPU and CPU share the memory of inputs and outputs, which saves copies
            where they share the chips anyway (Jetson); None = where they do.
        gpu: index of the GPU, as CUDA counts them.

    Raises:
        CodesignError: a value is out of range, or two exclude each other.
    """

    workspace_bytes: int | None = None
    dla_core: int | None = None
    max_batch: int = 1
    contexts: int = 2
    cuda_graph: bool = True
    zero_copy: bool | None = None
    gpu: int = 0

    def __post_init__(self) -> None:
        for name, least in (
            ("workspace_bytes", 1),
            ("dla_core", 0),
            ("max_batch", 1),
            ("contexts", 1),
            ("gpu", 0),
        ):
            value = getattr(self, name)
            if value is not None and value < least:
                raise CodesignError(f"TensorRT setting {name} is {value}; give at least {least}")
        if self.dla_core is not None and self.max_batch > 1:
            raise CodesignError(
                f"a DLA takes one batch size only, but max_batch is {self.max_batch}: "
                "give max_batch 1, or no dla_core"
            )
