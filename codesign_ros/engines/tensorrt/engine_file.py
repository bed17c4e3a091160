"""The file of a built engine: what it was made from and for, then TensorRT's bytes.

TensorRT takes any bytes for an engine and may crash on those of another GPU or version, so nothing
is handed to it that does not say that it fits.
"""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from codesign_ros.engines.cache import DIGEST_BYTES
from codesign_ros.types.errors import CodesignError

_MAGIC = b"codesign engine\n"
_LENGTHS = struct.Struct("<QQ")  # bytes of the header, bytes of the engine
# Raise it when another engine is built from the same piece and settings.
_FORMAT = 2
# Part of the name of a piece's entry; raise it when other pieces are cut from the same model.
_PIECE_VERSION = 1
_LONGEST_HEADER = 10_000

_WORDS = {
    "content": "network piece",
    "flavour": "library",
    "version": "TensorRT version",
    "gpu": "GPU",
    "precision": "precision",
    "dla_core": "DLA core",
    "max_batch": "largest batch",
    "workspace_bytes": "workspace in bytes",
    "format": "file format",
}


@dataclass(frozen=True)
class EngineHeader:
    """What an engine was made from and for.

    Attributes:
        content: hash of the piece of ONNX, see ``content_of``.
        flavour: "tensorrt" or "tensorrt-rtx".
        version: TensorRT's.
        gpu: ``Gpu.identity``.
        precision: one of ``PRECISIONS``.
        dla_core: the DLA core it was built for; None = the GPU.
        max_batch: frames it takes at most.
        workspace_bytes: the limit that was asked for; None = that of the GPU.
        format: of the file.
    """

    content: str
    flavour: str
    version: str
    gpu: str
    precision: str
    dla_core: int | None
    max_batch: int
    workspace_bytes: int | None
    format: int = _FORMAT

    @property
    def file_name(self) -> str:
        """Name of the file, different if anything in the header is."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32] + ".engine.cache"


def content_of(piece: bytes) -> str:
    """Return the hash by which a piece of ONNX is known."""
    return hashlib.sha256(piece).hexdigest()


def piece_entry(network: str, part: str, cut: int, free_batch: bool) -> str:
    """Return the name of the file that holds the hash of a half's piece of ONNX.

    Args:
        network: name of the file of the whole network in the half's form.
        part: which half.
        cut: where it is cut.
        free_batch: whether the piece takes any number of frames.
    """
    text = f"{network}|{part}|{cut}|{free_batch}|{_PIECE_VERSION}"
    return hashlib.sha256(text.encode()).hexdigest()[:32] + ".piece.cache"


def read_header(file: Path) -> EngineHeader | None:
    """Read what a file in the cache says of its engine; None = it is damaged, or of another format.

    Raises:
        CodesignError: it cannot be read.
    """
    try:
        with file.open("rb") as stream:
            stream.seek(DIGEST_BYTES)
            begin = stream.read(len(_MAGIC) + _LENGTHS.size)
            if not begin.startswith(_MAGIC) or len(begin) < len(_MAGIC) + _LENGTHS.size:
                return None
            header_bytes, _ = _LENGTHS.unpack_from(begin, len(_MAGIC))
            header = EngineHeader(**json.loads(stream.read(min(header_bytes, _LONGEST_HEADER))))
    except (TypeError, ValueError):
        return None
    except OSError as error:
        raise CodesignError(f"engine {file} cannot be read: {error.strerror}") from None
    return header if header.format == _FORMAT else None


def pack(header: EngineHeader, engine: bytes) -> bytes:
    """Return the file's bytes."""
    text = json.dumps(asdict(header)).encode()
    return _MAGIC + _LENGTHS.pack(len(text), len(engine)) + text + engine


def unpack(data: bytes, expected: EngineHeader, where: str) -> bytes:
    """Return the engine in a file's bytes.

    Args:
        data: the file's bytes.
        expected: the header that it has to have.
        where: the file's name, for the error.

    Raises:
        CodesignError: it is no engine file, or damaged, or made from or for something else.
    """
    begin = len(_MAGIC) + _LENGTHS.size
    if not data.startswith(_MAGIC) or len(data) < begin:
        raise _unusable(where, "is not an engine file")
    header_bytes, engine_bytes = _LENGTHS.unpack_from(data, len(_MAGIC))
    if len(data) != begin + header_bytes + engine_bytes:
        raise _unusable(where, "is damaged")
    try:
        found = json.loads(data[begin : begin + header_bytes])
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise _unusable(where, "is damaged")
    for field in fields(EngineHeader):
        there, wanted = found.get(field.name), getattr(expected, field.name)
        if there != wanted:
            raise _unusable(
                where, f"was built for {_WORDS[field.name]} '{there}', and this is '{wanted}'"
            )
    return data[begin + header_bytes :]


def _unusable(where: str, why: str) -> CodesignError:
    return CodesignError(f"engine {where} {why}; delete it, or build it with 'codesign export'")
