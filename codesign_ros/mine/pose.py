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


def _leg(
    hip: np.ndarray, thigh: float, knee: float, lengths: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Knee and ankle of a leg whose thigh swings forward and whose knee bends [rad]."""
    joint = hip + lengths[0] * np.array((0.0, -np.cos(thigh), np.sin(thigh)))
    shin = thigh - knee
    return joint, joint + lengths[1] * np.array((0.0, -np.cos(shin), np.sin(shin)))


@dataclass(frozen=True)
class Joints:
    """Where the joints are, (3,) each [m]; pairs are (right, left). ``lean`` of the trunk [rad]."""

    hips: tuple[np.ndarray, np.ndarray]
    knees: tuple[np.ndarray, np.ndarray]
    ankles: tuple[np.ndarray, np.ndarray]
    shoulders: tuple[np.ndarray, np.ndarray]
    elbows: tuple[np.ndarray, np.ndarray]
    hands: tuple[np.ndarray, np.ndarray]
    head: np.ndarray
    lean: float


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
    elif person.arm > 0.8:
        arms, bends = (1.15, 0.0), (0.5, 0.3)  # one arm lifted: pointing, holding on
    elif person.arm > 0.55:
        arms, bends = (0.35, 0.3), (1.5, 1.35)  # both hands before the belly: a tool, a tablet
    hips = (np.array((-0.1, 0.0, 0.0)), np.array((0.1, 0.0, 0.0)))
    legs = [_leg(h, t, k, (0.43, 0.43)) for h, t, k in zip(hips, thighs, knee_bends, strict=True)]
    lift = -min(float(ankle[1]) for _, ankle in legs) + 0.09
    trunk = turn_x(lean)
    base = np.array((0.0, lift, 0.0))

    def upper(x: float, y: float, z: float = 0.0) -> np.ndarray:
        return base + trunk @ np.array((x, y, z))

    wide = 0.185 * person.girth
    shoulders = (upper(-wide, 0.49), upper(wide, 0.49))
    elbows, hands = [], []
    for shoulder, arm, bend, side in zip(shoulders, arms, bends, (-1, 1), strict=True):
        out = 0.10 * side
        elbow = shoulder + 0.29 * np.array((out * 0.8, -np.cos(arm), np.sin(arm)))
        fore = arm + bend
        inward = -0.35 * side if bend > 1.0 else 0.0
        hand = elbow + 0.26 * np.array((inward, -np.cos(fore), np.sin(fore)))
        elbows.append(elbow)
        hands.append(hand)
    # The neck straightens most of the trunk's lean.
    head = upper(0.0, 0.56) + np.array((0.0, 0.135 * np.cos(0.5 * lean), 0.03 + 0.1 * lean))
    s = size
    return Joints(
        hips=(s * (hips[0] + base), s * (hips[1] + base)),
        knees=(s * (legs[0][0] + base), s * (legs[1][0] + base)),
        ankles=(s * (legs[0][1] + base), s * (legs[1][1] + base)),
        shoulders=(s * shoulders[0], s * shoulders[1]),
        elbows=(s * elbows[0], s * elbows[1]),
        hands=(s * hands[0], s * hands[1]),
        head=s * head,
        lean=lean,
    )
