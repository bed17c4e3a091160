"""Engines from a bundle. Once the cache is warm, ONNX Runtime engines are made without torch."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from codesign_ros.bundle import Bundle
from codesign_ros.engines.base import Engine, EngineForm, EngineKey, Part
from codesign_ros.engines.cache import FileCache, default_cache_dir
from codesign_ros.engines.tensorrt.settings import TensorRtSettings
from codesign_ros.types import (
    PRECISIONS,
    RANK_ENERGY_KEPT,
    CodesignError,
    Merge,
    Structure,
    TensorSpec,
)

if TYPE_CHECKING:
    from codesign_ros.engines.onnx_model.pieces import PieceCutter
    from codesign_ros.engines.tensorrt.halves import TensorRtHalves
    from codesign_ros.engines.tensorrt.target import Gpu
    from codesign_ros.models.network import Network

_PRECISIONS_OF = {"onnxruntime": PRECISIONS, "torch": ("fp32",)}

BACKENDS = (*_PRECISIONS_OF, "tensorrt")
"""Inference engines; the first is the default."""

_TENSORRT = TensorRtSettings()

# Part of the cache key; raise it when another file is made of the same network.
_FORM_VERSION = 2

_Form = tuple[Structure, Merge, str]


class EngineFactory:
    """Makes the engines of one bundle. May be used from several threads.

    Args:
        bundle: the network.
        backend: one of ``BACKENDS``.
        cache_dir: where exported networks are kept; None = ``default_cache_dir()``.
        threads: threads that work on one run. The torch backend sets it for the whole process;
            to TensorRT it means nothing.
        tensorrt: how the tensorrt backend builds and runs; without effect on the others.

    Raises:
        CodesignError: the backend is not known, or TensorRT is not installed, or there is no GPU
            that it could build for (only TensorRT for RTX builds without one).
    """

    def __init__(
        self,
        bundle: Bundle,
        backend: str = "onnxruntime",
        cache_dir: Path | None = None,
        threads: int = 1,
        tensorrt: TensorRtSettings = _TENSORRT,
    ) -> None:
        if backend not in BACKENDS:
            raise CodesignError(f"unknown backend '{backend}'; known: {', '.join(BACKENDS)}")
        self.bundle = bundle
        self.backend = backend
        self.threads = threads
        directory = cache_dir if cache_dir is not None else default_cache_dir()
        self._cache = FileCache(directory)
        self._lock = threading.Lock()
        # The forms used last. Head and tail of a plan, or all cuts of one structure, come in a row.
        self._cutter: tuple[_Form, PieceCutter] | None = None
        self._network: tuple[_Form, Network] | None = None
        self._frames: np.ndarray | None = None
        self._tensorrt: TensorRtHalves | None = None
        if backend == "tensorrt":
            from codesign_ros.engines.tensorrt.halves import TensorRtHalves

            self._tensorrt = TensorRtHalves(
                directory,
                tensorrt,
                bundle.last_cut,
                self._tensorrt_piece,
                lambda key: self.cache_key(key.structure, key.merge, key.precision),
            )

    @property
    def precisions(self) -> tuple[str, ...]:
        """Precisions that the backend has on this machine."""
        return self._tensorrt.precisions if self._tensorrt else _PRECISIONS_OF[self.backend]

    @property
    def builds_ahead(self) -> bool:
        """Whether an engine takes so long to build that it is built before it is needed."""
        return self._tensorrt is not None

    @property
    def settings_id(self) -> tuple[str, ...]:
        """On what, beside backend and threads, the speed of the engines depends."""
        return self._tensorrt.identity if self._tensorrt else ()

    @property
    def gpu(self) -> Gpu | None:
        """The GPU that engines are built for; None where they run on the CPU."""
        return self._tensorrt.gpu if self._tensorrt else None

    def require_device(self) -> None:
        """Make sure that engines can run here and not only be built.

        Raises:
            CodesignError: there is no GPU that can be used; says why.
        """
        if self._tensorrt:
            self._tensorrt.require_gpu()

    def is_built(self, key: EngineKey) -> bool:
        """Whether ``build`` returns at once, without building anything for long."""
        return self._tensorrt is None or self._tensorrt.is_built(key)

    def engines(self, part: Part) -> Mapping[EngineForm, bool] | None:
        """Which engines of a part are built (True) or refused (False); None = any is there soon.

        Looks at a file for each; for announcements, not for heartbeats.
        """
        return self._tensorrt.forms(part) if self._tensorrt else None

    def file_of(self, key: EngineKey) -> Path | None:
        """Where the engine for ``key``, or what it is made from, is kept; None if it is not."""
        if self._tensorrt:
            return self._tensorrt.file_of(key)
        file = self._cache.directory / self.cache_key(key.structure, key.merge, key.precision)
        return file if self.backend != "torch" and file.exists() else None

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
        self._check_precision(key)
        if self._tensorrt:
            self._tensorrt.make(key, progress)
        elif self.backend == "onnxruntime":
            progress(None, "exporting")
            with self._lock:
                self._exported((key.structure, key.merge, key.precision))

    def close(self) -> None:
        """Let go of what is kept in memory, and of the GPU. A second call does nothing.

        Engines have to be closed before.
        """
        with self._lock:
            self._cutter = self._network = self._frames = None
        if self._tensorrt:
            self._tensorrt.close()

    def build(self, key: EngineKey) -> Engine:
        """Make the engine for ``key``; it is not warmed up.

        Raises:
            ValueError: that half has no segments (head of cut 0, tail of cut N), or there is no
                such cut or part.
            CodesignError: the backend has not that precision, or the bundle or cache cannot be
                used.
        """
        inputs, outputs = self._ends(key)
        self._check_precision(key)
        if self._tensorrt:
            return self._tensorrt.load(key, inputs, outputs)
        with self._lock:
            if self.backend == "torch":
                return self._build_torch(key)
            return self._build_onnx(key, inputs, outputs)

    def cache_key(self, structure: Structure, merge: Merge, precision: str = "fp32") -> str:
        """Return the name of the cache file for the whole network in this form.

        Where calibration frames, or the energy that ``rank`` keeps, have a part in the form, they
        have one in the name.
        """
        parts = [self.bundle.model_id, structure.value, merge.value, precision]
        parts.append(f"form{_FORM_VERSION}")
        if structure is Structure.RANK:
            parts.append(f"energy{RANK_ENERGY_KEPT}")
        if merge is Merge.PRUNE_BN or precision != "fp32":
            parts.append(self._frames_digest)
        return hashlib.sha256("|".join(parts).encode()).hexdigest()[:32] + ".onnx.cache"

    def _check_precision(self, key: EngineKey) -> None:
        if key.precision not in self.precisions:
            raise CodesignError(
                f"precision '{key.precision}' is not available on backend {self.backend}; "
                f"it has: {', '.join(self.precisions)}"
            )

    def _ends(self, key: EngineKey) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        last = self.bundle.last_cut
        spec = self.bundle.input
        # On the wire cut 0 is the uint8 frame; an engine takes it normalised.
        image = (TensorSpec("image", (1, 3, spec.height, spec.width)),)
        crossings = (image, *self.bundle.crossings[1:])
        if key.part == "head" and 1 <= key.cut <= last:
            return image, crossings[key.cut]
        if key.part == "tail" and 0 <= key.cut <= last - 1:
            return crossings[key.cut], crossings[last]
        raise ValueError(f"there is no {key.part} for cut {key.cut} of {last} segments")

    def _build_onnx(
        self, key: EngineKey, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]
    ) -> Engine:
        from codesign_ros.engines.ort import OnnxEngine

        piece = self._cutter_of(key, for_cpu=True).piece(inputs, outputs)
        return OnnxEngine(piece, inputs, outputs, self.threads)

    def _tensorrt_piece(self, key: EngineKey, free_batch: bool) -> bytes:
        """Cut out a half as TensorRT wants it."""
        from codesign_ros.engines.onnx_model.free_batch import with_free_batch

        with self._lock:
            piece = self._cutter_of(key, for_cpu=False).piece(*self._ends(key))
        return with_free_batch(piece) if free_batch else piece

    def _cutter_of(self, key: EngineKey, *, for_cpu: bool) -> PieceCutter:
        from codesign_ros.engines.onnx_model.pieces import PieceCutter

        form = (key.structure, key.merge, key.precision)
        if self._cutter is None or self._cutter[0] != form:
            float16 = key.precision == "fp16"
            self._cutter = (
                form,
                PieceCutter(self._exported(form), for_cpu=for_cpu, float16=float16),
            )
        return self._cutter[1]

    def _exported(self, form: _Form) -> bytes:
        """Return the whole network as ONNX, from the cache if it is there."""
        name = self.cache_key(*form)
        model = self._cache.get(name)
        if model is None:
            from codesign_ros.engines.onnx_model.forms import as_onnx

            model = as_onnx(self.bundle.network(), *form, self._calibration_frames)
            self._cache.put(name, model)
        return model

    def _build_torch(self, key: EngineKey) -> Engine:
        import torch

        from codesign_ros.engines.onnx_model.forms import as_it_runs
        from codesign_ros.engines.pytorch import TorchEngine
        from codesign_ros.models.halves import split

        torch.set_num_threads(self.threads)
        form = (key.structure, key.merge, key.precision)
        if self._network is None or self._network[0] != form:
            network = as_it_runs(
                self.bundle.network(), key.structure, key.merge, self._calibration_frames
            )
            self._network = (form, network)
        head, tail = split(self._network[1], key.cut)
        return TorchEngine(head if key.part == "head" else tail)

    @cached_property
    def _frames_digest(self) -> str:
        return hashlib.sha256(self._calibration_frames().tobytes()).hexdigest()

    def _calibration_frames(self) -> np.ndarray:
        if self._frames is None:
            self._frames = self.bundle.calibration_frames()
        return self._frames
