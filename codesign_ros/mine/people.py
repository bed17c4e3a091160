"""People of the synthetic mine: who they are, what they wear, where they go.

Body frame: x to the person's left hand as the viewer sees it when faced, y up, z the way the
person looks, metres, origin between the feet. Facing 0 looks at the camera.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

HELMETS = ("yellow", "white", "red", "blue", "orange", "green")
_HELMET_SHARES = (0.28, 0.24, 0.14, 0.13, 0.15, 0.06)
POSES = ("stand", "walk", "crouch", "bend", "kneel", "reach", "lie")
_POSE_SHARES = (0.38, 0.26, 0.09, 0.08, 0.07, 0.07, 0.05)
# How many colours of each kind `mine_clothes` knows.
_JACKETS, _TROUSERS, _SKINS, _HAIRS, _VESTS = 14, 6, 6, 6, 3


@dataclass(frozen=True)
class Person:
    """One person. ``x_m`` is from the tunnel's centre line, ``z_m`` along it from the start.

    ``helmet`` is a key of `HELMETS` or None (bare-headed); ``phase`` is the gait's phase
    [rad]; ``look`` turns the head against the body [rad], ``tilt`` leans it to the side [rad];
    ``dim`` darkens clothes and skin (dust). ``vest`` is a high-visibility vest's colour or None;
    ``spread`` holds the elbows away from the body; ``mask`` covers mouth and nose; ``brim`` runs
    all around the helmet; ``long_hair`` falls to the neck.
    """

    x_m: float
    z_m: float
    facing: float
    pose: str
    phase: float
    helmet: str | None
    lamp_on: bool
    height_m: float
    girth: float
    look: float
    nod: float
    arm: float
    jacket: int
    trousers: int
    skin: int
    hair: int
    hair_line: float
    tape: bool
    beard: bool
    dim: float
    vest: int | None = None
    tilt: float = 0.0
    spread: float = 0.2
    short_sleeves: bool = False
    glasses: bool = False
    mask: bool = False
    ear_defenders: bool = False
    strap: bool = False
    brim: bool = False
    long_hair: bool = False
    speed: tuple[float, float] = (0.0, 0.0)

    def after(self, seconds: float) -> Person:
        """The same person some time later, walking on by ``speed`` (x, z) [m/s]."""
        if self.pose != "walk":
            # Nobody stands quite still.
            sway = 0.015 * np.sin(1.3 * seconds + self.phase)
            turn = 0.25 * np.sin(0.7 * seconds + 2 * self.phase)
            return replace(self, x_m=self.x_m + sway, look=self.look + turn)
        pace = float(np.hypot(*self.speed))
        return replace(
            self,
            x_m=self.x_m + self.speed[0] * seconds,
            z_m=self.z_m + self.speed[1] * seconds,
            phase=self.phase + seconds * pace / 1.4 * 2 * np.pi,
        )


def draw_person(rng: np.random.Generator, *, helmet: bool, lamps: bool = True) -> Person:
    """A person with random looks, at the origin.

    Args:
        rng: where all choices come from.
        helmet: whether the person wears one.
        lamps: whether helmets here carry cap lamps that may be lit.
    """
    pose = str(rng.choice(POSES, p=_POSE_SHARES))
    wide = float(rng.normal(0, 0.55)) if rng.random() < 0.5 else float(rng.normal(0, 0.2))
    return Person(
        x_m=0.0,
        z_m=0.0,
        facing=float(rng.normal(0, 0.8) if rng.random() < 0.45 else rng.uniform(-np.pi, np.pi)),
        pose=pose,
        phase=float(rng.uniform(0, 2 * np.pi)),
        helmet=str(rng.choice(HELMETS, p=_HELMET_SHARES)) if helmet else None,
        lamp_on=bool(rng.random() < 0.7) and lamps,
        height_m=float(np.clip(rng.normal(1.74, 0.07), 1.5, 1.95)),
        girth=float(rng.uniform(0.9, 1.2)),
        look=float(np.clip(wide, -1.2, 1.2)),
        nod=float(rng.normal(0.1, 0.2)),
        arm=float(rng.random()),
        jacket=int(rng.integers(_JACKETS)),
        trousers=int(rng.integers(_TROUSERS)),
        skin=int(rng.integers(_SKINS)),
        hair=int(rng.integers(_HAIRS)),
        hair_line=float(rng.uniform(0.25, 0.62)) if rng.random() < 0.88 else 1.1,
        tape=bool(rng.random() < 0.65),
        beard=bool(rng.random() < 0.35),
        dim=float(rng.uniform(0.65, 1.0)),
        vest=int(rng.integers(_VESTS)) if rng.random() < 0.45 else None,
        tilt=float(rng.normal(0, 0.08)),
        spread=float(rng.uniform(0.08, 0.45)),
        short_sleeves=bool(rng.random() < 0.2),
        glasses=bool(rng.random() < 0.2),
        mask=bool(rng.random() < 0.12),
        ear_defenders=bool(rng.random() < 0.12),
        strap=bool(rng.random() < 0.4),
        brim=bool(rng.random() < 0.3),
        long_hair=bool(rng.random() < 0.15),
    )
