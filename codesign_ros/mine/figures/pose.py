"""How people of the synthetic mine hold themselves: joints of the skeleton, in the body frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from codesign_ros.mine.people import Person


def turn_y(angle: float) -> np.ndarray:
    """Rotation about the upright, (3,3); positive turns the front to the right."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array(((c, 0.0, s), (0.0, 1.0, 0.0), (-s, 0.0, c)))


def turn_x(angle: float) -> np.ndarray:
    """Rotation about the shoulders' axis, (3,3); positive tips the front down."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array(((1.0, 0.0, 0.0), (0.0, c, -s), (0.0, s, c)))


def turn_z(angle: float) -> np.ndarray:
    """Rotation about the line of sight, (3,3); positive leans to the left in the picture."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array(((c, -s, 0.0), (s, c, 0.0), (0.0, 0.0, 1.0)))


def _leg(
    hip: np.ndarray, thigh: float, knee: float, lengths: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Knee and ankle of a leg whose thigh swings forward and whose knee bends [rad]."""
    joint = hip + lengths[0] * np.array((0.0, -np.cos(thigh), np.sin(thigh)))
    shin = thigh - knee
    return joint, joint + lengths[1] * np.array((0.0, -np.cos(shin), np.sin(shin)))


@dataclass(frozen=True)
class Joints:
    """Where the joints are, (3,) each [m]; pairs are (right, left).

    ``lean`` of the trunk [rad]. Who lies was built upright: ``lay`` (3,3) and ``shift`` (3,) [m]
    bring a point of the upright body to where it is, ``lay @ point + shift``.
    """

    hips: tuple[np.ndarray, np.ndarray]
    knees: tuple[np.ndarray, np.ndarray]
    ankles: tuple[np.ndarray, np.ndarray]
    shoulders: tuple[np.ndarray, np.ndarray]
    elbows: tuple[np.ndarray, np.ndarray]
    hands: tuple[np.ndarray, np.ndarray]
    head: np.ndarray
    lean: float
    lay: np.ndarray
    shift: np.ndarray

    def outline(self, facing: float) -> np.ndarray:
        """Head first, then hips, knees, ankles, elbows and hands, turned: (n,3) [m]."""
        points = (self.head, *self.hips, *self.knees, *self.ankles, *self.elbows, *self.hands)
        return (np.array(points) @ self.lay.T + self.shift) @ turn_y(facing).T


def joints(person: Person) -> Joints:
    """Pose the skeleton in the body frame."""
    size = person.height_m / 1.75
    swing = np.sin(person.phase)
    thighs, knee_bends, lean = (0.04, -0.03), (0.05, 0.02), 0.03
    arms, bends = (0.05, -0.04), (0.25, 0.3)
    if person.pose == "walk":
        thighs = (0.48 * swing, -0.48 * swing)
        knee_bends = (
            0.12 + 0.75 * max(0.0, -np.cos(person.phase)) * (swing < 0.6),
            0.12 + 0.75 * max(0.0, np.cos(person.phase)) * (swing > -0.6),
        )
        arms, bends, lean = (-0.45 * swing, 0.45 * swing), (0.35, 0.35), 0.08
    elif person.pose == "crouch":
        thighs, knee_bends, lean = (1.75, 1.15), (2.35, 2.2), 0.42
        arms, bends = (1.0, 0.8), (0.5, 0.7)
    elif person.pose == "bend":
        thighs, knee_bends, lean = (0.45, 0.3), (0.55, 0.45), 0.85
        arms, bends = (0.5, 0.3), (0.35, 0.5)
    elif person.pose == "kneel":
        thighs, knee_bends, lean = (1.4, 0.12), (1.45, 1.65), 0.2
        arms, bends = (0.55, 0.45), (0.9, 0.8)
    elif person.pose == "reach":
        arms, bends = (2.5, 2.3 if person.arm > 0.5 else 0.1), (0.5, 0.4)
    elif person.pose == "lie":
        thighs, knee_bends = (0.1 + 0.6 * person.arm, 0.05), (0.15 + 1.1 * person.arm, 0.1)
        arms, bends = (0.15, 0.3 + person.arm), (0.2, 0.3)
    elif person.arm > 0.8:
        arms, bends = (1.15, 0.0), (0.5, 0.3)  # one arm lifted: pointing, holding on
    elif person.arm > 0.55:
        arms, bends = (0.35, 0.3), (1.5, 1.35)  # both hands before the belly: a tool, a tablet
    hips = (np.array((-0.1, 0.0, 0.0)), np.array((0.1, 0.0, 0.0)))
    legs = [_leg(h, t, k, (0.43, 0.43)) for h, t, k in zip(hips, thighs, knee_bends, strict=True)]
    # Whatever is lowest, sole or knee, stands on the ground.
    lift = -min(min(float(ankle[1]) - 0.09, float(knee[1]) - 0.07) for knee, ankle in legs)
    trunk = turn_x(lean)
    base = np.array((0.0, lift, 0.0))

    def upper(x: float, y: float, z: float = 0.0) -> np.ndarray:
        return base + trunk @ np.array((x, y, z))

    wide = 0.165 + 0.025 * person.girth
    shoulders = (upper(-wide, 0.465), upper(wide, 0.465))
    elbows, hands = [], []
    for shoulder, arm, bend, side in zip(shoulders, arms, bends, (-1, 1), strict=True):
        out = person.spread * side
        elbow = shoulder + 0.29 * _unit((out, -np.cos(arm), np.sin(arm)))
        fore = arm + bend
        inward = -0.35 * side if bend > 1.0 else 0.0
        inward += 0.4 * out * (bend < 1.0)
        hand = elbow + 0.26 * _unit((inward, -np.cos(fore), np.sin(fore)))
        elbows.append(elbow)
        hands.append(hand)
    # The neck straightens most of the trunk's lean.
    head = upper(0.0, 0.56) + np.array((0.0, 0.145 * np.cos(0.5 * lean), 0.03 + 0.1 * lean))
    s = size
    lay, shift = np.eye(3), np.zeros(3)
    if person.pose == "lie":
        # On the back, or on the side.
        turned = turn_y(1.3 if person.phase > np.pi else 0.2)
        lay = turn_x(-0.5 * np.pi) @ turned
        deepest = min(
            float((lay @ joint)[1])
            for joint in (*hips, *shoulders, *elbows, head, *(leg[0] for leg in legs))
        )
        shift = np.array((0.0, 0.13 - s * deepest, 0.9 * s))
    return Joints(
        hips=(s * (hips[0] + base), s * (hips[1] + base)),
        knees=(s * (legs[0][0] + base), s * (legs[1][0] + base)),
        ankles=(s * (legs[0][1] + base), s * (legs[1][1] + base)),
        shoulders=(s * shoulders[0], s * shoulders[1]),
        elbows=(s * elbows[0], s * elbows[1]),
        hands=(s * hands[0], s * hands[1]),
        head=s * head,
        lean=lean,
        lay=lay,
        shift=shift,
    )


def _unit(direction: tuple[float, float, float]) -> np.ndarray:
    vector = np.array(direction)
    return vector / np.linalg.norm(vector)
