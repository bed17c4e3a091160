"""Draws one person of the synthetic mine from round cones and ellipsoids, with normals.

Each shape is drawn in a parallel projection along the line of sight, per pixel and with depth, so
that limbs hide each other rightly and light falls on rounded bodies. Coordinates are metres in the
view's frame: x right, y up, t towards the camera, origin between the feet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

# What a pixel belongs to.
PART_NONE, PART_BODY, PART_HEAD, PART_HELMET = 0, 1, 2, 3


Paint = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""A material for each point (x, y, z) of a unit sphere; 0 = a hole."""


@dataclass(frozen=True)
class Material:
    """Reflectance (BGR, 0 to 1), part, how much it folds, shines, and throws back a head light."""

    colour: tuple[float, float, float]
    part: int = PART_BODY
    folds: float = 0.0
    gloss: float = 0.0
    glare: float = 0.0


class Canvas:
    """Buffers of one figure; ``ident`` is the index of the material, 0 where there is nothing."""

    def __init__(
        self, rows: int, cols: int, px_per_m: float, origin_px: tuple[float, float]
    ) -> None:
        """``origin_px`` is where the point between the feet falls (column, row)."""
        self.px_per_m = px_per_m
        self.origin_px = origin_px
        self.x = ((np.arange(cols, dtype=np.float32) + 0.5 - origin_px[0]) / px_per_m)[None, :]
        self.y = ((origin_px[1] - np.arange(rows, dtype=np.float32) - 0.5) / px_per_m)[:, None]
        self.depth: np.ndarray = np.full((rows, cols), -9.0, np.float32)
        self.normal_x: np.ndarray = np.zeros((rows, cols), np.float32)
        self.normal_y: np.ndarray = np.zeros((rows, cols), np.float32)
        self.ident: np.ndarray = np.zeros((rows, cols), np.uint8)

    def crop(self, step: int) -> tuple[int, int]:
        """Cut off empty margins, by multiples of ``step``; returns the columns and rows cut."""
        x, y, wide, high = cv2.boundingRect(self.ident)
        rows, cols = self.ident.shape
        left, top = max(0, x // step - 1) * step, max(0, y // step - 1) * step
        right = min(cols, ((x + wide - 1) // step + 2) * step)
        bottom = min(rows, ((y + high - 1) // step + 2) * step)
        window = (slice(top, bottom), slice(left, right))
        self.depth, self.ident = self.depth[window], self.ident[window]
        self.normal_x, self.normal_y = self.normal_x[window], self.normal_y[window]
        return left, top

    def _window(self, x0: float, x1: float, y0: float, y1: float) -> tuple[slice, slice] | None:
        rows, cols = self.ident.shape
        left = max(0, int(self.origin_px[0] + x0 * self.px_per_m))
        right = min(cols, int(self.origin_px[0] + x1 * self.px_per_m) + 2)
        top = max(0, int(self.origin_px[1] - y1 * self.px_per_m))
        bottom = min(rows, int(self.origin_px[1] - y0 * self.px_per_m) + 2)
        if left >= right or top >= bottom:
            return None
        return slice(top, bottom), slice(left, right)

    def _put(
        self,
        window: tuple[slice, slice],
        inside: np.ndarray,
        depth: np.ndarray,
        normal: tuple[np.ndarray, np.ndarray],
        ident: np.ndarray | int,
    ) -> None:
        wins = inside & (depth > self.depth[window])
        np.copyto(self.depth[window], depth, where=wins)
        np.copyto(self.normal_x[window], normal[0], where=wins)
        np.copyto(self.normal_y[window], normal[1], where=wins)
        np.copyto(self.ident[window], np.asarray(ident, np.uint8), where=wins)

    def cone(
        self,
        start: np.ndarray,
        end: np.ndarray,
        radii: tuple[float, float],
        ident: int,
        band: tuple[float, float, int] | None = None,
    ) -> None:
        """A limb from ``start`` to ``end`` (3,) with its two radii [m].

        ``band`` = (from, to, ident): another material between two fractions of the length.
        """
        r0, r1 = radii
        window = self._window(
            min(start[0] - r0, end[0] - r1),
            max(start[0] + r0, end[0] + r1),
            min(start[1] - r0, end[1] - r1),
            max(start[1] + r0, end[1] + r1),
        )
        if window is None:
            return
        x = self.x[:, window[1]] - np.float32(start[0])
        y = self.y[window[0]] - np.float32(start[1])
        dx, dy, dt = (np.float32(v) for v in end - start)
        length2 = max(float(dx * dx + dy * dy), 1e-6)
        along = np.clip((x * dx + y * dy) / np.float32(length2), 0, 1)
        radius = np.float32(r0) + np.float32(r1 - r0) * along
        nx, ny = (x - along * dx) / radius, (y - along * dy) / radius
        rest = 1 - nx * nx - ny * ny
        inside = rest > 0
        depth = np.float32(start[2]) + along * dt + radius * np.sqrt(np.maximum(rest, 0))
        painted: np.ndarray | int = ident
        if band is not None:
            painted = np.where((along > band[0]) & (along < band[1]), band[2], ident)
        self._put(window, inside, depth, (nx, ny), painted)

    def ellipsoid(
        self,
        centre: np.ndarray,
        axes: np.ndarray,
        paint: int | Paint,
    ) -> None:
        """An ellipsoid whose half axes are the columns of ``axes`` (3,3) in the view's frame [m].

        ``paint`` is a material, or gives one for each point of the unit sphere in the ellipsoid's
        own frame (0 = hole).
        """
        reach = np.sqrt((axes**2).sum(axis=1))
        window = self._window(
            centre[0] - reach[0], centre[0] + reach[0], centre[1] - reach[1], centre[1] + reach[1]
        )
        if window is None:
            return
        inverse = np.linalg.inv(axes).astype(np.float32)
        x = self.x[:, window[1]] - np.float32(centre[0])
        y = self.y[window[0]] - np.float32(centre[1])
        sight = inverse[:, 2]
        a = float(sight @ sight)
        ox, oy, oz = (inverse[i, 0] * x + inverse[i, 1] * y for i in range(3))
        half_b = ox * sight[0] + oy * sight[1] + oz * sight[2]
        disc = half_b * half_b - np.float32(a) * (ox * ox + oy * oy + oz * oz - 1)
        inside = disc > 0
        t = (np.sqrt(np.maximum(disc, 0)) - half_b) / np.float32(a)
        sx, sy, sz = ox + t * sight[0], oy + t * sight[1], oz + t * sight[2]
        nx = inverse[0, 0] * sx + inverse[1, 0] * sy + inverse[2, 0] * sz
        ny = inverse[0, 1] * sx + inverse[1, 1] * sy + inverse[2, 1] * sz
        nt = inverse[0, 2] * sx + inverse[1, 2] * sy + inverse[2, 2] * sz
        scale = 1 / np.sqrt(nx * nx + ny * ny + nt * nt + 1e-9)
        painted: np.ndarray | int
        if callable(paint):
            painted = paint(sx, sy, sz)
            inside &= painted > 0
        else:
            painted = paint
        self._put(window, inside, np.float32(centre[2]) + t, (nx * scale, ny * scale), painted)


def shade(
    canvas: Canvas,
    materials: list[Material],
    lights: list[tuple[np.ndarray, np.ndarray]],
    ambient: np.ndarray,
    cloth: np.ndarray,
    retro: np.ndarray,
) -> np.ndarray:
    """Light the figure: (rows, cols, 3) float32 BGR, linear, zero where there is nothing.

    Args:
        canvas: The figure.
        materials: What the identities mean; entry 0 is unused.
        lights: (direction (3,), brightness (3,)) as `mine_light.light_at` gives them.
        ambient: Brightness from all around, (3,).
        cloth: Fold pattern, larger than the canvas, float32 of unit deviation.
        retro: What a reflective strip throws back to the camera, (3,).
    """
    rows, cols = canvas.ident.shape
    where = np.flatnonzero(canvas.ident)
    ident = canvas.ident.ravel()[where]
    folds = np.array([m.folds for m in materials], np.float32)[ident]
    gloss = np.array([m.gloss for m in materials], np.float32)[ident]
    glare = np.array([m.glare for m in materials], np.float32)[ident]
    colour = np.array([m.colour for m in materials], np.float32)[ident]
    here = cloth[:rows, :cols].ravel()[where]
    nx, ny = canvas.normal_x.ravel()[where], canvas.normal_y.ravel()[where]
    nt = np.sqrt(np.maximum(1 - nx * nx - ny * ny, 0))
    # The cloth's relief is as steep as its texture is coarse, whatever the scale of the picture.
    steep = folds * np.float32(0.035 * canvas.px_per_m)
    nx = nx + (cloth[:rows, 1 : cols + 1].ravel()[where] - here) * steep
    ny = ny + (cloth[1 : rows + 1, :cols].ravel()[where] - here) * steep
    norm = 1 / np.sqrt(nx * nx + ny * ny + nt * nt + 1e-6)
    normals = np.stack((nx * norm, ny * norm, nt * norm))
    ways = np.array([direction for direction, _ in lights], np.float32)
    # Half vectors between each light and the camera (0, 0, 1).
    halves = ways + np.array((0, 0, 1), np.float32)
    halves /= np.linalg.norm(halves, axis=1, keepdims=True) + 1e-6
    diffuse = np.maximum(0.88 * (ways @ normals) + 0.12, 0)
    shine = np.maximum(halves @ normals, 0)
    for _ in range(4):
        shine *= shine
    diffuse += gloss * shine
    # Creases between limbs and body are dark: surfaces seen edge-on get less of the surroundings.
    open_sky = 0.45 + 0.35 * normals[2] + 0.2 * normals[1]
    weights = np.concatenate((diffuse, open_sky[None]))
    total = weights.T @ np.array([*(b for _, b in lights), ambient], np.float32)
    grain = (1 + 0.05 * here * (folds > 0)) * _hollows(canvas).ravel()[where]
    picture = np.zeros((rows * cols, 3), np.float32)
    picture[where] = colour * total * grain[:, None]
    if glare.any():
        picture[where] += (glare * np.maximum(normals[2], 0))[:, None] * retro
    return picture.reshape(rows, cols, 3)


def _hollows(canvas: Canvas) -> np.ndarray:
    """How much of the surroundings' light gets between limbs and body, 0.45 to 1, (rows, cols)."""
    depth = np.where(canvas.ident > 0, canvas.depth, np.float32(-0.4))
    reach = max(3, round(0.05 * canvas.px_per_m)) | 1
    around = cv2.blur(depth, (reach, reach))
    dark: np.ndarray = np.clip(1.0 - 5.0 * np.maximum(around - depth, 0), 0.45, 1.0)
    return dark
