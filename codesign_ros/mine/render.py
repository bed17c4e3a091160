"""Renders a scene of the synthetic mine with its people, and finds the boxes that can be seen."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from codesign_ros.mine.figure import PART_HEAD, PART_HELMET
from codesign_ros.mine.light import (
    Air,
    Lamp,
    add_glow,
    develop,
    draw_fixtures,
    light_at,
    shine,
    veil,
    vignette,
)
from codesign_ros.mine.people import Person
from codesign_ros.mine.pipes import draw_conveyor, draw_run
from codesign_ros.mine.props import Prop, draw_prop
from codesign_ros.mine.scene import Scene
from codesign_ros.mine.sprite import Sprite, cap_lamps, draw_sprite
from codesign_ros.mine.tunnel import (
    HEIGHT,
    WIDTH,
    Camera,
    Surface,
    paint,
    trace,
)
from codesign_ros.types import Box, GroundTruth

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


def _shadows(quarter: np.ndarray, spots: list[tuple[float, float, float, float]]) -> None:
    """Darken the ground under (x, y, half width, strength) [px of the full picture], in place."""
    mask = np.zeros(quarter.shape[:2], np.float32)
    for x, y, half, strength in spots:
        centre = (round(x * 4), round(y * 4))
        axes = (max(8, round(half * 4)), max(4, round(half * 1.3)))
        cv2.ellipse(mask, centre, axes, 0, 0, 360, strength, -1, cv2.LINE_AA, 4)
    quarter *= (1 - cv2.GaussianBlur(mask, (0, 0), 1.3))[..., None]


def _expose(light: np.ndarray, scatter: np.ndarray, target: float) -> float:
    """The exposure that brings the mean grey (after gamma) of the empty scene to ``target``."""
    mean = float(cv2.sqrt(0.33 * light[::2, ::2, 1] + scatter[::2, ::2, 1]).mean())
    return float(np.clip((target / max(mean, 1e-4)) ** 2, 0.05, 40.0))


class _Composer:
    """The picture while things are laid into it from far to near."""

    def __init__(self, picture: np.ndarray, surface: Surface, bend: float) -> None:
        self.picture = picture
        self.surface_z = surface.point[2] if bend else None
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
    composer: _Composer, seen: list[tuple[Person, Sprite, tuple[slice, slice], int]]
) -> tuple[GroundTruth, bool]:
    """Boxes of what is still visible of each person."""
    boxes = []
    ambiguous = False
    for person, sprite, window, owner in seen:
        mine = composer.owner[window] == owner
        part = composer.part[window]
        label = "head" if person.helmet is None else "helmet"
        wanted = PART_HEAD if person.helmet is None else PART_HELMET
        offset = (window[1].start, window[0].start)
        person_box = _box("person", mine, int((sprite.part > 0).sum()), offset)
        top_box = _box(label, mine & (part == wanted), int((sprite.part == wanted).sum()), offset)
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
    """
    camera = replace(scene.camera, travel_m=travel_m, yaw=scene.camera.yaw + sway)
    air = scene.air
    mains = [replace(lamp, power=lamp.power * power) for lamp in scene.lamps]
    lamps = mains + cap_lamps(people, camera)
    surface = trace(camera, scene.profile, scene.atlas)
    albedo = paint(surface, scene.atlas)
    if scene.conveyor is not None:
        draw_conveyor(albedo, scene.conveyor, camera, scene.profile, 3.0 * travel_m)
    for run in scene.runs:
        draw_run(albedo, run, camera, scene.profile)
    light, scatter = shine(surface, camera, lamps, air)
    if exposure is None:
        exposure = _expose(light, scatter, scene.brightness)
    things: list[Person | Prop] = [*people, *scene.props]
    things.sort(key=lambda thing: -thing.z_m)
    shadows = []
    for thing in things:
        z = thing.z_m - travel_m
        if z > 1.2:
            at = float(scene.profile.centre_at(z)) + thing.x_m
            spot, depth = camera.project(np.array([[at, 0.0, z + 0.15]]))
            half = 0.34 if isinstance(thing, Person) else 0.62 * thing.width_m
            half_px = half * camera.focal_px / float(depth[0])
            shadows.append((float(spot[0, 0]), float(spot[0, 1]), half_px, 0.55))
    _shadows(light, shadows)
    for lamp in mains:
        z = lamp.z_m - travel_m
        if 1.5 < z < 42:
            at = float(scene.profile.centre_at(z)) + lamp.x_m
            spot, depth = camera.project(np.array([[at, lamp.y_m, z]]))
            strength = lamp.power * (0.5 + 9 * air.haze) / (1.0 + 0.02 * z * z) / np.sqrt(exposure)
            radius = min(
                520.0, 2.2 * camera.focal_px / float(depth[0]) * (0.6 + 12 * air.haze) + 24
            )
            add_glow(scatter, (spot[0, 0], spot[0, 1]), radius, strength * lamp.colour)
    corner = vignette(scene.sensor.vignette)
    size = (WIDTH, HEIGHT)
    factor = cv2.resize(light * (corner * np.float32(exposure / 255)), size)
    picture: np.ndarray = cv2.multiply(albedo, factor, dtype=cv2.CV_32F)
    picture += cv2.resize(scatter * (corner * np.float32(exposure)), size)
    draw_fixtures(picture, mains, camera, scene.profile, exposure)
    composer = _Composer(picture, surface, scene.profile.bend)
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
    truth, ambiguous = _boxes(composer, seen)
    _dust(glare, rng, air, exposure)
    if glare.any():
        picture += cv2.resize(glare, size)
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
