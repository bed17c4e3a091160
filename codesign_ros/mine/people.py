"""People of the synthetic mine: who they are, what they wear, where they go.

Body frame: x to the person's left hand as the viewer sees it when faced, y up, z the way the
person looks, metres, origin between the feet. Facing 0 looks at the camera.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

HELMETS = ("yellow", "white", "red", "blue", "orange")
POSES = ("stand", "walk", "crouch", "bend")
# How many colours of each kind `mine_clothes` knows.
_JACKETS, _TROUSERS, _SKINS, _HAIRS = 6, 4, 4, 4


@dataclass(frozen=True)
class Person:
    """One person. ``x_m`` is from the tunnel's centre line, ``z_m`` along it from the start.

    ``helmet`` is a key of `HELMETS` or None (bare-headed); ``phase`` is the gait's phase
    [rad]; ``look`` turns the head against the body [rad]; ``dim`` darkens clothes and skin (dust).
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


def draw_person(rng: np.random.Generator, *, helmet: bool) -> Person:
    """A person with random looks, at the origin."""
    pose = str(rng.choice(POSES, p=(0.42, 0.33, 0.15, 0.10)))
    return Person(
        x_m=0.0,
        z_m=0.0,
        facing=float(rng.uniform(-np.pi, np.pi)),
        pose=pose,
        phase=float(rng.uniform(0, 2 * np.pi)),
        helmet=str(rng.choice(HELMETS)) if helmet else None,
        lamp_on=bool(rng.random() < 0.7),
        height_m=float(rng.normal(1.74, 0.06)),
        girth=float(rng.uniform(0.92, 1.15)),
        look=float(rng.normal(0, 0.35)),
        nod=float(rng.normal(0.1, 0.15)),
        arm=float(rng.random()),
        jacket=int(rng.integers(_JACKETS)),
        trousers=int(rng.integers(_TROUSERS)),
        skin=int(rng.integers(_SKINS)),
        hair=int(rng.integers(_HAIRS)),
        hair_line=float(rng.uniform(0.25, 0.62)) if rng.random() < 0.88 else 1.1,
        tape=bool(rng.random() < 0.65),
        beard=bool(rng.random() < 0.4),
        dim=float(rng.uniform(0.65, 1.0)),
    )
