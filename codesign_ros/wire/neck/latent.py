"""A neck's latent as a tensor on the wire; its codec says the level, and so does its payload."""

from __future__ import annotations

import numpy as np

from codesign_ros.types import NECK, NECK_CODECS, TensorSpec
from codesign_ros.wire.decode import WireLimits, check_description, check_params
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
    return EncodedTensor(NECK, "float32", tuple(latent.shape), NECK_CODECS[level], payload)


def decode_latent(
    encoded: EncodedTensor, expected: TensorSpec, tables: CodeTables, limits: WireLimits
) -> np.ndarray:
    """Read a latent, at any level of the neck.

    Args:
        encoded: what came over the wire; any field may hold any value of its type.
        expected: the latent of the receiver's own neck.
        tables: of that neck.
        limits: bounds on memory.

    Returns:
        A new float32 array of the expected shape.

    Raises:
        WireError: anything does not fit; nothing else is ever raised.
    """
    codec = check_description(encoded, expected, limits, NECK_CODECS[: tables.levels])
    check_params(encoded, expected, codec)
    codes, level = decode_codes(encoded.data, tables)
    if codec != NECK_CODECS[level]:
        raise WireError(
            "codec",
            f"a payload of level {level} came in tensor '{expected.name}' of codec '{codec}'",
        )
    return dequantise(codes, tables, level)
