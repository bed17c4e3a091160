"""Which engines the cache holds of a bundle, told from its files: no library of a backend loads."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from codesign_ros.bundle import Bundle
from codesign_ros.engines.base import Engine, EngineKey
from codesign_ros.engines.cache import FileCache
from codesign_ros.engines.onnx_model.backend import OnnxBackend
from codesign_ros.engines.tensorrt.engine_file import EngineHeader, piece_entry, read_header
from codesign_ros.engines.tensorrt.settings import TensorRtSettings
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import PRECISIONS, Merge, Part, Structure
from codesign_ros.types.tensors import TensorSpec

BACKENDS_OF_HALVES = ("tensorrt",)
"""Backends that keep an engine for each half; others keep whole networks."""

_PARTS: tuple[Part, ...] = ("head", "tail")


@dataclass(frozen=True)
class KeptEngine:
    """An engine, or what it is made from, in the cache.

    Attributes:
        key: which half; for onnxruntime the head of the last cut, which is the whole network, or
            of a neck's cut, which is the network with that neck.
        file: where it is.
        made_for: library and GPU that it was built for; empty where any will do.
    """

    key: EngineKey
    file: Path
    made_for: str = ""


class _Names(OnnxBackend):
    """Knows the files of a backend, and makes nothing."""

    backend = "none"

    def _load(
        self, key: EngineKey, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]
    ) -> Engine:
        raise NotImplementedError("it makes no engines")


def kept_engines(
    bundle: Bundle,
    backend: str,
    settings: TensorRtSettings | None = None,
    cache_dir: Path | None = None,
) -> list[KeptEngine]:
    """List the engines of a bundle in the cache.

    Args:
        bundle: the network.
        backend: whose engines.
        settings: of backend tensorrt: engines for others are left out.
        cache_dir: the cache; None = ``default_cache_dir()``.

    Raises:
        CodesignError: the backend keeps no engines, or the cache cannot be read.
    """
    names = _Names(bundle, cache_dir)
    if backend == "onnxruntime":
        return list(_whole_networks(names))
    if backend == "tensorrt":
        return list(_halves(names, settings or TensorRtSettings()))
    raise CodesignError(f"backend {backend} keeps no engines: there is nothing to export")


def _whole_networks(names: _Names) -> Iterator[KeptEngine]:
    networks = [(names.bundle.last_cut, False)]
    networks += [(neck.cut, True) for neck in names.bundle.necks]
    forms = itertools.product(Structure, Merge, PRECISIONS, networks)
    for structure, merge, precision, (cut, neck) in forms:
        key = EngineKey("head", cut, structure, merge, precision, neck)
        file = names.file_of(key)
        if file is not None:
            yield KeptEngine(key, file)


def _halves(names: _Names, settings: TensorRtSettings) -> Iterator[KeptEngine]:
    there: dict[str, list[tuple[Path, EngineHeader]]] = defaultdict(list)
    for file in sorted(names.cache_dir.glob("*.engine.cache")):
        header = read_header(file)
        if header is not None and _is_for(header, settings):
            there[header.content].append((file, header))
    if not there:  # the common case: a look at the names of all halves takes a second
        return
    cache, last = FileCache(names.cache_dir), names.bundle.last_cut
    with_neck = {neck.cut for neck in names.bundle.necks}
    for part in _PARTS:
        cuts = range(1, last + 1) if part == "head" else range(last)
        for half in itertools.product(cuts, Structure, Merge, PRECISIONS, (False, True)):
            key = EngineKey(part, *half)
            if key.neck and key.cut not in with_neck:
                continue
            entry = piece_entry(names.network_name(key), part, key.cut, settings.max_batch > 1)
            content = cache.get(entry)
            for file, header in there.get((content or b"").decode(), ()):
                if header.precision == key.precision:
                    made_for = f"{header.flavour} {header.version}, {header.gpu}"
                    yield KeptEngine(key, file, made_for)


def _is_for(header: EngineHeader, settings: TensorRtSettings) -> bool:
    dla_core = settings.dla_core if header.precision == "fp16" else None
    return (header.max_batch, header.workspace_bytes, header.dla_core) == (
        settings.max_batch,
        settings.workspace_bytes,
        dla_core,
    )
