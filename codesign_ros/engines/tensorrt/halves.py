"""The engines of one bundle on TensorRT: which are built, building others, loading one."""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections.abc import Callable
from pathlib import Path

from codesign_ros.engines.base import EngineForm, EngineKey, Part
from codesign_ros.engines.cache import FileCache
from codesign_ros.engines.tensorrt.cuda import CudaContext, open_gpu
from codesign_ros.engines.tensorrt.engine import TensorRtEngine
from codesign_ros.engines.tensorrt.engine_file import content_of
from codesign_ros.engines.tensorrt.settings import TensorRtSettings
from codesign_ros.engines.tensorrt.store import EngineStore
from codesign_ros.engines.tensorrt.target import ANY_RTX, Gpu
from codesign_ros.engines.tensorrt.versions import load_api
from codesign_ros.types import CodesignError, Merge, Structure, TensorSpec

# Part of an index entry's name; raise it when other pieces are cut from the same model.
_PIECE_VERSION = 1


class TensorRtHalves:
    """Builds, finds and loads engines by key. May be used from several threads.

    An engine's file is named after the piece of ONNX it was made from. To tell whether it is there
    without cutting that piece, its hash is kept beside it, under the key.

    Args:
        cache_dir: where engines are kept.
        settings: how they are built and run.
        segments: N, the number of segments.
        cut_piece: makes the piece of ONNX for a key, with a free batch if asked for.
        form_name: names all that a key's whole network is made from.

    Raises:
        CodesignError: there is no TensorRT, or no GPU that it could build for.
    """

    def __init__(
        self,
        cache_dir: Path,
        settings: TensorRtSettings,
        segments: int,
        cut_piece: Callable[[EngineKey, bool], bytes],
        form_name: Callable[[EngineKey], str],
    ) -> None:
        self._api = load_api()
        self._settings = settings
        self._segments = segments
        self._cut_piece = cut_piece
        self._form_name = form_name
        self._index = FileCache(cache_dir)
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
        self._store = EngineStore(cache_dir, self._api, self.gpu, settings)

    def _described(self, context: CudaContext) -> Gpu:
        try:
            with context.active():
                return context.gpu(self._api.dla_cores())
        except BaseException:
            context.close()
            raise

    @property
    def identity(self) -> tuple[str, ...]:
        """On what the speed of the engines depends: versions, GPU and settings."""
        return (self._api.flavour, self._api.version, self.gpu.identity, repr(self._settings))

    def require_gpu(self) -> CudaContext:
        """Return the GPU's context.

        Raises:
            CodesignError: there is no GPU that can be used; says why.
        """
        if self._context is None:
            raise CodesignError(self._no_gpu or "the engines were closed")
        return self._context

    def is_built(self, key: EngineKey) -> bool:
        """Whether the engine has a file."""
        content = self._content(key)
        return content is not None and self._store.has(content, key.precision)

    def refusal(self, key: EngineKey) -> str | None:
        """Why the engine cannot be built, if this process has tried."""
        with self._lock:
            why = self._uncuttable.get(key)
        content = self._content(key)
        if why is None and content is not None:
            why = self._store.refusal(self._store.name(content, key.precision))
        return why

    def forms(self, part: Part) -> dict[EngineForm, bool]:
        """All engines of a part that are built (True) or were refused (False)."""
        cuts = range(1, self._segments + 1) if part == "head" else range(self._segments)
        found = {}
        for form in itertools.product(cuts, Structure, Merge, self.precisions):
            key = EngineKey(part, *form)
            if self.is_built(key):
                found[form] = True
            elif self.refusal(key) is not None:
                found[form] = False
        return found

    def file_of(self, key: EngineKey) -> Path | None:
        """Where the engine is kept; None if it is not built."""
        content = self._content(key)
        return None if content is None else self._store.file_of(content, key.precision)

    def make(self, key: EngineKey, progress: Callable[[float | None, str], None]) -> bytes:
        """Return the engine, serialised; build it if it is not there or its file is damaged.

        Raises:
            CodesignError: it cannot be built, now or when that was tried before, or the cache
                cannot be used.
        """
        if (why := self.refusal(key)) is not None:
            raise CodesignError(why)
        content = self._content(key)
        engine = None if content is None else self._store.get(content, key.precision)
        if engine is not None:
            return engine
        progress(None, "making the ONNX model")
        piece = self._cut(key)
        content = content_of(piece)
        self._index.put(self._entry(key), content.encode())
        with self._lock:
            self._contents[key] = content
        return self._store.make(piece, key.precision, progress)

    def load(
        self,
        key: EngineKey,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
    ) -> TensorRtEngine:
        """Load the engine; build it first if need be, which takes long.

        Raises:
            CodesignError: there is no GPU, or the engine cannot be built or loaded.
        """
        context = self.require_gpu()
        data = self.make(key, lambda fraction, text: None)
        dla_core = self._settings.dla_core if key.precision == "fp16" else None
        return TensorRtEngine(self._api, context, data, inputs, outputs, self._settings, dla_core)

    def close(self) -> None:
        """Let go of the GPU. A second call does nothing."""
        context, self._context = self._context, None
        if context is not None:
            context.close()

    def _cut(self, key: EngineKey) -> bytes:
        """Make the piece of ONNX for a key; remember it where that cannot be done."""
        try:
            return self._cut_piece(key, self._settings.max_batch > 1)
        except CodesignError as error:
            with self._lock:
                self._uncuttable[key] = str(error)
            raise

    def _content(self, key: EngineKey) -> str | None:
        """The hash of a key's piece of ONNX, if it was ever cut with this cache."""
        with self._lock:
            known = self._contents.get(key)
        if known is not None:
            return known
        stored = self._index.get(self._entry(key))
        if stored is None:
            return None
        with self._lock:
            return self._contents.setdefault(key, stored.decode())

    def _entry(self, key: EngineKey) -> str:
        parts = (self._form_name(key), key.part, str(key.cut), str(self._settings.max_batch > 1))
        text = "|".join((*parts, str(_PIECE_VERSION)))
        return hashlib.sha256(text.encode()).hexdigest()[:32] + ".piece.cache"
