"""What a neck's rate levels take on a film, each frame written after one before, as heads do it."""

from __future__ import annotations

import math

import numpy as np

from codesign_ros.evaluation.neck.accuracy import MeasuredNeck
from codesign_ros.evaluation.rate.network import CutDetector, way_name
from codesign_ros.evaluation.rate.result import Way
from codesign_ros.types.codec_names import codec_family
from codesign_ros.wire.decode import WireLimits

ANSWER_S = 0.1
"""So long after a frame was written its answer is there, and others may be written after it [s]."""

_JITTER_FRAMES = 0.1

AFTER = ", after a frame"
"""Behind the name of a level that is written so."""


class NeckFilm:
    """The necks of a detector that know films, and what their receivers have of this one.

    What is read are the same codes as of frames that stand alone, and so are the answers.

    Args:
        detector: makes latents.
        fps: frames a second of the film; by ``ANSWER_S`` it says which frames have their answers.
    """

    def __init__(self, detector: CutDetector, fps: float) -> None:
        self._detector = detector
        # Less a tenth of a frame: a camera's stamps have no exact rate.
        self._late = max(0, math.ceil(ANSWER_S * fps - _JITTER_FRAMES) - 1)
        self._number = 0
        self._senders = [
            [_Sender(neck, level) for level in range(len(neck.codec.codecs))]
            if neck.codec.knows_films
            else []
            for neck in detector.necks
        ]

    @property
    def ways(self) -> list[Way]:
        """All levels, as ``sizes`` has them."""
        return [
            Way(f"{codec_family(sender.codec)} at {sender.cut}{AFTER}", f"{sender.name}{AFTER}")
            for senders in self._senders
            for sender in senders
        ]

    def sizes(self, image: np.ndarray) -> dict[str, int]:
        """Write and read the next frame.

        Args:
            image: uint8 (H, W, 3) RGB, letterboxed.

        Returns:
            Bytes, by the name of the way that is the same level alone.
        """
        latents = self._detector.latents(image)
        number, self._number = self._number, self._number + 1
        return {
            sender.name: sender.send(latent, number, number - self._late)
            for latent, senders in zip(latents, self._senders, strict=True)
            for sender in senders
        }


class _Sender:
    """A neck's head and tail at one level."""

    def __init__(self, neck: MeasuredNeck, level: int) -> None:
        self._codec, self._level = neck.codec, level
        self._writer, self._reader = neck.codec.writer(), neck.codec.reader()
        self._limits = WireLimits()
        self.cut, self.codec = neck.cut, neck.codec.codecs[level]
        self.name = way_name(self.cut, self.codec)

    def send(self, latent: np.ndarray, number: int, answered: int) -> int:
        """Write a frame, and read it; return its bytes. The answer to another one came then."""
        shortest, alone = self._codec.write(latent, self._level, self._writer, number)
        read = self._codec.decode(shortest, self._limits, self._reader, number)
        assert np.array_equal(read, self._codec.decode(alone, self._limits))
        self._writer.acknowledge(answered)
        return shortest.payload_bytes
