"""A film as a tail sees it that gets it as video: for what codecs lose that know frames before."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence

import numpy as np

from codesign_ros.runtime.video_codec import VideoCodec
from codesign_ros.types.codec_names import encoded_anew
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.tensors import TensorSpec
from codesign_ros.wire.codecs import encode
from codesign_ros.wire.decode import WireLimits, decode

_JPEG = "jpeg"


def coded_films(
    images: Sequence[np.ndarray] | np.ndarray,
    codecs: Sequence[str],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, np.ndarray]:
    """Send a film with each codec, from its first frame to its last, and none is lost.

    Args:
        images: letterboxed frames in order, uint8 (n, H, W, 3) RGB.
        codecs: of ``H264_CODECS``.
        progress: called with (frames done, frames in all) as the work goes on.

    Returns:
        What was read, on disk, as ``images``: by codec, and by ``encoded_anew`` of it where each
        frame was a camera's JPEG before.

    Raises:
        CodesignError: PyAV is not there, or cannot write or read a frame, or the disk has no room.
    """
    needed = 2 * len(codecs) * len(images) * images[0].nbytes
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise CodesignError(
            f"{len(images)} frames need {needed / 1e9:.1f} GB in {folder}, which has "
            f"{free / 1e9:.1f} GB free; take fewer --frames or set TMPDIR to a larger disk"
        )
    spec, limits = TensorSpec("image", images[0].shape, "uint8"), WireLimits()
    videos = [VideoCodec(spec, codec) for codec in codecs]
    ways = [(name, video) for video in videos for name in (video.codec, encoded_anew(video.codec))]
    streams = [(video, video.writer(), video.reader()) for _, video in ways]
    films = []
    for _ in ways:
        with tempfile.TemporaryFile() as file:  # what is mapped stays until nobody has it any more
            films.append(np.memmap(file, np.uint8, "w+", shape=(len(images), *spec.shape)))
    for number, image in enumerate(images):
        from_jpeg = decode(encode("image", image, _JPEG), spec, limits)
        for way, (film, (video, writer, reader)) in enumerate(zip(films, streams, strict=True)):
            sent = video.write((image, from_jpeg)[way % 2], writer, number)
            film[number] = video.decode(sent, limits, reader)
        progress(number + 1, len(images))
    return {name: film for (name, _), film in zip(ways, films, strict=True)}
