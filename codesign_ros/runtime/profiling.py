"""Timing heads and tails at every cut, and the codecs on real tensors, when a node configures.

Halves are timed whole: sums of single blocks miss the time of a half by 10 to 35 percent.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from codesign_ros.bundle import Bundle
from codesign_ros.engines.base import EngineKey, zeros
from codesign_ros.engines.cache import FileCache
from codesign_ros.engines.factory import EngineFactory
from codesign_ros.preprocess import letterbox, normalise
from codesign_ros.types import CodesignError, Structure, TensorSpec
from codesign_ros.wire.codecs import JPEG_QUALITY, EncodedTensor, codecs_for, encode
from codesign_ros.wire.decode import Limits, decode

Part = Literal["head", "tail"]

# Runs of each timing. The shortest counts: whatever else the machine does only adds to it, and
# halves that differ by a millisecond must come out in the right order.
_RUNS = 5
# Calibration frames that the mean payload is taken over: zstd and JPEG depend on the picture.
_SIZE_FRAMES = 4
# Part of the cache key; raise it when other things are timed.
_VERSION = 4


@dataclass(frozen=True)
class StageProfile:
    """What one device measured of itself, batch 1.

    Attributes:
        stage_s: time of a half by (cut, structure) [s]; a head's include preparing the frame
            (JPEG decoding, letterbox), its cut 0 is that alone.
        estimated: those of them that were not timed but scaled from the S3 time at the same cut by
            the ratio at the nearest cut where both were timed.
        codec_s: time to encode (head) or decode (tail) by (cut, codec) [s].
        codec_bytes: mean payload by (cut, codec) [bytes].
        precision_s: time of a half in structure S3 by (cut, precision), for precisions other than
            fp32, in which ``stage_s`` is [s].
    """

    stage_s: dict[tuple[int, Structure], float]
    estimated: frozenset[tuple[int, Structure]]
    codec_s: dict[tuple[int, str], float]
    codec_bytes: dict[tuple[int, str], float]
    precision_s: dict[tuple[int, str], float] = field(default_factory=dict)

    def stretched(self, slowdown: float) -> StageProfile:
        """The same on a device ``slowdown`` times slower (emulated); 0 or 1 changes nothing."""
        factor = max(1.0, slowdown)
        return replace(
            self,
            stage_s={key: factor * value for key, value in self.stage_s.items()},
            codec_s={key: factor * value for key, value in self.codec_s.items()},
            precision_s={key: factor * value for key, value in self.precision_s.items()},
        )

    def to_json(self) -> str:
        """Write as text that ``from_json`` reads."""
        return json.dumps(
            {
                "stage_s": [[cut, s.value, t] for (cut, s), t in self.stage_s.items()],
                "estimated": [[cut, s.value] for cut, s in sorted(self.estimated)],
                "codec_s": [[cut, codec, t] for (cut, codec), t in self.codec_s.items()],
                "codec_bytes": [[cut, codec, n] for (cut, codec), n in self.codec_bytes.items()],
                "precision_s": [[cut, name, t] for (cut, name), t in self.precision_s.items()],
            }
        )

    @classmethod
    def from_json(cls, text: str) -> StageProfile:
        """Read what ``to_json`` wrote.

        Raises:
            ValueError: it is something else.
        """
        try:
            content = json.loads(text)
            return cls(
                stage_s={(int(c), Structure(s)): float(t) for c, s, t in content["stage_s"]},
                estimated=frozenset((int(c), Structure(s)) for c, s in content["estimated"]),
                codec_s={(int(c), str(k)): float(t) for c, k, t in content["codec_s"]},
                codec_bytes={(int(c), str(k)): float(n) for c, k, n in content["codec_bytes"]},
                precision_s={(int(c), str(k)): float(t) for c, k, t in content["precision_s"]},
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a stage profile: {error}") from None


def profile_cached(
    bundle: Bundle,
    factory: EngineFactory,
    part: Part,
    budget_s: float,
    cache_dir: Path,
    precisions: Sequence[str] = (),
) -> StageProfile:
    """Return this machine's profile from the cache, or measure it and keep it there."""
    cache = FileCache(cache_dir)
    machine = (platform.node(), platform.machine(), platform.processor(), str(os.cpu_count()))
    how = (factory.backend, str(factory.threads), *sorted(precisions), str(_VERSION))
    parts = (bundle.model_id, part, *machine, *how)
    name = hashlib.sha256("|".join(parts).encode()).hexdigest()[:32] + ".profile.cache"
    stored = cache.get(name)
    if stored is not None:
        return StageProfile.from_json(stored.decode())
    profile = measure(bundle, factory, part, budget_s, precisions)
    cache.put(name, profile.to_json().encode())
    return profile


def measure(
    bundle: Bundle,
    factory: EngineFactory,
    part: Part,
    budget_s: float,
    precisions: Sequence[str] = (),
) -> StageProfile:
    """Time one part of a network on this machine.

    The halves in structure S3, in fp32 and in each of ``precisions``, and the codecs are always
    timed, at every cut; halves in the other structures as far as the budget reaches, whole networks
    first, and scaled beyond it.

    Args:
        bundle: the network and the calibration frames it is timed on.
        factory: makes the engines.
        part: ``head`` or ``tail``.
        budget_s: time after which no further half is timed [s].
        precisions: those to time beside fp32.

    Raises:
        CodesignError: the backend does not have one of the precisions.
    """
    started_s = time.perf_counter()
    cuts = range(len(bundle.segments) + 1)
    frames = bundle.calibration_frames()[:_SIZE_FRAMES]
    frame, images = frames[0], [letterbox(frame, bundle.input) for frame in frames]
    image = images[0]
    prepare_s = _shortest_s(lambda: _prepare(_as_jpeg(frame), bundle)) if part == "head" else 0.0

    stage_s: dict[tuple[int, Structure], float] = {}
    codec_s: dict[tuple[int, str], float] = {}
    codec_bytes: dict[tuple[int, str], float] = {}
    for cut in cuts[:-1]:
        specs = bundle.crossings[cut]
        for codec, coded in _encodings(bundle, factory, cut, images).items():
            codec_bytes[cut, codec] = coded.mean_bytes
            codec_s[cut, codec] = (
                coded.encode_s if part == "head" else _decode_s(coded.first, specs)
            )

    # The whole half of each structure first, then the rest of S3, then as far as the budget goes.
    order = sorted(cuts, reverse=part == "head")
    first = [(order[0], structure) for structure in Structure]
    first += [(cut, Structure.S3) for cut in order[1:]]
    rest = [(cut, s) for s in Structure if s is not Structure.S3 for cut in order[1:]]
    for cut, structure in first:
        stage_s[cut, structure] = prepare_s + _stage_s(factory, part, cut, structure, image)
    precision_s = {
        (cut, precision): prepare_s + _stage_s(factory, part, cut, Structure.S3, image, precision)
        for precision in sorted({*precisions} - {"fp32"})
        for cut in cuts
    }
    estimates = {}
    for cut, structure in rest:
        if time.perf_counter() - started_s > budget_s:
            # Cuts are timed from the longest half on, so the last one timed is the nearest.
            nearest = [c for c, s in stage_s if s is structure][-1]
            ratio = stage_s[nearest, structure] / stage_s[nearest, Structure.S3]
            estimates[cut, structure] = ratio * stage_s[cut, Structure.S3]
        else:
            stage_s[cut, structure] = prepare_s + _stage_s(factory, part, cut, structure, image)
    return StageProfile(
        stage_s | estimates, frozenset(estimates), codec_s, codec_bytes, precision_s
    )


def _as_jpeg(frame: np.ndarray) -> np.ndarray:
    bgr = cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]


def _prepare(jpeg: np.ndarray, bundle: Bundle) -> np.ndarray:
    bgr = cv2.imdecode(jpeg, cv2.IMREAD_COLOR)
    return letterbox(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), bundle.input)


@dataclass(frozen=True)
class _Coded:
    """What one codec makes of the tensors at one cut: of the first frame, and the mean size."""

    first: tuple[EncodedTensor, ...]
    encode_s: float
    mean_bytes: float


def _encodings(
    bundle: Bundle, factory: EngineFactory, cut: int, images: Sequence[np.ndarray]
) -> dict[str, _Coded]:
    """Encode what crosses at ``cut`` with every codec that can carry it.

    A codec that cannot express the values (fp16 beyond 65504) is left out, and so never planned.
    """
    crossing = [{"image": image} for image in images]
    if cut > 0:
        head = factory.build(EngineKey("head", cut))
        crossing = [head.run({"image": normalise(image, bundle.input)}) for image in images]
    codecs = set.intersection(*(set(codecs_for(spec)) for spec in bundle.crossings[cut]))
    encodings = {}
    for codec in sorted(codecs):

        def coded(tensors: dict[str, np.ndarray], codec: str = codec) -> tuple[EncodedTensor, ...]:
            return tuple(encode(name, array, codec) for name, array in tensors.items())

        with contextlib.suppress(CodesignError):
            sizes = [sum(e.payload_bytes for e in coded(tensors)) for tensors in crossing]
            encode_s = _shortest_s(lambda coded=coded: coded(crossing[0]))  # type: ignore[misc]
            encodings[codec] = _Coded(coded(crossing[0]), encode_s, statistics.fmean(sizes))
    return encodings


def _decode_s(encoded: tuple[EncodedTensor, ...], specs: tuple[TensorSpec, ...]) -> float:
    def work() -> list[np.ndarray]:
        return [decode(e, spec, Limits()) for e, spec in zip(encoded, specs, strict=True)]

    return _shortest_s(work)


def _stage_s(
    factory: EngineFactory,
    part: Part,
    cut: int,
    structure: Structure,
    image: np.ndarray,
    precision: str = "fp32",
) -> float:
    """Time one half [s]; 0 for a half without segments."""
    bundle = factory.bundle
    if cut == (0 if part == "head" else len(bundle.segments)):
        return 0.0
    engine = factory.build(EngineKey(part, cut, structure, precision=precision))
    engine.warm_up(1)
    if part == "head" or cut == 0:
        return _shortest_s(lambda: engine.run({"image": normalise(image, bundle.input)}))
    inputs = zeros(engine.inputs)
    return _shortest_s(lambda: engine.run(inputs))


def _shortest_s(work: Callable[[], object]) -> float:
    times = []
    for _ in range(_RUNS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)
