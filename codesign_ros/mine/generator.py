"""The synthetic mine: pictures of underground galleries with people in them, and exact truth.

It stands in for the paper's data set, which its authors give out on request only. Everything is
drawn from a seed: the same seed gives the same pictures.

A frame's class is decided by what can be seen in it: ``bare-headed`` if a bare head can, else
``helmets`` if a helmet can, else ``empty``. Boxes: ``person``; ``helmet`` around the head,
helmet and face, of who wears one; ``head`` around the head of who is bare-headed. A box encloses
the visible pixels; what is hidden for the most part
has none.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from codesign_ros.mine.layout import place_people
from codesign_ros.mine.render import CLASSES, Rendered, render
from codesign_ros.mine.scene import draw_scene
from codesign_ros.mine.site import draw_site
from codesign_ros.types.boxes import GroundTruth
from codesign_ros.types.errors import CodesignError

MOST_SEED = 2**32 - 1
"""The highest seed that a user may name."""

MINE_VERSION = 2
"""Changes whenever the same seed gives other pictures."""

# Shares of the classes, in the order of CLASSES.
CLASS_SHARES = (0.25, 0.375, 0.375)
# Share of independent frames above ground; a film stays below.
ABOVE_GROUND = 0.35
_ATTEMPTS = 8
# Keeps the random streams of single frames, of sequences and of single frames' classes apart: a
# shorter key of the same beginning would be the same as one that ends in zeros.
_FRAMES, _SEQUENCE, _CLASS = 1, 2, 3


@dataclass(frozen=True)
class MineFrame:
    """A picture (400, 640, 3) uint8 BGR and what is in it."""

    image: np.ndarray
    truth: GroundTruth


def seed_of(text: str) -> int | None:
    """Read a seed, 0 to ``MOST_SEED``, or the number of a frame; None = it is none."""
    is_number = text.isascii() and text.isdecimal() and len(text) <= len(str(MOST_SEED))
    return int(text) if is_number and int(text) <= MOST_SEED else None


class MineGenerator:
    """Frames of the synthetic mine for one seed."""

    def __init__(self, seed: int, *, shell_boxes: bool = False) -> None:
        """Set up the mine of a seed.

        Args:
            seed: any integer from 0; a negative one raises CodesignError.
            shell_boxes: ``helmet`` boxes the helmet alone, as earlier versions did.
        """
        if seed < 0:
            raise CodesignError(f"the mine's seed must be 0 or more, not {seed}")
        self.seed = seed
        self._shell_boxes = shell_boxes

    def frame(self, index: int) -> MineFrame:
        """The ``index``-th independent frame, in a scene of its own.

        The result depends on the seed and the index alone.
        """
        wanted = int(np.random.default_rng((self.seed, _CLASS, index)).choice(3, p=CLASS_SHARES))
        for attempt in range(_ATTEMPTS):
            rng = np.random.default_rng((self.seed, _FRAMES, index, attempt))
            scene = draw_site(rng) if rng.random() < ABOVE_GROUND else draw_scene(rng)
            people = place_people(rng, scene, CLASSES[wanted], seconds=0.0, drive_mps=0.0)
            if people is None:
                continue
            power = 1 - scene.flicker * rng.random()
            rendered = render(scene, people, rng, power=power, shell_boxes=self._shell_boxes)
            if rendered.truth.label == CLASSES[wanted] and not rendered.ambiguous:
                break
        else:
            rendered = self._nobody(index)
        return MineFrame(rendered.image, rendered.truth)

    def _nobody(self, index: int) -> Rendered:
        rng = np.random.default_rng((self.seed, _FRAMES, index, _ATTEMPTS))
        return render(draw_scene(rng), [], rng)

    def sequence(self, frames: int | None, fps: float = 30.0) -> Iterator[MineFrame]:
        """A film of ``frames`` frames (None: no end): shots of about two seconds, each elsewhere.

        People walk, lamps flicker, the robot drives slowly. The classes have their shares over
        the whole film as far as whole shots allow.
        """
        done = np.zeros(3)
        for shot in itertools.count():
            left = np.inf if frames is None else frames - done.sum()
            if left <= 0:
                return
            rng = np.random.default_rng((self.seed, _SEQUENCE, shot))
            length = int(min(left, rng.uniform(1.2, 2.2) * fps + 1))
            if left - length < 0.5 * fps:
                length = int(left)
            # The class that is furthest behind its share comes next.
            behind = np.array(CLASS_SHARES) * (done.sum() + length) - done + 1e-3 * rng.random(3)
            for frame in self._shot(shot, CLASSES[int(np.argmax(behind))], length, fps):
                done[CLASSES.index(frame.truth.label)] += 1
                yield frame

    def _shot(self, shot: int, label: str, length: int, fps: float) -> Iterator[MineFrame]:
        """``length`` frames in one place."""
        seconds = length / fps
        attempt = 0
        while True:
            rng = np.random.default_rng((self.seed, _SEQUENCE, shot, attempt))
            scene = draw_scene(rng)
            drive_mps = float(rng.uniform(0.0, 0.6)) if rng.random() < 0.7 else 0.0
            people = place_people(rng, scene, label, seconds=seconds, drive_mps=drive_mps)
            if people is not None:
                first = render(scene, people, np.random.default_rng(0))
                if first.truth.label == label and not first.ambiguous:
                    break
            attempt += 1
        sway, pace = rng.uniform(0.0, 0.02), rng.uniform(0.5, 1.5)
        scene = replace(scene, sensor=replace(scene.sensor, shake_px=(0.0, 0.0)))
        flicker_hz = rng.uniform(2.0, 9.0)
        for number in range(length):
            t = number / fps
            noise = np.random.default_rng((self.seed, _SEQUENCE, shot, attempt, number))
            dip = 0.5 + 0.5 * np.sin(2 * np.pi * flicker_hz * t) * noise.random()
            rendered = render(
                scene,
                [person.after(t) for person in people],
                noise,
                travel_m=drive_mps * t,
                sway=float(sway * np.sin(pace * t) + 0.0006 * noise.standard_normal()),
                power=float(1 - scene.flicker * dip),
                exposure=first.exposure,
                shell_boxes=self._shell_boxes,
            )
            yield MineFrame(rendered.image, rendered.truth)
