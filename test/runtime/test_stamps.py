"""How old a frame is by its stamp, where its stamp can be right."""

import math

import pytest

from codesign_ros.runtime.stamps import age_s

NOW_NS = 1_800_000_000_000_000_000


@pytest.mark.parametrize("age", [0.0, 1e-6, 0.03, 9.999])
def test_age(age):
    assert age_s(NOW_NS - round(age * 1e9), NOW_NS) == pytest.approx(age, abs=1e-9)


def test_a_little_ahead_is_now():
    assert age_s(NOW_NS + 50_000_000, NOW_NS) == 0.0


@pytest.mark.parametrize(
    ("stamp_ns", "now_ns"),
    [
        (0, NOW_NS),
        (0, 1),  # simulated time that has just begun
        (-5, 1),
        (NOW_NS + 200_000_000, NOW_NS),
        (NOW_NS + 10**18, NOW_NS),
        (NOW_NS - 11 * 10**9, NOW_NS),
        (5 * 10**9, NOW_NS),  # since the machine was started
        (NOW_NS, 0),  # no /clock yet
    ],
)
def test_stamps_that_cannot_be_right(stamp_ns, now_ns):
    assert math.isnan(age_s(stamp_ns, now_ns))
