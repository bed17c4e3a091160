"""Which GPU an engine is for."""

from __future__ import annotations

from dataclasses import dataclass

_GIB = 2**30
# Of memory that the CPU has too: a layer's work must not take it from the nodes [share].
_SHARED_WORKSPACE = 0.25


@dataclass(frozen=True)
class Gpu:
    """A GPU as CUDA describes it.

    Attributes:
        name: the driver's name of it, such as "NVIDIA GeForce RTX 4090" or "Orin".
        compute_capability: major and minor, such as (8, 9).
        memory_bytes: its memory; on a Jetson that is the machine's.
        dla_cores: DLA cores next to it.
        integrated: whether it shares its memory with the CPU (Jetson).
        multiprocessors: that are switched on; a Jetson's power mode may change it. 0 = not known.
    """

    name: str
    compute_capability: tuple[int, int]
    memory_bytes: int
    dla_cores: int
    integrated: bool
    multiprocessors: int = 0

    @property
    def identity(self) -> str:
        """What an engine is bound to, in words.

        All modules of the Jetson Orin series have one name and one compute capability; they differ
        in memory, and with it in the number of their processors.
        """
        if self == ANY_RTX:
            return self.name
        major, minor = self.compute_capability
        on = f", {self.multiprocessors} multiprocessors" if self.multiprocessors else ""
        return f"{self.name} (sm_{major}{minor}, {round(self.memory_bytes / _GIB)} GiB{on})"

    @property
    def workspace_bytes(self) -> int | None:
        """The most that a layer's work may take while an engine is built, where nobody says it.

        None = TensorRT's own limit, which is all of the memory.
        """
        return int(self.memory_bytes * _SHARED_WORKSPACE) if self.integrated else None


ANY_RTX = Gpu("any RTX GPU", (0, 0), 0, 0, False)
"""In place of a GPU where there is none: TensorRT for RTX builds engines that run on every GPU with
``ANY_RTX_FROM`` or later, and compiles their kernels there."""

ANY_RTX_FROM = (8, 0)
"""The least compute capability for such engines: Ampere."""
