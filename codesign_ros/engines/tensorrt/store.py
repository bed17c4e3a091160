"""Built engines on disk, for one TensorRT, one GPU and one set of settings."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from codesign_ros.engines.cache import FileCache
from codesign_ros.engines.tensorrt.build_process import build_in_process, build_lock
from codesign_ros.engines.tensorrt.engine_file import EngineHeader, content_of, pack, unpack
from codesign_ros.engines.tensorrt.request import BuildRequest
from codesign_ros.engines.tensorrt.settings import TensorRtSettings
from codesign_ros.engines.tensorrt.target import ANY_RTX, ANY_RTX_FROM, Gpu
from codesign_ros.types.errors import CodesignError

if TYPE_CHECKING:
    from codesign_ros.engines.tensorrt.versions import Api


class EngineStore:
    """Finds built engines by the piece of ONNX they were made from, and makes those not there.

    May be used from several threads, and several processes may share the directory.

    Args:
        cache_dir: where engines are kept.
        api: the TensorRT that builds and runs them.
        gpu: what they are for; ``ANY_RTX`` where there is none.
        settings: how they are built.
    """

    def __init__(self, cache_dir: Path, api: Api, gpu: Gpu, settings: TensorRtSettings) -> None:
        self._files = FileCache(cache_dir)
        self._api = api
        self._gpu = gpu
        self._settings = settings
        self._refused: dict[str, str] = {}
        self._lock = threading.Lock()

    def file_of(self, content: str, precision: str) -> Path | None:
        """Return the file of the engine, None if there is none; ``get`` may find it damaged.

        Args:
            content: ``content_of`` the piece that the engine is made from.
            precision: one of ``PRECISIONS``.
        """
        files = (
            self._files.directory / header.file_name for header in self._headers(content, precision)
        )
        return next((file for file in files if file.exists()), None)

    def get(self, content: str, precision: str) -> bytes | None:
        """Return the engine, or None if it has no file or a damaged one.

        Raises:
            CodesignError: the file says that it was made for something else, or the directory
                cannot be read.
        """
        for header in self._headers(content, precision):
            data = self._files.get(header.file_name)
            if data is not None:
                return unpack(data, header, str(self._files.directory / header.file_name))
        return None

    def make(
        self, piece: bytes, precision: str, progress: Callable[[float | None, str], None]
    ) -> bytes:
        """Return the engine of ``piece``; build it, in a process of its own, if it is not there.

        Args:
            piece: the piece of ONNX; with a free batch where the settings' ``max_batch`` is not 1.
            precision: that of the piece.
            progress: told how far it is (0..1, None = unknown) and what is going on, at least every
                second. What it raises stops the build and comes out here.

        Raises:
            CodesignError: the engine cannot be built, or the directory cannot be written. What
                TensorRT refused is remembered, see ``refusal``.
        """
        content = content_of(piece)
        header = self._header(content, precision, self._gpu)
        with build_lock(self._files, progress):
            # Another process may have built it while this one waited.
            engine = self.get(content, precision)
            if engine is not None:
                return engine
            try:
                engine = build_in_process(
                    piece, self._request(header), self._files.directory, progress
                )
            except CodesignError as error:
                with self._lock:
                    self._refused[header.file_name] = str(error)
                raise
            self._files.put(header.file_name, pack(header, engine))
            return engine

    def refusal(self, content: str, precision: str) -> str | None:
        """Return why the engine cannot be built, if this process has tried."""
        with self._lock:
            return self._refused.get(self._header(content, precision, self._gpu).file_name)

    def _header(self, content: str, precision: str, gpu: Gpu) -> EngineHeader:
        return EngineHeader(
            content=content,
            flavour=self._api.flavour,
            version=self._api.version,
            gpu=gpu.identity,
            precision=precision,
            # A DLA computes in float16; its 8-bit mode takes no networks with explicit rounding.
            dla_core=self._settings.dla_core if precision == "fp16" else None,
            max_batch=self._settings.max_batch,
            workspace_bytes=self._settings.workspace_bytes,
        )

    def _headers(self, content: str, precision: str) -> list[EngineHeader]:
        """Return the headers that will do, the best first."""
        gpus = [self._gpu]
        if (
            self._api.flavour == "tensorrt-rtx"
            and self._gpu != ANY_RTX
            and self._gpu.compute_capability >= ANY_RTX_FROM
        ):
            gpus.append(ANY_RTX)
        return [self._header(content, precision, gpu) for gpu in gpus]

    def _request(self, header: EngineHeader) -> BuildRequest:
        return BuildRequest(
            precision=header.precision,
            max_batch=header.max_batch,
            workspace_bytes=header.workspace_bytes or self._gpu.workspace_bytes,
            dla_core=header.dla_core,
            gpu=None if self._gpu == ANY_RTX else self._settings.gpu,
            target=header.gpu,
        )
