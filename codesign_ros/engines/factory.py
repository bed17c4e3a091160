"""Engines from a bundle. Once the cache is warm, ONNX Runtime engines are made without torch."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from codesign_ros.bundle import Bundle
from codesign_ros.engines.base import Engine, EngineKey
from codesign_ros.engines.cache import FileCache, default_cache_dir
from codesign_ros.types import (
    PRECISIONS,
    RANK_ENERGY_KEPT,
    CodesignError,
    Merge,
    Structure,
    TensorSpec,
)

if TYPE_CHECKING:
    from codesign_ros.engines.onnx import PieceCutter
    from codesign_ros.models.network import Network

PRECISIONS_OF = {"onnxruntime": PRECISIONS, "torch": ("fp32",)}
"""Precisions by backend."""

BACKENDS = tuple(PRECISIONS_OF)

# Part of the cache key; raise it when another file is made of the same network.
_FORM_VERSION = 2

_Form = tuple[Structure, Merge, str]


class EngineFactory:
    """Makes the engines of one bundle. May be used from several threads.

    Args:
        bundle: the network.
        backend: one of ``BACKENDS``.
        cache_dir: where exported networks are kept; None = ``default_cache_dir()``.
        threads: threads that work on one run. The torch backend sets it for the whole process.

    Raises:
        CodesignError: the backend is not known.
    """

    def __init__(
        self,
        bundle: Bundle,
        backend: str = "onnxruntime",
        cache_dir: Path | None = None,
        threads: int = 1,
    ) -> None:
        if backend not in BACKENDS:
            raise CodesignError(f"unknown backend '{backend}'; known: {', '.join(BACKENDS)}")
        self.bundle = bundle
        self.backend = backend
        self.threads = threads
        self._cache = FileCache(cache_dir if cache_dir is not None else default_cache_dir())
        self._lock = threading.Lock()
        # The forms used last. Head and tail of a plan, or all cuts of one structure, come in a row.
        self._cutter: tuple[_Form, PieceCutter] | None = None
        self._network: tuple[_Form, Network] | None = None
        self._frames: np.ndarray | None = None

    def build(self, key: EngineKey) -> Engine:
        """Make the engine for ``key``; it is not warmed up.

        Raises:
            ValueError: that half has no segments (head of cut 0, tail of cut N), or there is no
                such cut or part.
            CodesignError: the backend has not that precision, or the bundle or cache cannot be
                used.
        """
        inputs, outputs = self._ends(key)
        available = PRECISIONS_OF[self.backend]
        if key.precision not in available:
            raise CodesignError(
                f"precision '{key.precision}' is not available on backend {self.backend}; "
                f"it has: {', '.join(available)}"
            )
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
            parts.append(hashlib.sha256(self._calibration_frames().tobytes()).hexdigest())
        return hashlib.sha256("|".join(parts).encode()).hexdigest()[:32] + ".onnx.cache"

    def _ends(self, key: EngineKey) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        last = len(self.bundle.segments)
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
        from codesign_ros.engines.onnx import OnnxEngine, PieceCutter

        form = (key.structure, key.merge, key.precision)
        if self._cutter is None or self._cutter[0] != form:
            self._cutter = (form, PieceCutter(self._exported(form)))
        return OnnxEngine(self._cutter[1].piece(inputs, outputs), inputs, outputs, self.threads)

    def _exported(self, form: _Form) -> bytes:
        """Return the whole network as ONNX, from the cache if it is there."""
        name = self.cache_key(*form)
        model = self._cache.get(name)
        if model is None:
            from codesign_ros.engines.forms import as_onnx

            model = as_onnx(self.bundle.network(), *form, self._calibration_frames)
            self._cache.put(name, model)
        return model

    def _build_torch(self, key: EngineKey) -> Engine:
        import torch

        from codesign_ros.engines.forms import as_it_runs
        from codesign_ros.engines.torch import TorchEngine
        from codesign_ros.models.split import split

        torch.set_num_threads(self.threads)
        form = (key.structure, key.merge, key.precision)
        if self._network is None or self._network[0] != form:
            network = as_it_runs(
                self.bundle.network(), key.structure, key.merge, self._calibration_frames
            )
            self._network = (form, network)
        head, tail = split(self._network[1], key.cut)
        return TorchEngine(head if key.part == "head" else tail)

    def _calibration_frames(self) -> np.ndarray:
        if self._frames is None:
            self._frames = self.bundle.calibration_frames()
        return self._frames
