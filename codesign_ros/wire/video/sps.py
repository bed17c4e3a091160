"""The size of the pictures that an H.264 stream announces (ITU-T H.264, 7.3.2.1.1).

It is read before the decoder takes memory for it. Only what our encoder writes is understood:
whole frames, 4:2:0, eight bits.
"""

from __future__ import annotations

from typing import NamedTuple

_BASELINE, _MAIN, _EXTENDED, _HIGH = 66, 77, 88, 100
# A picture of a greater number of these is larger than any that a bundle takes.
_LONGEST_CODE = 31


class PictureSize(NamedTuple):
    """``macroblocks`` down and across that are coded, and the picture that is cut out of them."""

    macroblocks: tuple[int, int]
    height: int
    width: int


def picture_size(sps: bytes | memoryview) -> PictureSize:
    """Read a sequence parameter set.

    Args:
        sps: the NAL unit, its first byte included.

    Raises:
        ValueError: it ends early, or is of a kind that our encoder does not write.
    """
    bits = _Bits(bytes(sps[1:]).replace(b"\0\0\3", b"\0\0"))
    profile = bits.number(8)
    bits.number(16)  # constraints and level
    bits.code()  # its number
    if profile == _HIGH:
        if (bits.code(), bits.code(), bits.code()) != (1, 0, 0):
            raise ValueError("has other colours than 4:2:0 of eight bits")
        bits.number(1)
        if bits.number(1):
            raise ValueError("has scaling matrices")
    elif profile not in (_BASELINE, _MAIN, _EXTENDED):
        raise ValueError(f"has profile {profile}")
    bits.code()  # length of frame numbers
    order = bits.code()
    if order == 0:
        bits.code()
    elif order != 2:
        raise ValueError("has an order of pictures of its own")
    bits.code()  # reference frames, of which the standard allows 16
    bits.number(1)
    across, down = bits.code() + 1, bits.code() + 1
    if not bits.number(1):
        raise ValueError("has fields and not frames")
    bits.number(1)
    left = right = top = bottom = 0
    if bits.number(1):
        left, right, top, bottom = (2 * bits.code() for _ in range(4))
    return PictureSize((down, across), 16 * down - top - bottom, 16 * across - left - right)


class _Bits:
    """Bits of a unit from its first on."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def number(self, bits: int) -> int:
        """Read a number of so many bits."""
        self._left -= bits
        if self._left < 0:
            raise ValueError("is cut off")
        return (self._value >> self._left) & ((1 << bits) - 1)

    def code(self) -> int:
        """Read an Exp-Golomb code, which has no sign."""
        zeros = 0
        while not self.number(1):
            zeros += 1
            if zeros > _LONGEST_CODE:
                raise ValueError("has a number that is too large")
        return (1 << zeros) - 1 + self.number(zeros)
