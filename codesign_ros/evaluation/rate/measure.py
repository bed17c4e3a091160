"""Goes through a source once and sends each frame in every way; goes on after an interruption."""

from __future__ import annotations

import base64
import itertools
import json
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from codesign_ros.bundle import Bundle
from codesign_ros.data.chosen import ChosenSource
from codesign_ros.evaluation.rate.coders import Coded, FrameCoder
from codesign_ros.evaluation.rate.neck_film import NeckFilm
from codesign_ros.evaluation.rate.network import CutDetector, way_name
from codesign_ros.evaluation.rate.resampled import MATCHED, counts, matched
from codesign_ros.evaluation.rate.result import RAW, Found, Way
from codesign_ros.evaluation.resume import Journal
from codesign_ros.pixels.boxes import ALL_SCORES, decode_detections, to_frame
from codesign_ros.pixels.letterbox import letterbox
from codesign_ros.types.boxes import GroundTruth
from codesign_ros.types.codec_names import codec_family
from codesign_ros.types.errors import CodesignError

# Frames whose time says how long all of them take; the first one, which warms up, does not count.
_TRIED_FRAMES = 3


@dataclass(frozen=True, eq=False)
class RateMeasurement:
    """What is measured, on one source.

    Attributes:
        bundle: a detector.
        detector: engines for it.
        stills: coders that may run side by side, in any order of the frames.
        films: coders that need every frame, in order.
        neck_film: what the necks' levels take in that order; None = the frames have none.
        camera: makes of each frame what the camera sends; None = raw frames.
        source: frames with known truth, with an end.
        name: of the source.
        choice: what else says which frames and truths they are, for the checkpoint.
        classes: that count.
        threads: frames at the same time.
    """

    bundle: Bundle
    detector: CutDetector
    stills: Sequence[FrameCoder]
    films: Sequence[FrameCoder]
    neck_film: NeckFilm | None
    camera: FrameCoder | None
    source: ChosenSource
    name: str
    choice: Sequence[object]
    classes: Sequence[str]
    threads: int

    @property
    def ways(self) -> list[Way]:
        """All ways, the raw frames first."""
        cut = [
            Way(f"{codec_family(codec)} at {cut}", way_name(cut, codec))
            for cut, codec in self.detector.ways
        ]
        frames = [Way(coder.family, coder.name) for coder in (*self.stills, *self.films)]
        after = [] if self.neck_film is None else self.neck_film.ways
        return [Way(RAW, RAW), *cut, *frames, *after]

    def run(
        self,
        checkpoint: Path,
        planned: Callable[[int, float], None],
        progress: Callable[[int], None],
    ) -> Found:
        """Measure what the checkpoint lacks.

        Args:
            checkpoint: keeps what was found of each frame; it stays.
            planned: called once, early, with how many frames are left and about how long they
                take [s].
            progress: called with the number of frames that are done.

        Raises:
            CodesignError: the source has no known end, no frames, or frames without truth; the
                checkpoint is of another measurement or cannot be used.
        """
        total = self.source.frames
        if total is None:
            raise CodesignError(
                f"{self.name} has no known end; give a number of frames with --frames"
            )
        run = json.dumps([list(way) for way in self.ways])
        with Journal(checkpoint, self._measurement) as journal:
            found = dict(journal.kept(run))
            progress(len(found))
            for number, entry in self._measured(set(found), planned):
                journal.add(run, number, entry)
                found[number] = entry
                progress(len(found))
        if not found:
            raise CodesignError(f"{self.name} has no frames")
        return self._unpacked([found[number] for number in sorted(found)])

    def _measurement(self) -> str:
        """Say what a checkpoint is of; other ways do not meet in it."""
        camera = self.camera and self.camera.name
        source = (self.name, self.source.frames, self.source.fps, tuple(self.choice))
        network = (self.bundle.model_id, self.detector.precision)
        return repr((*network, *source, camera, tuple(self.classes), ALL_SCORES))

    def _measured(
        self, done: set[int], planned: Callable[[int, float], None]
    ) -> Iterator[tuple[int, Any]]:
        """Yield number and entry of each frame that is not done yet, in order."""
        total = self.source.frames
        assert total is not None
        left = [number for number in range(total) if number not in done]
        if not left:
            planned(0, 0.0)
            return
        # A film's coders need every frame from the first one on.
        in_order = self.films or self.neck_film
        first = 0 if in_order else left[0]
        times: list[float] = []
        most = 2 * self.threads
        waiting: deque[tuple[int, Future[Any]]] = deque()
        with ThreadPoolExecutor(self.threads) as pool:
            try:
                frames = enumerate(self.source.from_frame(first), first)
                for number, frame in itertools.islice(frames, total - first):
                    started = time.monotonic()
                    picture = frame.rgb()
                    height, width, _ = picture.shape
                    image = self._image(picture)
                    coded = [coder.code(image) for coder in self.films]
                    after = {} if self.neck_film is None else self.neck_film.sizes(image)
                    if number in done:
                        continue
                    job = pool.submit(
                        self._entry, number, frame.truth, (height, width), image, coded, after
                    )
                    waiting.append((number, job))
                    if len(times) < _TRIED_FRAMES:
                        job.result()
                        times.append(time.monotonic() - started)
                        if len(times) == min(_TRIED_FRAMES, len(left)):
                            each_s = min(times[1:] or times)
                            rest = len(left) - len(times)
                            planned(len(left), rest * each_s / self.threads)
                    while waiting and (len(waiting) >= most or waiting[0][1].done()):
                        number, job = waiting.popleft()
                        yield number, job.result()
                while waiting:
                    number, job = waiting.popleft()
                    yield number, job.result()
            finally:  # after Ctrl-C only the frames that run are waited for
                pool.shutdown(cancel_futures=True)

    def _image(self, picture: np.ndarray) -> np.ndarray:
        """The frame as the network's input, as it came out of the camera."""
        image = letterbox(picture, self.bundle.input)
        return image if self.camera is None else self.camera.code(image).image

    def _entry(
        self,
        number: int,
        truth: GroundTruth | None,
        size: tuple[int, int],
        image: np.ndarray,
        coded: Sequence[Coded],
        after: Mapping[str, int],
    ) -> dict[str, Any]:
        """What is kept of a frame: its objects by class, and for each way bytes and boxes."""
        if truth is None:
            raise CodesignError(
                f"frame {number} has no ground truth: accuracy needs labelled frames"
            )
        true, sent, found = truth.boxes, [], []

        def note(payload_bytes: int, output: np.ndarray) -> None:
            boxes = decode_detections(
                output, self.bundle.classes, score_threshold=ALL_SCORES.score_threshold
            )
            boxes = to_frame(boxes, *size, self.bundle.input)
            sent.append(payload_bytes)
            compared = matched(true, boxes, self.classes)
            found.append(base64.b64encode(compared.tobytes()).decode())

        for each in self.detector.sent(image):
            if each is None:
                sent.append(-1)
                found.append("")
            else:
                note(each.payload_bytes, each.output)
        stills = (coder.code(image) for coder in self.stills)
        for picture in itertools.chain(stills, coded):
            note(picture.payload_bytes, self.detector.of_frame(picture.image))
        # Levels that are written after a frame before are read as those that stand alone.
        alone = dict(zip((way.name for way in self.ways), found, strict=False))
        sent += after.values()
        found += [alone[name] for name in after]
        return {"objects": counts(true, self.classes), "sent": sent, "found": found}

    def _unpacked(self, entries: Sequence[Any]) -> Found:
        def boxes(way: int) -> list[np.ndarray]:
            return [
                np.frombuffer(base64.b64decode(entry["found"][way]), MATCHED) for entry in entries
            ]

        return Found(
            np.array([entry["objects"] for entry in entries], np.int64),
            np.array([entry["sent"] for entry in entries], np.int64).T,
            [boxes(way) for way in range(len(self.ways))],
        )
