"""Places people in a scene of the synthetic mine so that the class of the frame is not in doubt."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from codesign_ros.mine.figures.pose import joints
from codesign_ros.mine.people import Person, draw_person
from codesign_ros.mine.props import prop_rect
from codesign_ros.mine.scene import Scene
from codesign_ros.mine.sprite import NEAREST_M
from codesign_ros.mine.tunnel import HEIGHT, WIDTH

HELMET_WIDTH_M = 0.272
"""Width of a helmet's brim [m]."""
_TRIES = 25
# Haze thickness (haze times distance) beyond which a head cannot be judged.
_SIGHT = 0.75
# How often a shot is checked for hidden heads [s].
_LOOK_EVERY_S = 0.15

Rect = tuple[float, float, float, float]


def _rects(scene: Scene, person: Person, travel_m: float) -> tuple[Rect, Rect, float] | None:
    """Rectangles (left, top, right, bottom) of head and body [px] and distance [m].

    None when the head is not in the picture or behind a bend.
    """
    z = person.z_m - travel_m
    low, high = (HELMET_WIDTH_M * scene.camera.focal_px / px for px in scene.head_px[::-1])
    if not max(low, NEAREST_M) <= z <= min(high, _SIGHT / scene.air.haze):
        return None
    camera = replace(scene.camera, travel_m=travel_m)
    centre = float(scene.profile.centre_at(z)) + person.x_m
    outline = joints(person).outline(person.facing)
    head_x, head_y = centre + float(outline[0, 0]), float(outline[0, 1])
    spots, depth = camera.project(np.array(((head_x, head_y, z), (centre, 0.0, z))))
    per_m = camera.focal_px / float(depth[0])
    x, y = float(spots[0, 0]), float(spots[0, 1])
    size = 0.15 * per_m
    # At the picture's edge a part of the head may be cut off, not most of it.
    if not (0.25 * size < x < WIDTH - 0.25 * size and 0.4 * size < y < HEIGHT - 0.6 * size):
        return None
    steps = np.linspace(0.15, 0.95, 9)
    ray_x = camera.x_m + (centre - camera.x_m) * steps
    if np.any(
        np.abs(ray_x - scene.profile.centre_at(z * steps)) > scene.profile.half_width_m - 0.12
    ):
        return None
    head = (x - size, y - size, x + size, y + size)
    left, right = (centre + float(v) for v in (outline[:, 0].min(), outline[:, 0].max()))
    offset = x - head_x * per_m
    body = (
        offset + (left - 0.15) * per_m,
        y - size,
        offset + (right + 0.15) * per_m,
        float(spots[1, 1]),
    )
    return head, body, z


def _covered(inner: Rect, outer: Rect) -> float:
    """Share of ``inner`` that ``outer`` covers."""
    wide = max(0.0, min(inner[2], outer[2]) - max(inner[0], outer[0]))
    high = max(0.0, min(inner[3], outer[3]) - max(inner[1], outer[1]))
    return wide * high / ((inner[2] - inner[0]) * (inner[3] - inner[1]))


def _high(rect: Rect) -> float:
    return rect[3] - rect[1]


def _fits(
    scene: Scene, person: Person, others: list[Person], times: list[tuple[float, float]]
) -> bool:
    """Whether a person's head, and those of the others, stay visible at all (time, travel)."""
    for seconds, travel_m in times:
        now = person.after(seconds)
        if not scene.free_m[0] <= now.x_m <= scene.free_m[1]:
            return False
        mine = _rects(scene, now, travel_m)
        if mine is None:
            return False
        camera = replace(scene.camera, travel_m=travel_m)
        for prop in scene.props:
            reach = 0.3 + prop.width_m / 2
            if abs(prop.x_m - now.x_m) < reach and (
                -0.35 < now.z_m - prop.z_m < prop.length_m + 0.35
            ):
                return False
            hidden = prop.z_m - travel_m < mine[2]
            if not hidden:
                continue
            rect = prop_rect(prop, camera, scene.profile)
            if _covered(mine[0], rect) > 0.2:
                return False
            # Who shows but for the feet seems to stand on what hides them.
            if _covered(mine[1], rect) > 0.02 and rect[1] > mine[1][3] - 0.4 * _high(mine[1]):
                return False
        for other in others:
            then = other.after(seconds)
            if np.hypot(then.x_m - now.x_m, then.z_m - now.z_m) < 0.5:
                return False
            theirs = _rects(scene, then, travel_m)
            if theirs is None:
                return False
            near, far = (mine, theirs) if mine[2] < theirs[2] else (theirs, mine)
            if _covered(far[0], near[1]) > 0.35:
                return False
    return True


def _placed(
    rng: np.random.Generator,
    scene: Scene,
    person: Person,
    others: list[Person],
    times: list[tuple[float, float]],
) -> Person | None:
    """The person at a random place where all heads stay visible, or None."""
    for _ in range(_TRIES):
        size_px = float(np.exp(rng.uniform(*np.log(scene.head_px))))
        pace = float(rng.uniform(0.5, 1.3)) if person.pose == "walk" else 0.0
        facing = person.facing
        if person.pose == "walk":
            # Mostly along the tunnel, either way.
            facing = float(rng.choice((0.0, np.pi)) + rng.normal(0, 0.35))
        z_m = HELMET_WIDTH_M * scene.camera.focal_px / size_px
        # Where the camera looks, as far as there is room.
        middle = scene.camera.x_m + z_m * np.tan(scene.camera.yaw)
        half = 1.1 * z_m * WIDTH / 2 / scene.camera.focal_px
        left, right = max(scene.free_m[0], middle - half), min(scene.free_m[1], middle + half)
        if scene.profile.bend or left >= right:
            left, right = scene.free_m
        tried = replace(
            person,
            x_m=float(rng.uniform(left, right)),
            z_m=z_m,
            facing=facing,
            speed=(pace * float(np.sin(facing)), -pace * float(np.cos(facing))),
        )
        if _fits(scene, tried, others, times):
            return tried
    return None


def place_people(
    rng: np.random.Generator, scene: Scene, label: str, *, seconds: float, drive_mps: float
) -> list[Person] | None:
    """People that make a frame (or a shot of some ``seconds``) of class ``label``.

    Args:
        rng: Where all choices come from.
        scene: The place.
        label: ``empty``, ``helmets`` or ``bare-headed``.
        seconds: How long the shot is [s]; 0 for a single frame.
        drive_mps: The camera's speed along the tunnel [m/s].

    Returns:
        The people, or None when the scene has no room for the one who matters.
    """
    if label == "empty":
        return []
    if scene.crowd > 4:
        count = int(rng.integers(4, scene.crowd + 1))
    else:
        count = int(rng.choice((1, 2, 3, 4), p=(0.4, 0.3, 0.2, 0.1)))
    bare = int(rng.integers(1, count + 1)) if label == "bare-headed" else 0
    if bare > 1 and rng.random() < 0.5:
        bare = 1
    times = [
        (t, t * drive_mps)
        for t in np.arange(0.0, seconds + _LOOK_EVERY_S / 2, _LOOK_EVERY_S).tolist()
    ]
    people: list[Person] = []
    for number in range(count):
        person = draw_person(rng, helmet=number >= bare, lamps=scene.sun is None)
        placed = _placed(rng, scene, person, people, times)
        if placed is None:
            if number == 0:
                return None
            continue
        people.append(placed)
    return people
