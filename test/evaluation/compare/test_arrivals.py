"""When frames of a recording come."""

import pytest

from codesign_ros.evaluation.compare.arrivals import Arrivals
from codesign_ros.types.errors import CodesignError


def test_a_clock_that_is_set_is_no_pause_of_years():
    """On, by 53 years, and back by an hour; what comes after is as far apart as it was."""
    stamps = [1, 1.1, 1.7e9, 1.7e9 + 0.25, 1.7e9 - 3600, 1.7e9 - 3599]
    stamps_ns = [round(each * 1e9) for each in stamps]
    recorded = Arrivals.parse("recorded", window=4, seed=0)
    times_s = [0.0, 0.1, 60.1, 60.35, 60.35, 61.35]
    assert list(recorded.times_s(stamps_ns)) == pytest.approx(times_s)
    (said,) = recorded.notes(stamps_ns)
    assert said.startswith("jumps of the stamps by more than 60 s: 2, ")
    assert recorded.notes(stamps_ns[:2]) == ()
    assert Arrivals.parse("4hz", window=4, seed=0).notes(stamps_ns) == ()


@pytest.mark.parametrize(
    ("text", "window", "depth"), [("fast", 1, 3), ("fast", 9, 9), ("2hz", 9, 3)]
)
def test_all_frames_in_flight_have_a_place(text, window, depth):
    assert Arrivals.parse(text, window=window, seed=0).queue_depth == depth


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
    assert list(Arrivals.parse("0.01hz", window=4, seed=0).times_s(stamps[:2])) == [0, 100]
    # Slower ones take minutes of looks at an idle link, and no camera node plays them.
    slow = ("0.0099hz", "0.0001hz", "poisson:1e-9hz", "nanhz")
    for text in ("10", "hz", "poisson", "poison:10hz", "-1hz", *slow, "1e6hz"):
        with pytest.raises(CodesignError, match="is not known"):
            Arrivals.parse(text, window=4, seed=0)
