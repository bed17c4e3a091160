"""What people of the synthetic mine look like: the materials of skin, hair, clothes and helmets."""

from __future__ import annotations

from enum import IntEnum

from codesign_ros.mine.figures.figure import PART_HEAD, PART_HELMET, Material
from codesign_ros.mine.people import Person

Colour = tuple[float, float, float]

# BGR reflectance.
HELMET_COLOURS: dict[str, Colour] = {
    "yellow": (0.05, 0.62, 0.86),
    "white": (0.84, 0.86, 0.86),
    "red": (0.06, 0.07, 0.66),
    "blue": (0.62, 0.24, 0.05),
    "orange": (0.03, 0.28, 0.86),
    "green": (0.12, 0.36, 0.08),
}
_SKIN = (
    (0.36, 0.47, 0.68),
    (0.28, 0.40, 0.60),
    (0.17, 0.26, 0.42),
    (0.42, 0.53, 0.74),
    (0.22, 0.33, 0.55),
    (0.08, 0.13, 0.22),
)
_HAIR = (
    (0.025, 0.025, 0.03),
    (0.03, 0.05, 0.08),
    (0.07, 0.12, 0.18),
    (0.30, 0.31, 0.33),
    (0.02, 0.02, 0.02),
    (0.16, 0.30, 0.42),
)
_JACKET = (
    (0.16, 0.10, 0.07),
    (0.10, 0.10, 0.11),
    (0.05, 0.22, 0.62),
    (0.08, 0.52, 0.60),
    (0.22, 0.24, 0.25),
    (0.10, 0.18, 0.22),
    (0.50, 0.52, 0.54),
    (0.36, 0.22, 0.10),
    (0.07, 0.07, 0.30),
    (0.12, 0.22, 0.14),
    (0.55, 0.30, 0.06),
    (0.08, 0.08, 0.55),
    (0.10, 0.45, 0.60),
    (0.28, 0.30, 0.42),
)
_TROUSERS = (
    (0.14, 0.09, 0.06),
    (0.09, 0.09, 0.10),
    (0.15, 0.17, 0.18),
    (0.06, 0.20, 0.52),
    (0.26, 0.16, 0.08),
    (0.22, 0.28, 0.32),
)
# High-visibility lime, orange and red-orange.
_VEST = ((0.05, 0.80, 0.68), (0.03, 0.30, 0.90), (0.05, 0.12, 0.80))


class Stuff(IntEnum):
    """Index of a material in the list that `materials` gives; 0 is nothing."""

    JACKET = 1
    TROUSERS = 2
    BOOT = 3
    TAPE = 4
    SKIN = 5
    FACE = 6
    HAIR = 7
    SHADOWED = 8
    HELMET = 9
    RIDGE = 10
    LAMP = 11
    GLOVE = 12
    BELT = 13
    CHIN = 14
    BRACKET = 15
    VEST = 16
    SLEEVE = 17
    EYE = 18
    WHITE = 19
    LIPS = 20
    BROW = 21
    GLASS = 22
    MASK = 23
    DEFENDER = 24
    STRAP = 25
    NECK = 26


def materials(person: Person) -> list[Material]:
    """The materials of a figure; entry i is that of ``Stuff(i)``, entry 0 is nothing."""

    def dusty(colour: Colour, much: float = 1.0) -> Colour:
        return _times(colour, 1 - (1 - person.dim) * much)

    jacket = dusty(_JACKET[person.jacket])
    skin = dusty(_SKIN[person.skin], 0.8)
    hair = _HAIR[person.hair]
    stubble = hair if person.beard else skin
    chin = (
        0.45 * stubble[0] + 0.55 * skin[0],
        0.45 * stubble[1] + 0.55 * skin[1],
        0.45 * stubble[2] + 0.55 * skin[2],
    )
    helmet = dusty(HELMET_COLOURS[person.helmet or "white"], 0.6)
    vest = dusty(_VEST[person.vest]) if person.vest is not None else jacket
    mask = (0.75, 0.74, 0.7) if person.hair % 2 else (0.12, 0.12, 0.13)
    worn = Material(vest, folds=0.8)
    lens = (0.9, 1.0, 1.0) if person.lamp_on else (0.12, 0.13, 0.14)
    table = {
        Stuff.JACKET: Material(jacket, folds=1.0),
        Stuff.TROUSERS: Material(dusty(_TROUSERS[person.trousers]), folds=1.0),
        Stuff.BOOT: Material((0.03, 0.035, 0.04), gloss=0.12),
        Stuff.TAPE: Material((0.62, 0.66, 0.64), folds=0.4, glare=1.0) if person.tape else worn,
        Stuff.SKIN: Material(skin),
        Stuff.FACE: Material(_times(skin, 0.95), PART_HEAD, gloss=0.05),
        Stuff.HAIR: Material(hair, PART_HEAD, folds=1.0, gloss=0.06),
        Stuff.SHADOWED: Material(_times(skin, 0.5), PART_HEAD),
        Stuff.HELMET: Material(helmet, PART_HELMET, gloss=0.35),
        Stuff.RIDGE: Material(_times(helmet, 0.72), PART_HELMET, gloss=0.2),
        Stuff.LAMP: Material(lens, PART_HELMET, gloss=0.5),
        Stuff.GLOVE: Material((0.10, 0.14, 0.17), folds=0.6),
        Stuff.BELT: Material((0.03, 0.03, 0.03), gloss=0.1),
        Stuff.CHIN: Material(chin, PART_HEAD),
        Stuff.BRACKET: Material((0.03, 0.03, 0.03), PART_HELMET, gloss=0.2),
        Stuff.VEST: worn,
        Stuff.SLEEVE: Material(skin if person.short_sleeves else jacket, folds=0.8),
        Stuff.EYE: Material((0.02, 0.025, 0.03), PART_HEAD, gloss=0.4),
        Stuff.WHITE: Material((0.55, 0.6, 0.62), PART_HEAD),
        Stuff.LIPS: Material((0.6 * skin[0], 0.55 * skin[1], 0.75 * skin[2]), PART_HEAD),
        Stuff.BROW: Material(_times(hair, 1.2), PART_HEAD),
        Stuff.GLASS: Material((0.05, 0.05, 0.05), PART_HEAD, gloss=0.6),
        Stuff.MASK: Material(mask, PART_HEAD),
        Stuff.DEFENDER: Material(_times(helmet, 0.4), PART_HEAD, gloss=0.3),
        Stuff.STRAP: Material((0.04, 0.04, 0.04), PART_HEAD),
        Stuff.NECK: Material(_times(skin, 0.85)),
    }
    return [Material((0.0, 0.0, 0.0)), *(table[stuff] for stuff in Stuff)]


def _times(colour: Colour, factor: float) -> Colour:
    return colour[0] * factor, colour[1] * factor, colour[2] * factor
