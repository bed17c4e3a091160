"""What makes the engines of a bundle: a class for each backend, chosen by its name here."""

from __future__ import annotations

import math
import os
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from codesign_ros.bundle import Bundle
from codesign_ros.engines.base import Engine, EngineKey
from codesign_ros.engines.cache import default_cache_dir
from codesign_ros.engines.frames import FrameEngine
from codesign_ros.hardware.cpu_quota import cpu_quota
from codesign_ros.pixels.letterbox import normalise
from codesign_ros.types.errors import CodesignError, did_you_mean, one_line
from codesign_ros.types.forms import HalfForm, Part
from codesign_ros.types.tensors import IMAGE, TensorSpec

if TYPE_CHECKING:
    from codesign_ros.engines.tensorrt.target import Gpu

BACKENDS = {
    "onnxruntime": "codesign_ros.engines.ort:OrtBackend",
    "torch": "codesign_ros.engines.pytorch:TorchBackend",
    "tensorrt": "codesign_ros.engines.tensorrt.backend:TensorRtBackend",
}
"""Where the class of each backend is, an ``EngineFactory``; naming them loads none of them."""

DEFAULT_BACKEND = "onnxruntime"


class EngineFactory(ABC):
    """Makes the engines of one bundle; each backend is a subclass.

    May be used from several threads.

    Args:
        bundle: the network.
        cache_dir: where what takes long to make is kept; None = ``default_cache_dir()``.
        threads: threads that work on one run, where the backend lets one choose.

    Attributes:
        backend: its name in ``BACKENDS``.
        precisions: those that it has on this machine.
        builds_ahead: whether an engine takes so long to build that it is built before it is needed.
            Each half then has a file of its own; other backends keep whole networks.
        keeps_files: whether it keeps anything on disk.
        settings_id: on what, beside backend and threads, the speed of the engines depends.
        gpu: the GPU that engines are built for; None where they run on the CPU.
        lost: why its engines can run no more in this process, one line; empty = they can.
    """

    backend: str
    precisions: tuple[str, ...] = ("fp32",)
    builds_ahead = False
    keeps_files = True
    settings_id: tuple[str, ...] = ()
    gpu: Gpu | None = None
    lost = ""

    def __init__(self, bundle: Bundle, cache_dir: Path | None = None, threads: int = 1) -> None:
        self.bundle = bundle
        self.threads = threads
        self.cache_dir = cache_dir if cache_dir is not None else default_cache_dir()

    @property
    def runs_at_once(self) -> int:
        """Runs that may be under way at once; with one more, each would only be slower."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        usable = min(cores or 1, math.ceil(cpu_quota() or cores or 1))
        return max(1, usable // max(1, self.threads))

    def build(self, key: EngineKey) -> Engine:
        """Make the engine for ``key``; it is not warmed up.

        Raises:
            ValueError: that half has no segments (head of cut 0, tail of cut N), or there is no
                such cut.
            CodesignError: the backend has not that precision, the bundle has no neck at that cut,
                or the bundle, cache or device cannot be used.
        """
        inputs, outputs = self._ends(key)
        engine = self._load(key, inputs, outputs)
        if inputs[0].name != IMAGE or isinstance(engine, FrameEngine):
            return engine
        spec = self.bundle.input
        return FrameEngine(engine, lambda image: normalise(image, spec), spec)

    def prepare(
        self,
        key: EngineKey,
        progress: Callable[[float | None, str], None] = lambda fraction, text: None,
    ) -> None:
        """Make on disk what ``build`` needs, and load nothing.

        Args:
            key: which half.
            progress: told how far it is (0..1, None = unknown) and what is going on.

        Raises:
            CodesignError: see ``build``.
        """
        self._ends(key)
        self._make(key, progress)

    def prepare_aside(
        self,
        key: EngineKey,
        progress: Callable[[float | None, str], None] = lambda fraction, text: None,
    ) -> None:
        """Do what ``prepare`` does while frames flow: in a process that lets them go first.

        Args:
            key: which half.
            progress: as ``prepare`` has it; told at least twice a second. What it raises ends the
                process and comes out here.

        Raises:
            CodesignError: see ``build``.
        """
        self.prepare(key, progress)

    def check_precision(self, precision: str) -> None:
        """Refuse a precision that the backend has not on this machine.

        Raises:
            CodesignError: it has not.
        """
        if precision not in self.precisions:
            raise CodesignError(
                f"precision '{precision}' is not available on backend {self.backend}; "
                f"it has: {', '.join(self.precisions)}"
            )

    def require_device(self) -> None:  # noqa: B027 - most backends run wherever they load
        """Make sure that engines can run here and not only be built.

        Raises:
            CodesignError: there is no GPU that can be used; says why.
        """

    def is_built(self, key: EngineKey) -> bool:
        """Whether ``build`` returns at once, without building anything for long."""
        return True

    def engines(self, part: Part) -> Mapping[HalfForm, bool] | None:
        """Which engines of a part are built (True) or refused (False); None = any is there soon.

        Looks at a file for each; for announcements, not for heartbeats.
        """
        return None

    def file_of(self, key: EngineKey) -> Path | None:
        """Where the engine for ``key``, or what it is made from, is kept; None if it is not."""
        return None

    def close(self) -> None:  # noqa: B027 - there may be nothing to let go of
        """Let go of what is kept in memory, and of the GPU. A second call does nothing.

        Engines have to be closed before.
        """

    @abstractmethod
    def _load(
        self, key: EngineKey, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]
    ) -> Engine:
        """Do what ``build`` promises, for a half that exists between these tensors.

        One that begins with the frame may be a ``FrameEngine`` already.
        """

    def _make(self, key: EngineKey, progress: Callable[[float | None, str], None]) -> object:
        """Do what ``prepare`` promises, for a half that exists."""
        return None

    def _ends(self, key: EngineKey) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        """Inputs and outputs of a half; raises what ``build`` does for one that there is not."""
        last = self.bundle.last_cut
        has_segments = 1 <= key.cut <= last if key.part == "head" else 0 <= key.cut < last
        if not has_segments:
            raise ValueError(f"there is no {key.part} for cut {key.cut} of {last} segments")
        self.check_precision(key.precision)
        spec = self.bundle.input
        # On the wire cut 0 is the uint8 frame; the network takes it normalised.
        image = (TensorSpec(IMAGE, (1, 3, spec.height, spec.width)),)
        crossings = (image, *self.bundle.crossings[1:])
        crossing = (self.bundle.neck(key.cut).spec,) if key.neck else crossings[key.cut]
        if key.part == "head":
            return image, crossing
        return crossing, crossings[last]


def check_backend(backend: str) -> None:
    """Refuse what is no backend, and load none.

    Raises:
        CodesignError: the backend is not known.
    """
    if backend not in BACKENDS:
        near = did_you_mean(backend, BACKENDS)
        raise CodesignError(f"unknown backend '{backend}'{near}; known: {', '.join(BACKENDS)}")


def open_backend(
    bundle: Bundle,
    backend: str = DEFAULT_BACKEND,
    cache_dir: Path | None = None,
    threads: int = 1,
    settings: Hashable = None,
) -> EngineFactory:
    """Open a backend for a bundle.

    Args:
        bundle: see ``EngineFactory``.
        backend: one of ``BACKENDS``.
        cache_dir: see ``EngineFactory``.
        threads: likewise.
        settings: what its class takes under that name, if it does; None = its defaults.

    Raises:
        CodesignError: the backend is not known, or cannot be used on this machine.
    """
    check_backend(backend)
    try:
        backend_class: Callable[..., EngineFactory] = pkgutil.resolve_name(BACKENDS[backend])
    except ImportError as error:
        raise CodesignError(
            f"backend {backend} does not load ({one_line(error)}): "
            "install what it needs, or use another backend"
        ) from error
    more = {} if settings is None else {"settings": settings}
    return backend_class(bundle, cache_dir, threads, **more)
