"""What payloads have against the profile: learned by reports in a row, for all levels of a neck."""

import random
from dataclasses import replace

import numpy as np
import pytest

from codesign_ros.runtime.device import Payload
from codesign_ros.runtime.planner.learned.payloads import PayloadCorrection, Sized, with_sizes
from support.tiny_plan import tables

CUT = 2
PROFILED = {(CUT, "neck.0"): 5000.0, (CUT, "neck.1"): 3000.0, (0, "jpeg"): 9000.0}


def report(learned, payloads, count=3, epoch=1, cut=CUT, now_s=0.0):
    return [
        learned.report(epoch, cut, payloads, PROFILED, now_s + 0.5 * number)
        for number in range(count)
    ]


def sent(factor, codec="neck.0", cut=CUT, spread=0.0):
    mean = factor * PROFILED[cut, codec]
    return (Payload(codec, 9, mean, spread * mean),)


def test_levels_of_one_neck_are_one_by_their_bytes_together():
    learned = PayloadCorrection()
    both = (Payload("neck.0", 5, 4000.0, 400.0), Payload("neck.1", 4, 2100.0, 0.0))
    report(learned, both)
    ((place, sized),) = learned.sizes.items()
    assert place == (CUT, "neck")
    # 28,400 bytes were sent, 37,000 profiled; squares: 800,000 of 97,640,000.
    assert sized.factor == pytest.approx(28_400 / 37_000)
    assert sized.spread == pytest.approx((800_000 / 97_640_000) ** 0.5)


@pytest.mark.parametrize(
    "payloads",
    [(), (Payload("neck.2", 9, 50.0, 0.0),), (Payload("neck.0", 0, 50.0, 0.0),)],
)
def test_what_was_not_profiled_or_not_sent_tells_nothing(payloads):
    learned = PayloadCorrection()
    assert not any(report(learned, payloads, 9))
    assert not learned.sizes


def test_no_single_report_is_believed_and_a_row_of_them_is():
    learned = PayloadCorrection()
    rng = random.Random(5)
    for number in range(60):
        learned.report(1, CUT, sent(0.75 * rng.gauss(1.0, 0.05)), PROFILED, 0.5 * number)
    steady = learned.sizes[CUT, "neck"].factor
    assert steady == pytest.approx(0.75, rel=0.03)
    assert not any(report(learned, sent(1.5), 1, now_s=30.0))
    assert learned.sizes[CUT, "neck"].factor == pytest.approx(steady, rel=0.02)
    # Another scene: twice as much in every frame.
    told = report(learned, sent(1.5), 12, now_s=31.0)
    assert sum(told) == 1
    assert learned.sizes[CUT, "neck"].factor == pytest.approx(1.5, rel=0.1)


def test_what_is_not_sent_any_more_fades_to_the_profile():
    learned = PayloadCorrection()
    report(learned, sent(0.5))
    report(learned, sent(2.0, "jpeg", cut=0), cut=0, epoch=2)
    learned.fade(600.0)
    assert learned.sizes[CUT, "neck"].factor == pytest.approx(0.5**0.5, rel=0.01)
    learned.fade(6000.0)
    assert learned.sizes[CUT, "neck"].factor == pytest.approx(1.0, abs=0.01)


def test_what_two_plans_share_of_it_is_no_doubt():
    learned = PayloadCorrection()
    assert learned.variance({(CUT, "neck"): 1.0}) == 0.0  # nothing was measured
    report(learned, sent(0.5), 20)
    own = learned.variance({(CUT, "neck"): 1.0})
    assert 0.0 < own < 0.05**2
    assert learned.variance({(CUT, "neck"): 0.0, (0, "jpeg"): 1.0}) == 0.0
    assert learned.variance({(CUT, "neck"): 0.5}) == pytest.approx(own / 4)
    learned.fade(600.0)
    assert learned.variance({(CUT, "neck"): 1.0}) > own + 0.1**2


def test_sizes_in_the_tables_by_hand():
    codecs = ("raw", "jpeg", "neck.0", "neck.1")
    profiled = np.arange(1.0, 17.0).reshape(4, 4)
    plain = tables(
        axes=replace(tables().axes, codecs=codecs),
        payload_bytes=profiled,
        encode_s=np.zeros((4, 4)),
        decode_s=np.zeros((1, 4, 4)),
        codec_loss=np.zeros((4, 4, 1, 1)),
    )
    assert with_sizes(plain, {}, camera_jpegs=False) is plain
    learned = {(CUT, "neck"): Sized(0.5, 0.2, 0.02), (0, "jpeg"): Sized(3.0, 0.1, 0.02)}
    for camera_jpegs, factor in ((False, 3.0), (True, 1.0)):
        made = with_sizes(plain, learned, camera_jpegs=camera_jpegs)
        expected = profiled.copy()
        expected[CUT, 2:] *= 0.5
        expected[0, 1] *= factor
        np.testing.assert_allclose(made.payload_bytes, expected)
        assert made.payload_spread[CUT].tolist() == [0.0, 0.0, 0.2, 0.2]
        assert made.payload_spread[0, 1] == (0.0 if camera_jpegs else 0.1)
    np.testing.assert_array_equal(plain.payload_bytes, np.arange(1.0, 17.0).reshape(4, 4))
