"""Backends that run ONNX: a network is exported once for each form, kept on disk, cut up."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from codesign_ros.bundle import Bundle
from codesign_ros.engines.base import EngineKey
from codesign_ros.engines.cache import CacheError, FileCache
from codesign_ros.engines.factory import EngineFactory
from codesign_ros.types.errors import one_line
from codesign_ros.types.forms import RANK_ENERGY_KEPT, Merge, Structure

if TYPE_CHECKING:
    from codesign_ros.engines.onnx_model.pieces import PieceCutter

# Part of the cache key; raise it when another file is made of the same network.
_FORM_VERSION = 2


class OnnxBackend(EngineFactory):
    """A backend whose halves are cut out of the exported network; for others to load the pieces.

    An exported network is looked for in the cache and in the bundle (``Bundle.exported``), so that
    a machine which was brought either loads no torch.

    Attributes:
        for_cpu: see ``PieceCutter``.
    """

    for_cpu = False

    def __init__(self, bundle: Bundle, cache_dir: Path | None = None, threads: int = 1) -> None:
        super().__init__(bundle, cache_dir, threads)
        self._cache = FileCache(self.cache_dir)
        self._brought = FileCache(bundle.exported)
        self._exporting = threading.Lock()
        # Of the form used last. Head and tail of a plan, or all cuts of one structure, come in a
        # row.
        self._cutter: tuple[str, PieceCutter] | None = None
        self._frames = lru_cache(maxsize=1)(bundle.calibration_frames)

    def network_name(self, key: EngineKey) -> str:
        """Return the name of the cache file for the whole network in the form of ``key``.

        Where calibration frames, or the energy that ``rank`` keeps, have a part in the form, they
        have one in the name.
        """
        parts = [self.bundle.model_id, key.structure.value, key.merge.value, key.precision]
        parts.append(f"form{_FORM_VERSION}")
        if key.structure is Structure.RANK:
            parts.append(f"energy{RANK_ENERGY_KEPT}")
        if key.merge is Merge.PRUNE_BN or key.precision != "fp32":
            parts.append(self._frames_digest)
        if key.neck:
            parts.append(f"neck{key.cut}")
        return hashlib.sha256("|".join(parts).encode()).hexdigest()[:32] + ".onnx.cache"

    def file_of(self, key: EngineKey) -> Path | None:
        """Where the exported network is kept; None if it is not."""
        name = self.network_name(key)
        files = (directory / name for directory in (self.cache_dir, self.bundle.exported))
        return next((file for file in files if file.exists()), None)

    def close(self) -> None:
        """Let go of what is kept in memory."""
        with self._exporting:
            self._cutter = None
            self._frames.cache_clear()

    def _make(self, key: EngineKey, progress: Callable[[float | None, str], None]) -> object:
        progress(None, "exporting")
        with self._exporting:
            return self._exported(key)

    def _piece(self, key: EngineKey) -> bytes:
        """Return a half as an ONNX model, see ``PieceCutter``; raises what ``build`` does."""
        from codesign_ros.engines.onnx_model.pieces import PieceCutter

        name = self.network_name(key)
        with self._exporting:
            if self._cutter is None or self._cutter[0] != name:
                model, float16 = self._exported(key), key.precision == "fp16"
                self._cutter = name, PieceCutter(model, for_cpu=self.for_cpu, float16=float16)
            return self._cutter[1].piece(*self._ends(key))

    def _exported(self, key: EngineKey) -> bytes:
        name = self.network_name(key)
        model = self._cache.get(name) or self._brought.get(name)
        if model is None:
            model = self._export(key)
            self._cache.keep(name, model)
        return model

    def _export(self, key: EngineKey) -> bytes:
        try:
            from codesign_ros.engines.onnx_model.forms import as_it_runs, in_precision
            from codesign_ros.models.neck import with_neck
        except ImportError as error:
            cuts = f"--cuts {key.cut}" if key.neck else "--all-plans"
            # Not for ever: the file may be brought while the node runs.
            raise CacheError(
                f"this network in {key.structure.value}/{key.merge.value}/{key.precision}"
                f"{f' with the neck at cut {key.cut}' if key.neck else ''} is neither in "
                f"{self.cache_dir} nor in {self.bundle.exported}, and PyTorch, which exports it, "
                f"does not load here ({one_line(error)}): where PyTorch is, run 'codesign export "
                f"{self.bundle.path.name} --into-bundle {cuts} --structure {key.structure.value} "
                f"--merge {key.merge.value} --precision {key.precision}', then copy that bundle's "
                f"folder {self.bundle.exported.name} to {self.bundle.path}"
            ) from error
        trained = self.bundle.network(key.cut if key.neck else None)
        network = as_it_runs(trained, key.structure, key.merge, self._frames)
        if key.neck:
            neck = self.bundle.neck_module(key.cut)
            network = with_neck(network, key.cut, self.bundle.neck(key.cut).enter, neck)
        return in_precision(network, key.precision, self._frames)

    @cached_property
    def _frames_digest(self) -> str:
        return hashlib.sha256(self._frames().tobytes()).hexdigest()
