"""Backend tensorrt: which engines are built, building others, loading one."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from pathlib import Path

from codesign_ros.bundle import Bundle
from codesign_ros.engines.base import EngineKey
from codesign_ros.engines.cache import CacheError
from codesign_ros.engines.onnx_model.backend import OnnxBackend
from codesign_ros.engines.tensorrt.cuda import CudaContext, open_gpu
from codesign_ros.engines.tensorrt.engine import TensorRtEngine
from codesign_ros.engines.tensorrt.engine_file import content_of, piece_entry
from codesign_ros.engines.tensorrt.settings import TensorRtSettings
from codesign_ros.engines.tensorrt.store import EngineStore
from codesign_ros.engines.tensorrt.target import ANY_RTX, Gpu
from codesign_ros.engines.tensorrt.versions import load_api
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import HalfForm, Merge, Part, Structure
from codesign_ros.types.tensors import TensorSpec


class TensorRtBackend(OnnxBackend):
    """TensorRT on a GPU: each half is an engine, built for that GPU and kept in a file.

    The file is named after the piece of ONNX it was made from. To tell whether it is there without
    cutting that piece, its hash is kept beside it, under the key.

    Raises:
        CodesignError: there is no TensorRT, or no GPU that it could build for (only TensorRT for
            RTX builds without one).
    """

    backend = "tensorrt"
    builds_ahead = True

    def __init__(
        self,
        bundle: Bundle,
        cache_dir: Path | None = None,
        threads: int = 1,
        settings: TensorRtSettings | None = None,
    ) -> None:
        super().__init__(bundle, cache_dir, threads)
        self._api = load_api()
        self._settings = settings = settings or TensorRtSettings()
        self._contents: dict[EngineKey, str] = {}
        self._uncuttable: dict[EngineKey, str] = {}
        self._lock = threading.Lock()
        self._context: CudaContext | None = None
        self._no_gpu = ""
        self.gpu: Gpu = ANY_RTX
        try:
            self._context = open_gpu(settings.gpu)
        except CodesignError as error:
            # TensorRT for RTX builds for GPUs that are elsewhere.
            if self._api.flavour != "tensorrt-rtx":
                raise
            self._no_gpu = str(error)
        else:
            self.gpu = self._described(self._context)
        self.precisions = self._api.precisions(self.gpu)
        versions = (self._api.flavour, self._api.version)
        self.settings_id = (*versions, self.gpu.identity, repr(settings))
        self._store = EngineStore(self.cache_dir, self._api, self.gpu, settings)

    @property
    def lost(self) -> str:  # type: ignore[override]
        """Of the GPU."""
        return self._context.lost if self._context else ""

    @property
    def runs_at_once(self) -> int:
        """As many as an engine has contexts."""
        return self._settings.contexts

    def require_device(self) -> None:
        """Make sure that there is a GPU to run on."""
        if self._context is None:
            raise CodesignError(self._no_gpu or "the engines were closed")

    def is_built(self, key: EngineKey) -> bool:
        """Whether the engine has a file."""
        return self.file_of(key) is not None

    def engines(self, part: Part) -> dict[HalfForm, bool]:
        """All engines of a part that are built (True) or were refused (False)."""
        last = self.bundle.last_cut
        cuts = range(1, last + 1) if part == "head" else range(last)
        found = {}
        with_neck = {neck.cut for neck in self.bundle.necks}
        for half in itertools.product(cuts, Structure, Merge, self.precisions, (False, True)):
            form = HalfForm(*half)
            if form.neck and form.cut not in with_neck:
                continue
            key = EngineKey(part, *form)
            if self.is_built(key):
                found[form] = True
            elif self._refusal(key) is not None:
                found[form] = False
        return found

    def file_of(self, key: EngineKey) -> Path | None:
        """Where the engine is kept; None if it is not built."""
        content = self._content(key)
        return None if content is None else self._store.file_of(content, key.precision)

    def close(self) -> None:
        """Let go of what is kept in memory, and of the GPU. A second call does nothing."""
        super().close()
        context, self._context = self._context, None
        if context is not None:
            context.close()

    def _make(self, key: EngineKey, progress: Callable[[float | None, str], None]) -> bytes:
        """Return the engine, serialised; build it if it is not there or its file is damaged."""
        if (why := self._refusal(key)) is not None:
            raise CodesignError(why)
        content = self._content(key)
        engine = None if content is None else self._store.get(content, key.precision)
        if engine is not None:
            return engine
        progress(None, "making the ONNX model")
        piece = self._cut(key)
        content = content_of(piece)
        self._cache.put(self._entry(key), content.encode())
        with self._lock:
            self._contents[key] = content
        return self._store.make(piece, key.precision, progress)

    def _load(
        self, key: EngineKey, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]
    ) -> TensorRtEngine:
        self.require_device()
        assert self._context is not None
        data = self._make(key, lambda fraction, text: None)
        dla_core = self._settings.dla_core if key.precision == "fp16" else None
        return TensorRtEngine(
            self._api, self._context, data, inputs, outputs, self._settings, dla_core
        )

    def _described(self, context: CudaContext) -> Gpu:
        try:
            with context.active():
                return context.gpu(self._api.dla_cores())
        except BaseException:
            context.close()
            raise

    def _refusal(self, key: EngineKey) -> str | None:
        """Why the engine cannot be built, if this process has tried."""
        with self._lock:
            why = self._uncuttable.get(key)
        content = self._content(key)
        if why is None and content is not None:
            why = self._store.refusal(content, key.precision)
        return why

    def _cut(self, key: EngineKey) -> bytes:
        """Make the piece of ONNX for a key; remember it where that cannot be done."""
        from codesign_ros.engines.onnx_model.free_batch import with_free_batch

        try:
            piece = self._piece(key)
            return with_free_batch(piece) if self._settings.max_batch > 1 else piece
        except CodesignError as error:
            if not isinstance(error, CacheError):
                with self._lock:
                    self._uncuttable[key] = str(error)
            raise

    def _content(self, key: EngineKey) -> str | None:
        """The hash of a key's piece of ONNX, if it was ever cut with this cache."""
        with self._lock:
            known = self._contents.get(key)
        if known is not None:
            return known
        stored = self._cache.get(self._entry(key))
        if stored is None:
            return None
        with self._lock:
            return self._contents.setdefault(key, stored.decode())

    def _entry(self, key: EngineKey) -> str:
        free_batch = self._settings.max_batch > 1
        return piece_entry(self.network_name(key), key.part, key.cut, free_batch)
