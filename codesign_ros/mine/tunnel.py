"""Camera and tunnel of the synthetic mine: which point of the rock each pixel sees.

The tunnel has an arched profile (upright walls under half an ellipse) drawn along a gently curved
line. Coordinates are metres in the camera's frame of travel: x right, y up from the floor, z along
the tunnel from the camera; the centre line lies at ``x = bend * z**2 / 2``.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from codesign_ros.mine.texture import ATLAS_COLS, ATLAS_ROWS, ROWS_PER_M, Atlas

WIDTH = 640
HEIGHT = 400
FAR_M = 45.0


@dataclass(frozen=True)
class Camera:
    """A pinhole camera at (x_m, y_m, 0), ``yaw`` to the right and ``pitch`` down [rad].

    ``travel_m`` is how far it has driven along the tunnel, ``focal_px`` its focal length [px].
    """

    x_m: float
    y_m: float
    yaw: float
    pitch: float
    focal_px: float
    travel_m: float = 0.0

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points (n,3) [m] -> pixels (n,2) and depths (n,) [m] (at least 0.2)."""
        dx, dy, dz = points[:, 0] - self.x_m, points[:, 1] - self.y_m, points[:, 2]
        cos_yaw, sin_yaw = np.cos(self.yaw), np.sin(self.yaw)
        cos_pitch, sin_pitch = np.cos(self.pitch), np.sin(self.pitch)
        right = dx * cos_yaw - dz * sin_yaw
        ahead = dx * sin_yaw + dz * cos_yaw
        up = dy * cos_pitch + ahead * sin_pitch
        depth = np.maximum(ahead * cos_pitch - dy * sin_pitch, 0.2)
        pixels = np.stack(
            (
                WIDTH / 2 + self.focal_px * right / depth,
                HEIGHT / 2 - self.focal_px * up / depth,
            ),
            axis=1,
        )
        return pixels, depth

    def slopes(self, scale: int) -> tuple[np.ndarray, np.ndarray]:
        """dx/dz and dy/dz of the ray of each pixel of an image ``scale`` times smaller."""
        u = ((np.arange(WIDTH // scale, dtype=np.float32) + 0.5) * scale - WIDTH / 2)[None, :]
        v = ((np.arange(HEIGHT // scale, dtype=np.float32) + 0.5) * scale - HEIGHT / 2)[:, None]
        right, up = u / self.focal_px, -v / self.focal_px
        cos_yaw, sin_yaw = np.float32(np.cos(self.yaw)), np.float32(np.sin(self.yaw))
        cos_pitch, sin_pitch = np.float32(np.cos(self.pitch)), np.float32(np.sin(self.pitch))
        dy = up * cos_pitch - sin_pitch
        ahead = up * sin_pitch + cos_pitch
        dz = ahead * cos_yaw - right * sin_yaw
        return (right * cos_yaw + ahead * sin_yaw) / dz, dy / dz


@dataclass(frozen=True)
class Profile:
    """Cross-section [m]: walls at +-half_width up to wall_height, then half an ellipse."""

    half_width_m: float
    wall_height_m: float
    roof_rise_m: float
    bend: float

    @property
    def half_perimeter_m(self) -> float:
        """From the middle of the floor around to the crown [m]."""
        arc = np.pi / 4 * (self.half_width_m + self.roof_rise_m)
        return self.half_width_m + self.wall_height_m + float(arc)

    def roof_at(self, x_m: float) -> float:
        """Height of the roof above a lateral position [m]."""
        inside = max(0.0, 1.0 - (x_m / self.half_width_m) ** 2)
        return self.wall_height_m + self.roof_rise_m * float(np.sqrt(inside))

    def centre_at(self, z_m: np.ndarray | float) -> np.ndarray | float:
        """Lateral position of the centre line [m]."""
        return 0.5 * self.bend * np.square(z_m)


@dataclass(frozen=True)
class Surface:
    """What the rays hit, float32.

    Attributes:
        point: (x, y, z) relative to the centre line [m]; half the image's size.
        normal: (x, y, z), unit; a quarter of the image's size.
        row: position along the atlas [atlas pixels]; half size.
        col: position around the atlas [atlas pixels]; half size.
        wet: how much the place mirrors, 0 to 1; quarter size.
    """

    point: tuple[np.ndarray, np.ndarray, np.ndarray]
    normal: tuple[np.ndarray, np.ndarray, np.ndarray]
    row: np.ndarray
    col: np.ndarray
    wet: np.ndarray


def _hit(
    camera: Camera, profile: Profile, slope: tuple[np.ndarray, np.ndarray], stand_back: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distance z to the surface, and where it is a wall and where a roof (bool)."""
    a, b = slope
    cx, cy = np.float32(camera.x_m), np.float32(camera.y_m)
    half = np.float32(profile.half_width_m) + stand_back
    rise = np.float32(profile.roof_rise_m) + stand_back
    base = cy - np.float32(profile.wall_height_m)
    safe_a = np.where(np.abs(a) < 1e-4, np.float32(1e-4), a)
    z_wall = (np.copysign(half, a) - cx) / safe_a
    inv_half2, inv_rise2 = 1 / (half * half), 1 / (rise * rise)
    qa = a * a * inv_half2 + b * b * inv_rise2
    qb = a * cx * inv_half2 + b * base * inv_rise2
    qc = cx * cx * inv_half2 + base * base * inv_rise2 - 1
    z_roof = (-qb + np.sqrt(np.maximum(qb * qb - qa * qc, 0))) / np.maximum(qa, 1e-6)
    roof = base + b * z_wall > 0
    z = np.where(roof, z_roof, z_wall)
    z_floor = (cy + 0.3 * stand_back) / np.maximum(-b, 1e-4)
    wall_or_roof = z < z_floor
    z = np.clip(np.minimum(z, z_floor), 0.3, FAR_M)
    return z, wall_or_roof & ~roof, wall_or_roof & roof


def trace(camera: Camera, profile: Profile, atlas: Atlas) -> Surface:
    """Find the surface that each ray of a half-size image meets."""
    a, b = camera.slopes(4)
    bent, stand_back = _settle(camera, profile, atlas, (a, b))
    a2, b2 = camera.slopes(2)
    size = (a2.shape[-1], b2.shape[0])
    stand_back = cv2.resize(stand_back, size)
    a2 = np.broadcast_to(a2, stand_back.shape)
    b2 = np.broadcast_to(b2, stand_back.shape)
    if profile.bend:
        a2 = a2 + cv2.resize(bent - a, size)
    (x, y, z), (row, col), (wall, roof) = _locate(camera, profile, (a2, b2), stand_back)
    quarter = (slice(None, None, 2), slice(None, None, 2))
    normal = _normal(profile, atlas, (x, y), (row, col), (wall, roof), quarter)
    wet = _sample(atlas.wet, row[quarter], col[quarter]).astype(np.float32) / np.float32(255)
    return Surface((x, y, z), normal, row, col, wet)


def _settle(
    camera: Camera, profile: Profile, atlas: Atlas, slope: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Ray slopes dx/dz against the bent centre line, and how far the rock stands back [m]."""
    shape = np.broadcast_shapes(slope[0].shape, slope[1].shape)
    a, b = np.broadcast_to(slope[0], shape), np.broadcast_to(slope[1], shape)
    stand_back = np.zeros(shape, np.float32)
    bent = a
    if profile.bend:
        # The curve is gentle: a few rounds of "where would a straight ray of this slope end".
        for _ in range(4):
            z, _, _ = _hit(camera, profile, (bent, b), stand_back)
            bent = a - np.float32(0.5 * profile.bend) * z
    (_, _, z), (row, col), _ = _locate(camera, profile, (bent, b), stand_back)
    # Far away the relief is finer than a pixel and would only make noise.
    return bent, _sample(atlas.relief_m, row, col) * np.minimum(1, 9.0 / z)


def _locate(
    camera: Camera, profile: Profile, slope: tuple[np.ndarray, np.ndarray], stand_back: np.ndarray
) -> tuple[
    tuple[np.ndarray, np.ndarray, np.ndarray],
    tuple[np.ndarray, np.ndarray],
    tuple[np.ndarray, np.ndarray],
]:
    """Point (x, y, z) [m], atlas position (row, col), and where it is wall and roof (bool)."""
    z, wall, roof = _hit(camera, profile, slope, stand_back)
    half, high = np.float32(profile.half_width_m), np.float32(profile.wall_height_m)
    x = np.float32(camera.x_m) + slope[0] * z
    y = np.maximum(np.float32(camera.y_m) + slope[1] * z, 0)
    above = np.maximum(y - high, 0)
    angle = cv2.phase(np.abs(x) / half, above / np.float32(profile.roof_rise_m))
    arc = np.float32(0.5 * (profile.half_width_m + profile.roof_rise_m))
    along = half + np.minimum(y, high) + np.where(roof, angle * arc, 0)
    around = np.where(wall | roof, np.copysign(along, x), x)
    cols_per_m = np.float32(ATLAS_COLS / (2 * profile.half_perimeter_m))
    col = around * cols_per_m + np.float32(ATLAS_COLS / 2)
    row = (z + np.float32(camera.travel_m)) * np.float32(ROWS_PER_M)
    return (x, y, z), (row, col), (wall, roof)


def _normal(
    profile: Profile,
    atlas: Atlas,
    point: tuple[np.ndarray, np.ndarray],
    place: tuple[np.ndarray, np.ndarray],
    kind: tuple[np.ndarray, np.ndarray],
    thin: tuple[slice, slice],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit normals, tilted by the relief, of the pixels that ``thin`` leaves."""
    x, y = (v[thin] for v in point)
    row, col = (v[thin] for v in place)
    wall, roof = (v[thin] for v in kind)
    above = np.maximum(y - np.float32(profile.wall_height_m), 0)
    half2, rise2 = np.float32(profile.half_width_m**2), np.float32(profile.roof_rise_m**2)
    nx = np.where(wall, -np.sign(x), np.where(roof, -x / half2, 0))
    ny = np.where(roof, -above / rise2, np.where(wall, 0, np.float32(1)))
    norm = 1 / np.sqrt(nx * nx + ny * ny + 1e-9)
    nx, ny = nx * norm, ny * norm
    steep = np.float32(6.0)
    g_row = _sample(atlas.relief_m, row + 3, col) - _sample(atlas.relief_m, row - 3, col)
    g_col = _sample(atlas.relief_m, row, col + 3) - _sample(atlas.relief_m, row, col - 3)
    # The tangent around the profile is (-ny, nx); the relief tilts the normal along both ways.
    px, py, pz = nx - steep * g_col * ny, ny + steep * g_col * nx, steep * g_row
    norm = 1 / np.sqrt(px * px + py * py + pz * pz)
    return px * norm, py * norm, pz * norm


def _sample(texture: np.ndarray, row: np.ndarray, col: np.ndarray) -> np.ndarray:
    """Nearest texel with wrap-around."""
    rows = row.astype(np.int32) & (ATLAS_ROWS - 1)
    cols = col.astype(np.int32) & (ATLAS_COLS - 1)
    return texture.ravel().take(rows * ATLAS_COLS + cols)


def paint(surface: Surface, atlas: Atlas) -> np.ndarray:
    """Reflectance seen by each pixel of the full image: (HEIGHT, WIDTH, 3) uint8 BGR."""
    size = (WIDTH, HEIGHT)
    row = cv2.resize(surface.row, size, interpolation=cv2.INTER_LINEAR)
    col = cv2.resize(surface.col, size, interpolation=cv2.INTER_LINEAR)
    # Left and right meet at the crown, half an atlas apart: do not interpolate across.
    jump = np.abs(np.diff(surface.col, axis=1)) > ATLAS_COLS / 4
    if jump.any():
        seam = np.zeros(surface.col.shape, np.uint8)
        seam[:, 1:] = jump
        seam[:, :-1] |= jump
        mask = cv2.resize(seam, size, interpolation=cv2.INTER_NEAREST).view(bool)
        np.copyto(col, cv2.resize(surface.col, size, interpolation=cv2.INTER_NEAREST), where=mask)
    return cv2.remap(atlas.colour, col, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
