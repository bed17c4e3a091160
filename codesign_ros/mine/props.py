"""What stands on the floor of the synthetic mine: carts, crates, barrels, posts, machines."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from codesign_ros.mine.machines import paint_cone, paint_leg, paint_loader, paint_machine
from codesign_ros.mine.pipes import SHIFT, fixed
from codesign_ros.mine.props_paint import Light3, Painted, faces, fill
from codesign_ros.mine.texture import bank
from codesign_ros.mine.tunnel import HEIGHT, WIDTH, Camera, Profile


@dataclass(frozen=True)
class Prop:
    """A thing on the floor, of a kind of ``scene.PROP_KINDS``; sizes in metres."""

    kind: str
    x_m: float
    z_m: float
    width_m: float
    height_m: float
    length_m: float
    colour: tuple[float, float, float]
    seed: int


def prop_rect(prop: Prop, camera: Camera, profile: Profile) -> tuple[float, float, float, float]:
    """Rectangle of a prop's front in the picture: left, top, right, bottom [px]."""
    z = prop.z_m - camera.travel_m
    centre = float(profile.centre_at(z)) + prop.x_m
    half = prop.width_m / 2
    corners = np.array(
        ((centre - half, 0.0, z), (centre + half, prop.height_m, z)),
    )
    spots, _ = camera.project(corners)
    return spots[0, 0], spots[1, 1], spots[1, 0], spots[0, 1]


def draw_prop(
    prop: Prop, camera: Camera, profile: Profile, light: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, tuple[int, int]] | None:
    """Draw a prop.

    Args:
        prop: The prop.
        camera: Where it is seen from.
        profile: The tunnel.
        light: Brightness (3,) of its front, side and top.

    Returns:
        (colour (h,w,3) float32 linear, alpha (h,w) float32, (left, top) in the picture), or None
        when it is out of sight.
    """
    z = prop.z_m - camera.travel_m
    centre = float(profile.centre_at(z)) + prop.x_m
    half, long = prop.width_m / 2, prop.length_m
    xs, ys, zs = (centre - half, centre + half), (0.0, prop.height_m), (z, z + long)
    box = np.array([(x, y, d) for d in zs for y in ys for x in xs])
    spots, depth = camera.project(box)
    left, top = np.floor(spots.min(axis=0)).astype(int) - 2
    right, bottom = np.ceil(spots.max(axis=0)).astype(int) + 2
    if prop.kind == "cart":
        top -= int(0.3 * camera.focal_px / depth[0])
    left, top, right, bottom = max(left, 0), max(top, 0), min(right, WIDTH), min(bottom, HEIGHT)
    if right - left < 3 or bottom - top < 3 or z < 0.8:
        return None
    colour = np.zeros((bottom - top, right - left, 3), np.float32)
    alpha = np.zeros((bottom - top, right - left), np.uint8)
    spots = spots - (left, top)
    per_m = camera.focal_px / float(depth[0])
    steel = np.array(prop.colour, np.float32)
    to = Painted(colour, alpha)
    if prop.kind == "leg":
        paint_leg(to, spots, steel, light)
    elif prop.kind == "cone":
        paint_cone(to, spots, steel, light)
    elif prop.kind == "machine":
        paint_machine(to, spots, steel, light, prop.seed)
    elif prop.kind == "loader":
        paint_loader(to, spots, steel, light, prop.seed)
    else:
        painter = {"barrel": _barrel, "post": _barrel, "cart": _cart, "crate": _crate}[prop.kind]
        painter(to, spots, prop, light, per_m)
    shift = prop.seed % 400
    grain = bank().rock[prop.seed % 4][: bottom - top, shift : shift + right - left]
    grain = cv2.resize(grain, (right - left, bottom - top))
    # Paint is smoother than wood and rock.
    rough = np.float32(1.0 if prop.kind in ("crate", "cart") else 0.35)
    colour *= (1 + rough * (grain.astype(np.float32) / 180.0 - 0.65))[..., None]
    return colour, alpha.astype(np.float32) / 255.0, (left, top)


def _crate(to: Painted, spots: np.ndarray, prop: Prop, light: Light3, per_m: float) -> None:
    paint = np.array(prop.colour, np.float32)
    front, side, top = faces(spots)
    fill(to, side, paint * light[1])
    fill(to, top, paint * light[2])
    fill(to, front, paint * light[0])
    # Boards or sheet with ribs: darker joints.
    for part in np.linspace(0, 1, 2 + prop.seed % 5)[1:-1]:
        a = front[0] * (1 - part) + front[3] * part
        b = front[1] * (1 - part) + front[2] * part
        dark = tuple(float(p) for p in 0.45 * paint * light[0])
        ends = [tuple(int(v) for v in fixed(p)) for p in (a, b)]
        thick = max(1, round(0.02 * per_m))
        cv2.line(to.colour, ends[0], ends[1], dark, thick, cv2.LINE_AA, SHIFT)
    rim = tuple(float(p) for p in 1.3 * paint * light[0])
    cv2.polylines(to.colour, [fixed(front)], True, rim, max(1, round(0.025 * per_m)), 16, SHIFT)


def _barrel(to: Painted, spots: np.ndarray, prop: Prop, light: Light3, per_m: float) -> None:
    paint = np.array(prop.colour, np.float32)
    left, right = spots[0, 0], spots[1, 0]
    bottom, top = spots[0, 1], spots[2, 1]
    flat = 0.13 * (right - left) if prop.kind == "barrel" else 0.02
    strips = 14
    for i in range(strips):
        a = left + (right - left) * i / strips
        b = left + (right - left) * (i + 1) / strips
        u = (2 * i + 1) / strips - 1
        round_off = np.sqrt(max(0.0, 1 - u * u))
        shade = 0.25 + 0.75 * round_off
        drop = flat * round_off
        quad = np.array(((a, top), (b + 0.3, top), (b + 0.3, bottom + drop), (a, bottom + drop)))
        fill(to, quad, paint * light[0] * np.float32(shade))
    if prop.kind == "post":
        return
    axes = (max(1, round((right - left) * 8)), max(1, round(flat * 16)))
    lid = tuple(int(v) for v in fixed(np.array(((left + right) / 2, top))))
    lit = tuple(float(p) for p in paint * light[2] * 0.8)
    cv2.ellipse(to.colour, lid, axes, 0, 0, 360, lit, -1, cv2.LINE_AA, SHIFT)
    cv2.ellipse(to.alpha, lid, axes, 0, 0, 360, 255.0, -1, cv2.LINE_AA, SHIFT)
    for part in (0.33, 0.66):
        hoop = (lid[0], round((top + (bottom - top) * part) * 16))
        dark = tuple(float(p) for p in 0.35 * paint * light[0])
        cv2.ellipse(to.colour, hoop, axes, 0, 0, 180, dark, max(1, round(0.025 * per_m)), 16, SHIFT)


def _cart(to: Painted, spots: np.ndarray, prop: Prop, light: Light3, per_m: float) -> None:
    """A mine car: tub narrowing downwards, on wheels, heaped with rock."""
    paint = np.array(prop.colour, np.float32)
    front, side, top = faces(spots)
    rng = np.random.default_rng(prop.seed)
    heap = np.array((0.13, 0.135, 0.14), np.float32)
    ridge = np.linspace(top[0], top[1], 9)
    rise = 0.28 * per_m * np.sin(np.linspace(0.1, np.pi - 0.1, 9)) * rng.uniform(0.5, 1.0, 9)
    crest = ridge - np.stack((0 * rise, rise), axis=1)
    fill(to, np.concatenate((crest, top[2:])), heap * light[2])
    fill(to, np.concatenate((crest, ridge[::-1])), heap * light[0] * np.float32(0.8))

    def lower(face: np.ndarray, part: float, inward: float) -> np.ndarray:
        """The face cut off above the wheels and drawn in towards its foot."""
        foot = face[:2] + (face[[3, 2]] - face[:2]) * part
        middle = foot.mean(axis=0)
        return np.concatenate((middle + (foot - middle) * inward, face[2:]))

    for at in (front[0] * 0.78 + front[1] * 0.22, front[0] * 0.22 + front[1] * 0.78):
        centre = tuple(int(v) for v in fixed(at - (0, 0.13 * per_m)))
        axes = (max(1, round(0.07 * per_m * 16)), max(1, round(0.14 * per_m * 16)))
        cv2.ellipse(to.colour, centre, axes, 0, 0, 360, (0.006,) * 3, -1, cv2.LINE_AA, SHIFT)
        cv2.ellipse(to.alpha, centre, axes, 0, 0, 360, 255.0, -1, cv2.LINE_AA, SHIFT)
    fill(to, lower(side, 0.22, 0.95), paint * light[1] * np.float32(0.8))
    tub = lower(front, 0.2, 0.74)
    fill(to, tub, paint * light[0])
    edge = tuple(float(p) for p in 1.5 * paint * light[0])
    ends = [tuple(int(v) for v in fixed(p)) for p in tub[2:]]
    cv2.line(to.colour, ends[0], ends[1], edge, max(1, round(0.05 * per_m)), cv2.LINE_AA, SHIFT)
    for part in (0.2, 0.8):
        a = tub[0] * (1 - part) + tub[1] * part
        b = tub[3] * (1 - part) + tub[2] * part
        ends = [tuple(int(v) for v in fixed(p)) for p in (a, b)]
        dark = tuple(float(p) for p in 0.55 * paint * light[0])
        cv2.line(to.colour, ends[0], ends[1], dark, max(1, round(0.04 * per_m)), cv2.LINE_AA, SHIFT)
