"""Backend torch: runs the halves of a re-parameterised network with PyTorch itself."""

from __future__ import annotations

import threading
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from codesign_ros.bundle import Bundle
from codesign_ros.engines.base import EngineKey, OneFrameEngine
from codesign_ros.engines.factory import EngineFactory
from codesign_ros.engines.onnx_model.forms import as_it_runs
from codesign_ros.models.halves import NetworkHalf, split
from codesign_ros.models.neck import with_neck
from codesign_ros.models.network import Network
from codesign_ros.types.forms import Merge, Structure
from codesign_ros.types.tensors import TensorSpec


class TorchBackend(EngineFactory):
    """PyTorch on the CPU, in fp32; sets the number of threads for the whole process."""

    backend = "torch"
    keeps_files = False

    def __init__(self, bundle: Bundle, cache_dir: Path | None = None, threads: int = 1) -> None:
        super().__init__(bundle, cache_dir, threads)
        self._lock = threading.Lock()
        # The form used last: head and tail of a plan, or all cuts of one structure, come in a row.
        self._network = lru_cache(maxsize=1)(self._as_it_runs)

    def close(self) -> None:
        """Let go of the network."""
        with self._lock:
            self._network.cache_clear()

    def _load(
        self, key: EngineKey, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]
    ) -> TorchEngine:
        torch.set_num_threads(self.threads)
        with self._lock:
            cut = key.cut
            network = self._network(key.structure, key.merge, cut if key.neck else None)
            if key.neck:
                neck = self.bundle.neck_module(cut)
                network, cut = with_neck(network, cut, self.bundle.neck(cut).enter, neck), cut + 1
            head, tail = split(network, cut)
        return TorchEngine(head if key.part == "head" else tail)

    def _as_it_runs(self, structure: Structure, merge: Merge, neck: int | None) -> Network:
        frames = self.bundle.calibration_frames
        return as_it_runs(self.bundle.network(neck), structure, merge, frames)


class TorchEngine(OneFrameEngine):
    """An ``Engine`` on a half in evaluation mode."""

    def __init__(self, half: NetworkHalf) -> None:
        self.inputs = half.inputs
        self.outputs = half.outputs
        self._half: NetworkHalf | None = half

    def run(self, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once; see ``Engine.run``."""
        if self._half is None:
            raise RuntimeError("the engine is closed")
        with torch.inference_mode():
            results = self._half({name: torch.from_numpy(a) for name, a in tensors.items()})
        return {name: tensor.numpy() for name, tensor in results.items()}

    def close(self) -> None:
        """Let go of the network."""
        self._half = None
