"""Renders a scene of the synthetic mine with its people, and finds the boxes that can be seen."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from codesign_ros.mine.figures.figure import PART_HEAD, PART_HELMET
from codesign_ros.mine.gallery import draw_gallery
from codesign_ros.mine.light import Air, Lamp, add_glow, develop, light_at, veil
from codesign_ros.mine.optics import blinds, through_lens
from codesign_ros.mine.people import Person
from codesign_ros.mine.props import Prop, draw_prop
from codesign_ros.mine.scene import Scene
from codesign_ros.mine.site import draw_site_picture
from codesign_ros.mine.sprite import Sprite, cap_lamps, draw_sprite
from codesign_ros.mine.tunnel import HEIGHT, WIDTH, Camera
from codesign_ros.types.boxes import Box, GroundTruth

CLASSES = ("empty", "helmets", "bare-headed")

# An object of which less than this share can be seen is not labelled and decides nothing.
MIN_SEEN = {"person": 0.2, "helmet": 0.45, "head": 0.45}
_MIN_SIDE_PX = 4


@dataclass(frozen=True)
class Rendered:
    """A picture, its truth, whether someone's head is hidden while the body shows, and exposure."""

    image: np.ndarray
    truth: GroundTruth
    ambiguous: bool
    exposure: float


class _Composer:
    """The picture while things are laid into it from far to near."""

    def __init__(self, picture: np.ndarray, surface_z: np.ndarray | None) -> None:
        """``surface_z`` is how far the rock is where it may hide things, half size [m]."""
        self.picture = picture
        self.surface_z = surface_z
        self.owner = np.zeros((HEIGHT, WIDTH), np.uint8)
        self.part = np.zeros((HEIGHT, WIDTH), np.uint8)

    def lay(
        self,
        colour: np.ndarray,
        alpha: np.ndarray,
        left: int,
        top: int,
        z_m: float,
        owner: int,
        part: np.ndarray | None,
        fade: tuple[float, np.ndarray],
    ) -> tuple[slice, slice] | None:
        """Lay a thing in (``colour`` already times ``alpha``); returns the window it covers.

        ``fade`` is haze: the share that comes through, and what it adds (3,).
        """
        rows, cols = alpha.shape
        y0, y1 = max(top, 0), min(top + rows, HEIGHT)
        x0, x1 = max(left, 0), min(left + cols, WIDTH)
        if y0 >= y1 or x0 >= x1:
            return None
        inner = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
        window = (slice(y0, y1), slice(x0, x1))
        a = alpha[inner]
        colour = colour[inner]
        if self.surface_z is not None:
            behind = self.surface_z[y0 // 2 : (y1 + 1) // 2, x0 // 2 : (x1 + 1) // 2]
            open_view: np.ndarray = (behind > z_m - 0.5 - 0.06 * z_m).astype(np.float32)
            open_view = cv2.resize(open_view, (x1 - x0, y1 - y0))
            a, colour = a * open_view, colour * open_view[..., None]
        through, added = fade
        view = self.picture[window]
        view *= (1 - a)[..., None]
        view += colour * np.float32(through) + a[..., None] * added
        covers = a > 0.5
        self.owner[window][covers] = owner
        self.part[window][covers] = 0 if part is None else part[inner][covers]
        return window


def _boxes(
    composer: _Composer,
    seen: list[tuple[Person, Sprite, tuple[slice, slice], int]],
    shell_boxes: bool,
) -> tuple[GroundTruth, bool]:
    """Boxes of what is still visible of each person."""
    boxes = []
    ambiguous = False
    for person, sprite, window, owner in seen:
        mine = composer.owner[window] == owner
        part = composer.part[window]
        label = "head" if person.helmet is None else "helmet"
        wanted = PART_HELMET if shell_boxes and person.helmet is not None else PART_HEAD
        offset = (window[1].start, window[0].start)
        person_box = _box("person", mine, int((sprite.part > 0).sum()), offset)
        top_box = _box(label, mine & (part >= wanted), int((sprite.part >= wanted).sum()), offset)
        if person_box is not None:
            boxes.append(person_box)
        if top_box is not None:
            boxes.append(top_box)
        elif int(mine.sum()) > 12:
            ambiguous = True
    labels = {box.label for box in boxes}
    name = CLASSES[2] if "head" in labels else CLASSES[1] if "helmet" in labels else CLASSES[0]
    return GroundTruth(name, tuple(boxes)), ambiguous


def _box(label: str, mask: np.ndarray, whole_px: int, offset: tuple[int, int]) -> Box | None:
    """The rectangle around a mask, or None when too little of ``whole_px`` is seen."""
    seen = int(np.count_nonzero(mask))
    if seen == 0 or seen < MIN_SEEN[label] * whole_px:
        return None
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    if width < _MIN_SIDE_PX or height < _MIN_SIDE_PX:
        return None
    x, y = x + offset[0], y + offset[1]
    return Box(label, float(x), float(y), float(x + width), float(y + height))


def render(
    scene: Scene,
    people: list[Person],
    rng: np.random.Generator,
    *,
    travel_m: float = 0.0,
    sway: float = 0.0,
    power: float = 1.0,
    exposure: float | None = None,
    shell_boxes: bool = False,
) -> Rendered:
    """Render one frame.

    Args:
        scene: The place.
        people: Who is in it.
        rng: For sensor noise and dust.
        travel_m: How far the robot has driven [m].
        sway: Turn of the camera against its course [rad].
        power: Factor of the mains lamps' brightness (flicker).
        exposure: Fixed exposure, or None to measure the scene.
        shell_boxes: ``helmet`` boxes the helmet alone and not the face under it.
    """
    camera = replace(scene.camera, travel_m=travel_m, yaw=scene.camera.yaw + sway)
    air = scene.air
    mains = [replace(lamp, power=lamp.power * power) for lamp in scene.lamps]
    lamps = mains + cap_lamps(people, camera)
    things: list[Person | Prop] = [*people, *scene.props]
    things.sort(key=lambda thing: -thing.z_m)
    shadows = []
    for thing in things:
        z = thing.z_m - travel_m
        if z > 0.8:
            at = float(scene.profile.centre_at(z)) + thing.x_m
            spot, depth = camera.project(np.array([[at, 0.0, z + 0.15]]))
            half = 0.34 if isinstance(thing, Person) else 0.62 * thing.width_m
            half_px = half * camera.focal_px / float(depth[0])
            shadows.append((float(spot[0, 0]), float(spot[0, 1]), half_px, 0.55))
    if scene.backdrop is not None:
        exposure = 1.0
        picture, surface_z = draw_site_picture(scene.backdrop, shadows), None
    else:
        picture, surface_z, exposure = draw_gallery(
            scene, camera, (mains, lamps), shadows, exposure
        )
    composer = _Composer(picture, surface_z)
    glare = np.zeros((HEIGHT // 4, WIDTH // 4, 3), np.float32)
    seen = []
    for index, thing in enumerate(things, start=1):
        z = thing.z_m - travel_m
        through, added = veil(z, air, mains)
        fade = (through, added * np.float32(exposure))
        if isinstance(thing, Person):
            sprite = draw_sprite(scene, camera, air, lamps, thing, exposure)
            if sprite is None:
                continue
            window = composer.lay(
                sprite.colour, sprite.alpha, sprite.left, sprite.top, z, index, sprite.part, fade
            )
            if window is None:
                continue
            seen.append((thing, sprite, window, index))
            if sprite.lamp_glare > 0.05:
                radius = sprite.lamp_glare * (26 + 420 / z)
                colour = np.array((1.0, 0.98, 0.9), np.float32) * np.float32(
                    sprite.lamp_glare * 1.1 * through
                )
                add_glow(glare, sprite.lamp_px, radius, colour)
        else:
            facing = _prop_light(scene, camera, lamps, air, thing.x_m, z, exposure)
            drawn = draw_prop(thing, camera, scene.profile, facing)
            if drawn is not None:
                colour, alpha, (left, top) = drawn
                composer.lay(colour * alpha[..., None], alpha, left, top, z, index, None, fade)
    truth, ambiguous = _boxes(composer, seen, shell_boxes)
    _dust(glare, rng, air, exposure)
    if glare.any():
        picture += cv2.resize(glare, (WIDTH, HEIGHT))
    ambiguous |= blinds(scene.optics, truth.boxes)
    picture = through_lens(picture, scene.optics)
    return Rendered(develop(picture, scene.sensor, rng), truth, ambiguous, exposure)


def _prop_light(
    scene: Scene,
    camera: Camera,
    lamps: list[Lamp],
    air: Air,
    x_m: float,
    z_m: float,
    exposure: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Light on the front, side and top of a prop (3,) each, times the exposure."""
    lights = light_at((x_m, 0.8, z_m), camera, lamps, air)
    if scene.sun is not None:
        lights.append(scene.sun)
    inward = -1.0 if x_m > 0 else 1.0
    normals = ((0.0, 0.0, 1.0), (inward, 0.0, 0.0), (0.0, 1.0, 0.0))
    sides = []
    for normal in normals:
        total: np.ndarray = np.full(3, air.ambient, np.float32)
        for direction, brightness in lights:
            dot = float(direction @ np.array(normal, np.float32))
            total = total + max(0.08, 0.1 + 0.9 * dot) * brightness
        sides.append(total * np.float32(exposure))
    return sides[0], sides[1], sides[2]


def _dust(quarter: np.ndarray, rng: np.random.Generator, air: Air, exposure: float) -> None:
    """Dust close to the head light: faint specks out of focus, in place."""
    rows, cols = quarter.shape[:2]
    for u, v, size, bright in rng.random((int(rng.poisson(160 * air.haze)), 4)):
        level = float(0.02 + 0.14 * bright**3) * min(1.0, 0.12 * air.head_power * exposure)
        spot = (float(u * cols * 4), float(v * rows * 4))
        add_glow(quarter, spot, 14 + 40 * size**4, np.full(3, level / (0.3 + size**2), np.float32))
