"""Sizes from shapes against what the codecs really make."""

import numpy as np
import pytest

from codesign_ros.cost.payload import payload_bytes
from codesign_ros.types.tensors import TensorSpec
from codesign_ros.wire.codecs import TENSOR_CODECS, encode

EXACT = [codec for codec in TENSOR_CODECS if not codec.endswith("+zstd")]


@pytest.mark.parametrize("codec", EXACT)
@pytest.mark.parametrize("shape", [(1, 5, 3, 3), (1, 4, 2, 2), (1, 7), (1, 96, 13, 20)])
def test_size_is_what_encoding_makes(codec, shape):
    array = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    expected = encode("t", array, codec).payload_bytes
    assert payload_bytes(TensorSpec("t", shape), codec) == expected


def test_by_hand():
    spec = TensorSpec("t", (1, 96, 13, 20))  # 24960 elements
    assert payload_bytes(spec, "raw") == 99840
    assert payload_bytes(spec, "fp16") == 49920
    assert payload_bytes(spec, "uint8") == 24960 + 768
    assert payload_bytes(spec, "uint4") == 12480 + 768


def test_frames():
    frame = TensorSpec("image", (400, 640, 3), "uint8")
    assert payload_bytes(frame, "raw") == 768_000
    assert payload_bytes(frame, "uint8") is None


@pytest.mark.parametrize("codec", ["jpeg", "raw+zstd", "uint4+zstd"])
def test_sizes_that_depend_on_values_are_not_guessed(codec):
    assert payload_bytes(TensorSpec("t", (1, 4, 2, 2)), codec) is None
