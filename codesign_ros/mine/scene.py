"""One place of the synthetic mine: its tunnel, light, things and camera, all drawn from a seed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from codesign_ros.mine.light import COOL, NEUTRAL, WARM, Air, Lamp, Sensor
from codesign_ros.mine.optics import Optics, draw_optics
from codesign_ros.mine.pipes import Conveyor, Run
from codesign_ros.mine.props import Prop
from codesign_ros.mine.texture import Atlas, paint_atlas
from codesign_ros.mine.tunnel import Camera, Profile

PROP_KINDS = ("cart", "crate", "barrel", "post", "leg", "loader", "cone", "machine")
_PROP_SHARES = (0.14, 0.18, 0.14, 0.10, 0.14, 0.10, 0.10, 0.10)
STYLES = ("rock", "mesh", "arches", "shotcrete")


@dataclass(frozen=True)
class Scene:
    """A place without people.

    Attributes:
        brightness: the mean grey that the camera's exposure aims at.
        flicker: share of the mains' light that comes and goes.
        free_m: lateral room for people [m].
        head_px: how wide helmets come out, (low, high) [px].
        crowd: how many people there may be at most.
        optics: the camera's flaws.
        backdrop: for a place above ground what is behind everyone, linear (HEIGHT, WIDTH, 3)
            float32; None = the tunnel.
        sun: direction towards the daylight and its brightness, (3,) each; None underground.
    """

    profile: Profile
    atlas: Atlas | None
    camera: Camera
    lamps: tuple[Lamp, ...]
    air: Air
    sensor: Sensor
    runs: tuple[Run, ...]
    conveyor: Conveyor | None
    props: tuple[Prop, ...]
    brightness: float
    flicker: float
    free_m: tuple[float, float]
    head_px: tuple[float, float]
    crowd: int
    optics: Optics
    backdrop: np.ndarray | None = None
    sun: tuple[np.ndarray, np.ndarray] | None = None


def _lamps(rng: np.random.Generator, profile: Profile) -> tuple[Lamp, ...]:
    """A row of lamps along the roof or one wall; some are broken, some rows have few."""
    pitch = rng.uniform(4.0, 9.0)
    colour = (WARM, NEUTRAL, COOL)[rng.choice(3, p=(0.4, 0.4, 0.2))]
    if rng.random() < 0.5:
        x = rng.uniform(-0.4, 0.4) * profile.half_width_m
        y = profile.roof_at(x) - 0.12
    else:
        x = rng.choice((-1, 1)) * (profile.half_width_m - 0.16)
        y = profile.wall_height_m + 0.1
    power = rng.uniform(1.3, 4.0)
    kept = rng.uniform(0.35, 0.95)
    first = rng.uniform(-3.0, 5.0)
    return tuple(
        Lamp(x, y, float(z), power * rng.uniform(0.7, 1.2), colour)
        for z in np.arange(first, 44.0, pitch)
        if rng.random() < kept
    )


def _runs(rng: np.random.Generator, profile: Profile) -> tuple[Run, ...]:
    runs = []
    colours = ((58, 66, 72), (36, 44, 88), (96, 84, 44), (44, 92, 100), (30, 32, 34))
    for side in (-1, 1):
        height = rng.uniform(0.5, 0.9)
        for _ in range(int(rng.integers(0, 4))):
            radius = float(rng.choice((0.04, 0.06, 0.10, 0.15)))
            height += radius + 0.04
            if height > profile.wall_height_m + 0.15:
                break
            x = side * (profile.half_width_m - radius - 0.05)
            colour = colours[rng.integers(len(colours))]
            runs.append(Run(x, height, radius, colour, pitch_m=float(rng.choice((2.0, 3.0, 4.0)))))
            height += radius + rng.uniform(0.02, 0.2)
        sag, pitch = rng.uniform(0.03, 0.12), rng.uniform(1.0, 2.5)
        for _ in range(int(rng.integers(0, 4))):
            height += rng.uniform(0.05, 0.14)
            if height > profile.wall_height_m + 0.3:
                break
            x = side * (profile.half_width_m - 0.08)
            runs.append(Run(x, height, rng.uniform(0.012, 0.025), (14, 14, 15), sag, pitch))
    return tuple(runs)


def draw_prop_at(
    rng: np.random.Generator, free_m: tuple[float, float], roof_m: float, z_m: float
) -> Prop:
    """A thing with random looks at a distance, beside the way, under a roof of this height."""
    kind = str(rng.choice(PROP_KINDS, p=_PROP_SHARES))
    width, height, length, colour = {
        "cart": (
            rng.uniform(0.8, 1.1),
            rng.uniform(0.9, 1.2),
            rng.uniform(1.2, 2.0),
            (0.1, 0.14, 0.2),
        ),
        "crate": (
            rng.uniform(0.5, 1.1),
            rng.uniform(0.4, 1.1),
            rng.uniform(0.4, 0.9),
            (0.1, 0.17, 0.24),
        ),
        "barrel": (0.58, 0.88, 0.58, (0.3, 0.12, 0.05)),
        "post": (rng.uniform(0.16, 0.26), roof_m + 0.2, 0.2, (0.12, 0.18, 0.24)),
        "leg": (rng.uniform(0.2, 0.3), roof_m + 0.1, 0.3, (0.3, 0.32, 0.33)),
        "loader": (rng.uniform(1.3, 1.8), rng.uniform(1.4, 1.9), 2.5, (0.04, 0.42, 0.62)),
        "cone": (rng.uniform(0.3, 0.42), rng.uniform(0.5, 0.85), 0.35, (0.03, 0.16, 0.75)),
        "machine": (rng.uniform(0.7, 1.4), rng.uniform(0.8, 1.6), 1.0, (0.25, 0.3, 0.3)),
    }[kind]
    if kind in ("barrel", "crate", "loader", "machine") and rng.random() < 0.5:
        choices = (
            (0.05, 0.4, 0.5),
            (0.05, 0.06, 0.35),
            (0.2, 0.22, 0.22),
            (0.04, 0.2, 0.5),
            (0.3, 0.16, 0.06),
            (0.55, 0.55, 0.55),
        )
        colour = choices[rng.integers(len(choices))]
    room = max(0.1, (free_m[1] - free_m[0] - width) / 2)
    # Along the walls rather than in the way.
    lateral = rng.choice((-1, 1)) * room * rng.uniform(0.45, 1.0)
    x = (free_m[0] + free_m[1]) / 2 + lateral
    return Prop(kind, float(x), z_m, width, height, length, colour, int(rng.integers(1 << 20)))


def draw_scene(rng: np.random.Generator) -> Scene:
    """A place with random looks."""
    style = str(rng.choice(STYLES, p=(0.3, 0.22, 0.3, 0.18)))
    bend = float(rng.choice((-1, 1)) * rng.uniform(0.0, 0.028)) if rng.random() < 0.45 else 0.0
    profile = Profile(
        half_width_m=float(rng.uniform(1.7, 2.9)),
        wall_height_m=float(rng.uniform(1.5, 2.3)),
        roof_rise_m=float(rng.uniform(0.5, 1.6)),
        bend=bend,
    )
    rails = bool(rng.random() < 0.5)
    atlas = paint_atlas(
        rng,
        half_width_m=profile.half_width_m,
        perimeter_m=2 * profile.half_perimeter_m,
        style=style,
        rails=rails,
    )
    half = profile.half_width_m
    free_m = (-half + 0.45, half - 0.45)
    conveyor = None
    if not rails and half > 2.0 and rng.random() < 0.5:
        side = float(rng.choice((-1, 1)))
        edges = sorted((side * (half - 0.15), side * (half - 1.1)))
        conveyor = Conveyor(
            edges[0], edges[1], float(rng.uniform(0.5, 0.75)), bool(rng.random() < 0.75)
        )
        free_m = (free_m[0], half - 1.5) if side > 0 else (-half + 1.5, free_m[1])
    high = rng.random() < 0.3
    near = rng.random() < 0.4
    camera = Camera(
        x_m=float(rng.uniform(0.75 * free_m[0], 0.75 * free_m[1])),
        y_m=float(
            rng.uniform(1.6, profile.wall_height_m + 0.25) if high else rng.uniform(0.8, 1.6)
        ),
        yaw=float(rng.normal(0, 0.07) + 4.5 * bend),
        pitch=float(rng.uniform(0.08, 0.2) if high else rng.normal(0.0, 0.04)),
        focal_px=float(rng.uniform(410, 470) if rng.random() < 0.7 else rng.uniform(330, 700)),
    )
    if near:  # people close up: the camera looks them in the face
        camera = replace(
            camera, y_m=float(rng.uniform(1.2, 1.8)), pitch=float(rng.normal(-0.03, 0.06))
        )
    lamps = _lamps(rng, profile) if rng.random() < 0.88 else ()
    air = Air(
        haze=float(rng.uniform(0.005, 0.03) if rng.random() < 0.7 else rng.uniform(0.03, 0.08)),
        head_power=float(rng.uniform(2.0, 7.0) if lamps else rng.uniform(6.0, 12.0)),
        head_colour=COOL if rng.random() < 0.5 else NEUTRAL,
        ambient=float(rng.uniform(0.01, 0.035)),
    )
    sensor = Sensor(
        noise=float(rng.uniform(1.5, 5.0)),
        saturation=float(rng.uniform(0.5, 1.0)),
        vignette=float(rng.uniform(0.15, 0.6)),
        lift=float(rng.uniform(-4.0, 6.0)),
        shake_px=(float(rng.normal(0, 1.4)), float(rng.normal(0, 0.6)))
        if rng.random() < 0.3
        else (0.0, 0.0),
        soft_px=float(rng.uniform(0.3, 0.8)),
    )
    return Scene(
        profile=profile,
        atlas=atlas,
        camera=camera,
        lamps=lamps,
        air=air,
        sensor=sensor,
        runs=_runs(rng, profile),
        conveyor=conveyor,
        props=tuple(
            draw_prop_at(rng, free_m, profile.wall_height_m, float(rng.uniform(2.6, 13.0)))
            for _ in range(int(rng.choice(5, p=(0.25, 0.3, 0.25, 0.12, 0.08))))
        ),
        brightness=float(rng.uniform(0.20, 0.35)),
        flicker=float(rng.uniform(0.0, 0.12) if rng.random() < 0.7 else rng.uniform(0.2, 0.5)),
        free_m=free_m,
        head_px=(22.0, 150.0) if near else (8.0, 40.0),
        crowd=8 if rng.random() < 0.12 else 4,
        optics=draw_optics(rng),
    )
