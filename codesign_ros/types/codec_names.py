"""The names of the codecs that come in levels, and of what accuracy tables call encoded anew.

What they do is in ``wire``.
"""

from __future__ import annotations

LOSSLESS_STAGE = "+zstd"
"""What stands behind the name of a codec whose bytes are packed by zstd, which loses nothing."""

NECK_CODECS = tuple(f"neck.{level}" for level in range(6))
"""Codecs of a neck: what a trained encoder makes of a cut, at one of its rate levels. Level 0 is
the finest; how many of them there are, and at which cuts, says the bundle."""


def neck_level(codec: str) -> int | None:
    """The rate level that a codec names; None where it is no codec of a neck."""
    return NECK_CODECS.index(codec) if codec in NECK_CODECS else None


JPEG444_QUALITIES = (90, 75, 50, 30)
JPEG444_CODECS = tuple(f"jpeg444.{quality}" for quality in JPEG444_QUALITIES)
"""Codecs of the frame that encode it as JPEG of one of these qualities with whole colours (4:4:4),
the finest first. ``jpeg`` is the camera's own, or one of quality 90 with halved colours (4:2:0)."""

H264_RATES = (18, 23, 28)
H264_CODECS = tuple(f"h264.{rate}" for rate in H264_RATES)
"""Codecs of the frame that write it after the frame before, as H.264 of one of these constant rate
factors, the finest first. Each is a plan's own: another one begins another stream."""


def encoded_anew(codec: str) -> str:
    """What an accuracy table calls a camera's JPEG that is decoded and encoded with ``codec``."""
    return f"{_ENCODED_ANEW}{codec}"


def is_encoded_anew(codec: str) -> bool:
    """Whether a table's codec is of a camera's JPEG that was decoded and encoded again."""
    return codec.startswith(_ENCODED_ANEW)


_ENCODED_ANEW = "jpeg+"


def rate_levels_of(codec: str) -> tuple[str, ...]:
    """The codecs from which the head may choose for each frame under one plan, finest first.

    The number of a level is its place. None where the codec stays.
    """
    ladders = (NECK_CODECS, JPEG444_CODECS)
    return next((ladder for ladder in ladders if codec in ladder), ())


def codec_family(codec: str) -> str:
    """What the codecs of one ladder have in common: ``neck``, ``jpeg444``, ``h264``; else all."""
    return codec.partition(".")[0]
