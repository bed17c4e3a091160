"""A place above ground, by day or in a hall: workers in front of buildings, sky and clutter.

A detector that has seen galleries alone takes bright pictures for nothing it knows; cameras at
portals, yards and workshops send them.
"""

from __future__ import annotations

import cv2
import numpy as np

from codesign_ros.mine.gallery import Shadow, darken
from codesign_ros.mine.light import COOL, Air, Sensor
from codesign_ros.mine.optics import draw_optics
from codesign_ros.mine.scene import Scene, draw_prop_at
from codesign_ros.mine.texture import bank
from codesign_ros.mine.tunnel import HEIGHT, WIDTH, Camera, Profile

# Grey levels (B, G, R) of what is built, grown and painted.
_BUILT = ((150, 155, 160), (120, 140, 165), (90, 105, 150), (185, 190, 195), (105, 110, 112),
          (140, 170, 190), (80, 90, 95), (60, 80, 130))  # fmt: skip
_PAINTED = ((20, 190, 235), (190, 90, 30), (40, 40, 190), (30, 120, 235), (225, 228, 230),
            (70, 140, 60), (25, 25, 28), (200, 170, 60))  # fmt: skip
_SKIES = ((235, 215, 190), (225, 225, 225), (230, 180, 120), (190, 190, 195), (200, 215, 240))
_GROUNDS = ((120, 145, 165), (110, 125, 140), (130, 132, 135), (80, 105, 130), (90, 130, 120))


def draw_site_picture(backdrop: np.ndarray, shadows: list[Shadow]) -> np.ndarray:
    """The linear picture of a place above ground with shadows on it."""
    shade = np.ones((HEIGHT // 4, WIDTH // 4, 1), np.float32)
    darken(shade, shadows)
    shaded: np.ndarray = backdrop * cv2.resize(shade, (WIDTH, HEIGHT))[..., None]
    return shaded


def draw_site(rng: np.random.Generator) -> Scene:
    """A place above ground with random looks."""
    near = rng.random() < 0.7
    high = rng.random() < 0.25
    y_m = float(rng.uniform(2.0, 4.0) if high else rng.uniform(0.9, 1.9))
    far_m = (3.0 if near else 8.0) + 2.0 * max(0.0, y_m - 1.6)
    camera = Camera(
        x_m=0.0,
        y_m=y_m,
        yaw=0.0,
        pitch=float(np.arctan2(y_m - 1.35, far_m) + rng.normal(0, 0.09)),
        focal_px=float(rng.uniform(420, 900)),
    )
    indoors = rng.random() < 0.25
    optics = draw_optics(rng)
    # Straight before, beside or behind the camera; clouds and halls have no hard light.
    hard = 0.0 if indoors or rng.random() < 0.35 else float(rng.uniform(0.4, 1.3))
    way = np.array((rng.normal(0, 1.0), rng.uniform(0.4, 1.6), rng.normal(0.5, 0.8)), np.float32)
    warm = np.array((rng.uniform(0.7, 1.05), 0.95, 1.0), np.float32)
    sky = float(rng.uniform(0.35, 0.8) if hard else rng.uniform(0.5, 1.0))
    backdrop = _backdrop(rng, camera, indoors)
    return Scene(
        profile=Profile(half_width_m=9.0, wall_height_m=2.2, roof_rise_m=1.0, bend=0.0),
        atlas=None,
        camera=camera,
        lamps=(),
        air=Air(haze=0.002, head_power=0.0, head_colour=COOL, ambient=sky),
        sensor=Sensor(
            noise=float(rng.uniform(0.5, 3.5)),
            saturation=float(rng.uniform(0.6, 1.0)),
            vignette=0.0,
            lift=float(rng.uniform(-6.0, 10.0)),
            soft_px=float(rng.uniform(0.3, 1.0)),
        ),
        runs=(),
        conveyor=None,
        props=tuple(
            draw_prop_at(rng, (-3.5, 3.5), 2.2, float(rng.uniform(2.0, 12.0)))
            for _ in range(int(rng.choice(4, p=(0.4, 0.3, 0.2, 0.1))))
        ),
        brightness=0.5,
        flicker=0.0,
        free_m=(-6.0, 6.0),
        head_px=(20.0, 130.0) if near else (9.0, 50.0),
        crowd=10 if rng.random() < 0.2 else 4,
        optics=optics,
        backdrop=backdrop,
        sun=(way / np.linalg.norm(way), hard * warm),
    )


def _textured(
    rng: np.random.Generator, colour: np.ndarray, rows: int, cols: int, contrast: float
) -> np.ndarray:
    """A surface of this colour with grain of a random scale, uint8 (rows, cols, 3)."""
    kind = (bank().rock, bank().gravel, bank().smooth)[rng.integers(3)][rng.integers(4)]
    scale = float(np.exp(rng.uniform(-1.2, 1.2)))
    high, wide = (
        min(max(2, int(side * scale)), limit) for side, limit in ((rows, 500), (cols, 900))
    )
    top, left = int(rng.integers(500)), int(rng.integers(1000 - wide))
    grain = cv2.resize(kind[top : top + high, left : left + wide], (cols, rows))
    level = 1 + contrast * (grain.astype(np.float32) - 118) / 118
    found: np.ndarray = np.clip(level[..., None] * colour, 0, 255).astype(np.uint8)
    return found


def _backdrop(rng: np.random.Generator, camera: Camera, indoors: bool) -> np.ndarray:
    """What is behind everyone, linear (HEIGHT, WIDTH, 3) float32."""
    horizon = int(np.clip(HEIGHT / 2 - camera.focal_px * np.tan(camera.pitch), -60, HEIGHT - 20))
    picture: np.ndarray = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    if indoors or rng.random() < 0.3:
        wall = np.array(_BUILT[rng.integers(len(_BUILT))], np.float32)
        picture[:] = _textured(rng, wall, HEIGHT, WIDTH, rng.uniform(0.05, 0.5))
    else:
        top = np.array(_SKIES[rng.integers(len(_SKIES))], np.float32)
        ramp = np.linspace(rng.uniform(0.6, 1.0), 1.1, HEIGHT, dtype=np.float32)[:, None, None]
        clouds = _textured(rng, top, HEIGHT, WIDTH, rng.uniform(0.0, 0.25))
        picture[:] = np.clip(clouds * ramp, 0, 255).astype(np.uint8)
    for _ in range(int(rng.integers(3, 16))):
        _DRAWERS[rng.integers(len(_DRAWERS))](picture, rng, max(horizon, 30))
    _ground(picture, rng, camera, horizon)
    for _ in range(int(rng.integers(0, 12))):
        _clutter(picture, rng, horizon)
    if rng.random() < 0.5:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.5, 2.5))
    linear: np.ndarray = picture.astype(np.float32) / 255
    linear *= linear
    return linear * np.float32(rng.uniform(0.5, 1.25))


def _ground(picture: np.ndarray, rng: np.random.Generator, camera: Camera, horizon: int) -> None:
    """The floor in perspective below the horizon, in place."""
    first = max(horizon + 2, 0)
    if first >= HEIGHT - 2:
        return
    rows = np.arange(first, HEIGHT, dtype=np.float32)
    ahead = camera.y_m * camera.focal_px / np.maximum(rows - horizon, 1.0)
    aside = (np.arange(WIDTH, dtype=np.float32) - WIDTH / 2) / camera.focal_px
    scale = np.float32(rng.uniform(40, 130))
    texture = (bank().gravel, bank().rock, bank().smooth)[rng.integers(3)][rng.integers(4)][:512]
    u = (aside[None, :] * ahead[:, None] * scale) % 1023
    v = np.repeat((ahead * scale)[:, None] % 511, WIDTH, axis=1)
    grain = cv2.remap(texture, u, v.astype(np.float32), cv2.INTER_LINEAR).astype(np.float32)
    contrast = (rng.uniform(0.2, 0.8) * np.minimum(1, 9 / ahead))[:, None]
    colour = np.array(_GROUNDS[rng.integers(len(_GROUNDS))], np.float32) * rng.uniform(0.6, 1.3)
    level = 1 + contrast * (grain - 118) / 118
    picture[first:] = np.clip(level[..., None] * colour.astype(np.float32), 0, 255)


def _some(rng: np.random.Generator, colours: tuple) -> np.ndarray:
    base = np.array(colours[rng.integers(len(colours))], np.float32)
    return np.clip(base * rng.uniform(0.45, 1.2) + rng.normal(0, 8, 3), 4, 252)


def _building(picture: np.ndarray, rng: np.random.Generator, horizon: int) -> None:
    wide, high = int(rng.uniform(60, 420)), int(rng.uniform(0.3, 1.1) * horizon) + 20
    x, y = int(rng.uniform(-80, WIDTH - 20)), horizon - high + int(rng.uniform(0, 30))
    _lay(picture, _textured(rng, _some(rng, _BUILT), high, wide, rng.uniform(0.05, 0.3)), x, y)
    pane = tuple(float(c) for c in _some(rng, (*_BUILT, (40, 36, 34), (30, 30, 30))))
    step_x, step_y = int(rng.uniform(18, 60)), int(rng.uniform(18, 60))
    for left in range(x + 6, x + wide - 8, step_x):
        for top in range(y + 6, y + high - 8, step_y):
            corner = (left + int(0.6 * step_x), top + int(0.55 * step_y))
            cv2.rectangle(picture, (left, top), corner, pane, -1)


def _scaffold(picture: np.ndarray, rng: np.random.Generator, horizon: int) -> None:
    x, wide = int(rng.uniform(-50, WIDTH)), int(rng.uniform(80, 400))
    step, thick = int(rng.uniform(25, 90)), int(rng.integers(1, 6))
    colour = tuple(float(c) for c in _some(rng, (*_PAINTED, (120, 125, 130))))
    for left in range(x, x + wide, step):
        cv2.line(picture, (left, 0), (left, HEIGHT), colour, thick, cv2.LINE_AA)
    for top in range(int(rng.uniform(0, 40)), max(horizon, HEIGHT // 2), step):
        cv2.line(picture, (x, top), (x + wide, top), colour, thick, cv2.LINE_AA)
    if rng.random() < 0.5:
        for left in range(x, x + wide, step):
            cv2.line(picture, (left, 0), (left + horizon, horizon), colour, 1, cv2.LINE_AA)


def _container(picture: np.ndarray, rng: np.random.Generator, horizon: int) -> None:
    wide, high = int(rng.uniform(80, 380)), int(rng.uniform(40, 180))
    x, y = int(rng.uniform(-60, WIDTH - 20)), horizon - high + int(rng.uniform(5, 60))
    colour = _some(rng, _PAINTED)
    sheet = _textured(rng, colour, high, wide, 0.1).astype(np.float32)
    ribs = 1 + 0.18 * np.sign(np.sin(np.arange(wide) * 2 * np.pi / rng.uniform(6, 20)))
    _lay(picture, np.clip(sheet * ribs[None, :, None], 0, 255).astype(np.uint8), x, y)


def _heap(picture: np.ndarray, rng: np.random.Generator, horizon: int) -> None:
    """Earth, gravel or leaves: a textured hump."""
    green = ((40, 95, 60), (60, 120, 90), (30, 70, 50))
    wide, high = int(rng.uniform(60, 350)), int(rng.uniform(30, 220))
    x, y = int(rng.uniform(-80, WIDTH - 20)), horizon - high + int(rng.uniform(0, 40))
    skin = _textured(rng, _some(rng, (*_GROUNDS, *green)), high, wide, rng.uniform(0.4, 1.0))
    mask = np.zeros((high, wide), np.uint8)
    for _ in range(6):
        centre = (int(rng.uniform(0.2, 0.8) * wide), int(rng.uniform(0.4, 1.0) * high))
        axes = (int(rng.uniform(0.15, 0.4) * wide), int(rng.uniform(0.2, 0.5) * high))
        cv2.ellipse(mask, centre, axes, 0, 0, 360, 255, -1)
    _lay(picture, skin, x, y, mask)


def _steel(picture: np.ndarray, rng: np.random.Generator, horizon: int) -> None:
    """Beams, masts, cables, reinforcement."""
    colour = tuple(float(c) for c in _some(rng, (*_PAINTED, *_BUILT)))
    thick = int(rng.integers(1, 16))
    x, y = rng.uniform(0, WIDTH), rng.uniform(0, HEIGHT)
    for _ in range(int(rng.integers(1, 12))):
        ends = rng.normal(0, 200, 2) if rng.random() < 0.3 else np.array((0, HEIGHT))
        cv2.line(picture, (int(x), int(y)), (int(x + ends[0]), int(y + ends[1])), colour, thick,
                 cv2.LINE_AA)  # fmt: skip
        x, y = x + rng.normal(0, 60), y + rng.normal(0, 30)


def _clutter(picture: np.ndarray, rng: np.random.Generator, horizon: int) -> None:
    """Round and edged things in the colours of helmets and vests, and other colours."""
    colour = _some(rng, (*_PAINTED, *_BUILT))
    x, y = int(rng.uniform(0, WIDTH)), int(rng.uniform(0.3 * horizon, HEIGHT))
    w, h = (int(np.exp(rng.uniform(1.8, 4.6))) for _ in range(2))
    skin = _textured(rng, colour, h, w, 0.2).astype(np.float32)
    # Lit from one side, as solids are.
    skin *= np.linspace(rng.uniform(0.4, 1.2), rng.uniform(0.4, 1.2), w)[None, :, None]
    mask = np.full((h, w), 255, np.uint8)
    shape = rng.random()
    if shape < 0.3:
        mask[:] = 0
        cv2.ellipse(mask, (w // 2, h // 2), (w // 2, h // 2), 0, 0, 360, 255, -1)
    elif shape < 0.5:
        mask[:] = 0
        points = (rng.random((4, 2)) * (w, h)).astype(np.int32)
        cv2.fillPoly(mask, [cv2.convexHull(points)], 255)
    _lay(picture, np.clip(skin, 0, 255).astype(np.uint8), x - w // 2, y - h // 2, mask)


def _lay(
    picture: np.ndarray, thing: np.ndarray, x: int, y: int, mask: np.ndarray | None = None
) -> None:
    """Lay a picture into another at (x, y), cut off at the edges, in place."""
    rows, cols = thing.shape[:2]
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + cols, WIDTH), min(y + rows, HEIGHT)
    if x0 >= x1 or y0 >= y1:
        return
    inner = (slice(y0 - y, y1 - y), slice(x0 - x, x1 - x))
    if mask is None:
        picture[y0:y1, x0:x1] = thing[inner]
    else:
        np.copyto(picture[y0:y1, x0:x1], thing[inner], where=(mask[inner] > 127)[..., None])


_DRAWERS = (_building, _scaffold, _container, _heap, _steel, _heap, _building)
