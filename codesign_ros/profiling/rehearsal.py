"""The work of head and tail on one frame, piece by piece, on a bundle's calibration frames.

What is timed is what a node does with a frame: a head normalises it, a tail of cut 0 too, whoever
runs the last segment makes the answer of its output, and tails and codecs get what heads made of
real frames.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from codesign_ros.bundle import Bundle
from codesign_ros.engines.base import Engine, EngineKey
from codesign_ros.engines.factory import EngineFactory
from codesign_ros.pixels.boxes import Selection
from codesign_ros.pixels.decode import to_rgb
from codesign_ros.pixels.letterbox import letterbox
from codesign_ros.runtime.answers import answer_from
from codesign_ros.runtime.neck_codec import NeckCodec
from codesign_ros.runtime.video_codec import VideoCodec
from codesign_ros.types.codec_names import H264_CODECS, neck_level
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.tensors import NECK
from codesign_ros.wire.codecs import codecs_for, encode
from codesign_ros.wire.decode import WireLimits, decode
from codesign_ros.wire.tensor import EncodedTensor
from codesign_ros.wire.video.stream import why_not

# Frames that work is rehearsed on, in turn: zstd, JPEG and the choice of boxes depend on them.
_FRAMES = 4
# Frames of which the payloads of a neck are counted, which depend on them more than others do.
_NECK_FRAMES = 32
# Pictures that a made-up film moves over, and frames of each; a key frame is the first of each.
_PANS, _PAN_FRAMES = 2, 16
# Crossing tensors are kept up to this size [bytes]; beyond it they are computed anew when needed.
_KEPT_BYTES = 200e6

Tensors = dict[str, np.ndarray]
Coded = tuple[EncodedTensor, ...]


@dataclass(frozen=True)
class Encoding:
    """What a codec makes of the tensors at one cut.

    Attributes:
        work: encodes the tensors of a frame.
        frames: what it made of each frame.
        counted_bytes: payloads that count [bytes]; none = those of all frames.
    """

    work: Callable[[int], Coded]
    frames: tuple[Coded, ...]
    counted_bytes: tuple[int, ...] = ()

    @property
    def mean_bytes(self) -> float:
        """Mean payload over the frames [bytes]."""
        return float(np.mean(self._sizes))

    @property
    def spread_bytes(self) -> float:
        """Standard deviation of the payload from frame to frame [bytes]."""
        return float(np.std(self._sizes, ddof=1)) if len(self._sizes) > 1 else 0.0

    @property
    def _sizes(self) -> Sequence[int]:
        if self.counted_bytes:
            return self.counted_bytes
        return [payload_bytes(coded) for coded in self.frames]


def encoded(tensors: Mapping[str, np.ndarray], codec: str) -> Coded:
    """Encode the tensors of a frame.

    Raises:
        CodesignError: the codec cannot express the values.
    """
    return tuple(encode(name, array, codec) for name, array in tensors.items())


def payload_bytes(coded: Coded) -> int:
    """What a frame's encoded tensors have together [bytes]."""
    return sum(tensor.payload_bytes for tensor in coded)


@dataclass(frozen=True)
class RehearsedHalf:
    """A half at work; ``close`` frees its engine.

    Attributes:
        engine: runs it.
        work: all that a node does with the frame of a round.
    """

    engine: Engine
    work: Callable[[int], object]

    def __call__(self, number: int) -> object:
        """Work on the frame of a round."""
        return self.work(number)

    def close(self) -> None:
        """Free the engine; it cannot work afterwards."""
        self.engine.close()


def video_codecs(bundle: Bundle) -> tuple[str, ...]:
    """Codecs of video that this machine writes and reads, and that a plan may have.

    That is where the bundle's accuracy table knows what they lose. Where it does not, PyAV is not
    loaded: it would take time and memory for nothing.
    """
    codecs = bundle.accuracy.video_codecs
    return () if not codecs or why_not(writes=True) or why_not(writes=False) else codecs


def _pan(image: np.ndarray, frames: int) -> list[np.ndarray]:
    """A film of a camera that moves to the right over a picture, whose last column goes on."""
    step = max(1, image.shape[1] // 100)
    wide = np.pad(image, ((0, 0), (0, step * frames), (0, 0)), "reflect")
    starts = range(0, step * frames, step)
    return [np.ascontiguousarray(wide[:, start : start + image.shape[1]]) for start in starts]


def _streaming(video: VideoCodec, images: Sequence[np.ndarray]) -> Callable[[int], Coded]:
    """Write frames of made-up films, each film as a stream."""
    writer = video.writer()

    def work(number: int) -> Coded:
        place = number % len(images)
        if place % _PAN_FRAMES == 0:
            writer.end()
        return (video.write(images[place], writer, number),)

    return work


class Rehearsal:
    """Makes the pieces of work of one network; each takes the number of a round.

    Args:
        factory: makes the engines.
        crossings: makes the heads that give tails and codecs their tensors; None = ``factory``.
    """

    def __init__(self, factory: EngineFactory, crossings: EngineFactory | None = None) -> None:
        self._factory = factory
        self._crossings = factory if crossings is None else crossings
        self._bundle: Bundle = factory.bundle
        frames = self._bundle.calibration_frames()[:_FRAMES]
        self._jpegs = [encode("frame", frame, "jpeg").data for frame in frames]
        self._images = [letterbox(frame, self._bundle.input) for frame in frames]
        self._kept: dict[tuple[int, bool], list[Tensors]] = {}

    def prepare(self, number: int) -> np.ndarray:
        """Decode a camera's JPEG and fit it into the network's input."""
        jpeg = self._jpegs[number % len(self._jpegs)]
        return letterbox(to_rgb(jpeg, "jpeg"), self._bundle.input)

    def half(self, key: EngineKey) -> RehearsedHalf:
        """Run the half that ``key`` names; it must have segments."""
        engine = self._factory.build(key)
        if self._factory.builds_ahead:
            engine.warm_up()  # until a GPU's clocks are up and its work is recorded
        run = self._from_image(engine)
        if key.part == "tail" and key.cut > 0:
            run = self._from_tensors(engine, self._crossing(key.cut, key.neck))
        if key.part == "head" and key.cut < self._bundle.last_cut:
            return RehearsedHalf(engine, run)
        return RehearsedHalf(
            engine, lambda number: answer_from(run(number), self._bundle, Selection())
        )

    def encodings(self, cut: int) -> dict[str, Encoding]:
        """Encode the tensors at ``cut``, by codec; with those of its neck if it has one.

        A codec that cannot express the values (fp16 beyond 65504) is left out, and so never
        planned.
        """
        frames = self._crossing(cut)
        usable = set.intersection(*(set(codecs_for(s)) for s in self._bundle.crossings[cut]))
        encodings = {}
        for codec in sorted(usable):

            def work(number: int, codec: str = codec) -> Coded:
                return encoded(frames[number % len(frames)], codec)

            with contextlib.suppress(CodesignError):
                encodings[codec] = Encoding(work, tuple(map(work, range(len(frames)))))
        return encodings | self._neck_encodings(cut) | (self._video_encodings() if cut == 0 else {})

    def _neck_encodings(self, cut: int) -> dict[str, Encoding]:
        """What the neck at ``cut`` sends at each of its levels; none where there is no neck.

        How large that is depends on the scene, so all frames are sent.
        """
        if cut not in {neck.cut for neck in self._bundle.necks}:
            return {}
        neck = NeckCodec(self._bundle, cut)
        latents = self._crossing(cut, neck=True)
        encodings = {}
        for level, codec in enumerate(neck.codecs):

            def work(number: int, level: int = level) -> Coded:
                return (neck.encode(latents[number % len(latents)][NECK], level),)

            encodings[codec] = Encoding(work, tuple(map(work, range(len(latents)))))
        return encodings

    def _video_encodings(self) -> dict[str, Encoding]:
        """What the frame is as H.264, see ``video_codecs``; of a film that is made up.

        A camera moves over the first pictures, a hundredth of their width from one frame to the
        next; only frames that are written after another one count.
        """
        films = [_pan(image, _PAN_FRAMES) for image in self._images[:_PANS]]
        images = [image for film in films for image in film]
        encodings = {}
        for codec in video_codecs(self._bundle):
            work = _streaming(VideoCodec(self._bundle.crossings[0][0], codec), images)
            frames = tuple(map(work, range(len(images))))
            sizes = [
                coded[0].payload_bytes for place, coded in enumerate(frames) if place % _PAN_FRAMES
            ]
            encodings[codec] = Encoding(work, frames, tuple(sizes))
        return encodings

    def decoder(self, cut: int, frames: Sequence[Coded]) -> Callable[[int], object]:
        """Decode what a codec made of the tensors at ``cut``; video in the order of the rounds."""
        specs = self._bundle.crossings[cut]
        if frames[0][0].codec in H264_CODECS:
            video, whatever = VideoCodec(specs[0], frames[0][0].codec), WireLimits()
            reader = video.reader()
            return lambda number: video.decode(frames[number % len(frames)][0], whatever, reader)
        if neck_level(frames[0][0].codec) is not None:
            neck, limits = NeckCodec(self._bundle, cut), WireLimits()
            return lambda number: neck.decode(frames[number % len(frames)][0], limits)

        def work(number: int) -> list[np.ndarray]:
            coded = frames[number % len(frames)]
            return [decode(e, spec, WireLimits()) for e, spec in zip(coded, specs, strict=True)]

        return work

    def _from_image(self, engine: Engine) -> Callable[[int], Mapping[str, np.ndarray]]:
        images = self._images
        return lambda number: engine.run({"image": images[number % len(images)]})

    def _from_tensors(
        self, engine: Engine, frames: Sequence[Tensors]
    ) -> Callable[[int], Mapping[str, np.ndarray]]:
        return lambda number: engine.run(frames[number % len(frames)])

    def _crossing(self, cut: int, neck: bool = False) -> list[Tensors]:
        """What crosses at ``cut``, frame by frame; or what the encoder of its neck makes."""
        if cut == 0:
            return [{"image": image} for image in self._images]
        if (cut, neck) not in self._kept:
            images = self._all_images() if neck else self._images
            engine = self._crossings.build(EngineKey("head", cut, neck=neck))
            tensors = [dict(engine.run({"image": image})) for image in images]
            engine.close()
            kept = [*self._kept.values(), tensors]
            if sum(a.nbytes for frames in kept for f in frames for a in f.values()) > _KEPT_BYTES:
                return tensors
            self._kept[cut, neck] = tensors
        return self._kept[cut, neck]

    def _all_images(self) -> list[np.ndarray]:
        """All calibration frames, as far as they count."""
        frames = self._bundle.calibration_frames()[:_NECK_FRAMES]
        return [letterbox(frame, self._bundle.input) for frame in frames]
