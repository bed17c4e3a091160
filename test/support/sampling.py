"""Samples of combinations that are too many for every run of the tests."""

import random
from collections.abc import Iterable


def covering(combinations: Iterable[tuple], seed: str) -> list[tuple]:
    """About as few of the combinations as hold every value that stands anywhere in them.

    Args:
        combinations: tuples of one length, each with one value of every axis.
        seed: which sample; the same gives the same, on every machine.
    """
    left = list(combinations)
    random.Random(seed).shuffle(left)
    missing = {value for combination in left for value in enumerate(combination)}
    chosen = []
    while missing:
        best = max(left, key=lambda combination: len(missing.intersection(enumerate(combination))))
        missing.difference_update(enumerate(best))
        chosen.append(best)
    return chosen
