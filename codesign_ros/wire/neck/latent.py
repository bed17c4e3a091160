"""A neck's latent as a tensor on the wire; its codec says the level, and so does its payload."""

from __future__ import annotations

import numpy as np

from codesign_ros.types.codec_names import NECK_CODECS
from codesign_ros.types.tensors import NECK, TensorSpec
from codesign_ros.wire.decode import WireLimits, check_description, check_params
from codesign_ros.wire.neck.film import CodeReader, CodeWriter
from codesign_ros.wire.neck.payload import decode_codes, dequantise, encode_codes, quantise
from codesign_ros.wire.neck.tables import CodeTables
from codesign_ros.wire.refusal import WireError
from codesign_ros.wire.tensor import EncodedTensor


def encode_latent(latent: np.ndarray, tables: CodeTables, level: int) -> EncodedTensor:
    """Write a latent for the wire.

    Args:
        latent: float32 (1, C, h, w), what the encoder made.
        tables: of the neck.
        level: the rate level.

    Raises:
        CodesignError: another shape or type, values that are no numbers, or no such level.
    """
    payload = encode_codes(quantise(latent, tables, level), tables, level)
    return _tensor(latent, level, payload)


def write_latent(
    latent: np.ndarray, tables: CodeTables, level: int, writer: CodeWriter, sequence: int
) -> tuple[EncodedTensor, EncodedTensor]:
    """Write a latent for a receiver that may have others, see ``CodeWriter.write``.

    Args:
        latent: as for ``encode_latent``.
        tables: of the neck.
        level: the rate level.
        writer: knows what the receiver has.
        sequence: number of the frame.

    Returns:
        What to send, and what can be read without any other frame.

    Raises:
        CodesignError: as ``encode_latent``.
    """
    written = writer.write(quantise(latent, tables, level), level, sequence)
    shortest, alone = (_tensor(latent, level, payload) for payload in written)
    return shortest, alone


def _tensor(latent: np.ndarray, level: int, payload: bytes) -> EncodedTensor:
    return EncodedTensor(NECK, "float32", tuple(latent.shape), NECK_CODECS[level], payload)


def decode_latent(
    encoded: EncodedTensor,
    expected: TensorSpec,
    tables: CodeTables,
    limits: WireLimits,
    reader: CodeReader | None = None,
    sequence: int = 0,
) -> np.ndarray:
    """Read a latent, at any level of the neck.

    Args:
        encoded: what came over the wire; any field may hold any value of its type.
        expected: the latent of the receiver's own neck.
        tables: of that neck.
        limits: bounds on memory.
        reader: has the frames that this one may be written after, and keeps this one; None = it
            stands alone.
        sequence: number of the frame.

    Returns:
        A new float32 array of the expected shape.

    Raises:
        WireError: anything does not fit; nothing else is ever raised.
    """
    codec = check_description(encoded, expected, limits, NECK_CODECS[: tables.levels])
    check_params(encoded, expected, codec)
    if reader is None:
        codes, level = decode_codes(encoded.data, tables)
    else:
        codes, level = reader.read(encoded.data, sequence)
    if codec != NECK_CODECS[level]:
        raise WireError(
            "codec",
            f"a payload of level {level} came in tensor '{expected.name}' of codec '{codec}'",
        )
    return dequantise(codes, tables, level)
