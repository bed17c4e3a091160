"""When frames of a recording come."""

import pytest

from codesign_ros.evaluation.compare.arrivals import Arrivals
from codesign_ros.types import CodesignError


def test_arrivals():
    stamps = [5_000_000_000, 5_100_000_000, 5_050_000_000, 5_300_000_000]
    recorded = Arrivals.parse("recorded", window=4, seed=0)
    assert list(recorded.times_s(stamps)) == pytest.approx([0.0, 0.1, 0.1, 0.3])
    assert list(Arrivals.parse("4hz", window=4, seed=0).times_s(stamps)) == [0, 0.25, 0.5, 0.75]
    assert list(Arrivals.parse("fast", window=4, seed=0).times_s(stamps)) == [None] * 4
    poisson = Arrivals.parse("poisson:10hz", window=4, seed=3)
    times_s = list(poisson.times_s(range(4000)))
    assert times_s == list(poisson.times_s(range(4000)))
    assert times_s[-1] == pytest.approx(400, rel=0.1)
    for text in ("10", "hz", "poisson", "poison:10hz", "-1hz"):
        with pytest.raises(CodesignError, match="is not known"):
            Arrivals.parse(text, window=4, seed=0)
