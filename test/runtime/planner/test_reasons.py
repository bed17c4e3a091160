"""Why a plan is made: as long as a message may carry, whatever came in meanwhile."""

from hypothesis import given
from hypothesis import strategies as st

from codesign_ros.runtime.planner.reasons import joined


def test_news_are_told_in_order():
    assert joined(["tail /robot/tail left", "lambda_1 set to 1"]) == (
        "tail /robot/tail left; lambda_1 set to 1"
    )


def test_of_news_that_differ_in_numbers_the_newest_counts():
    news = [f"link rate 15.8 -> {rate / 10} Mbit/s" for rate in range(90, 120)]
    assert joined(["policy set to ours", *news]) == (
        "policy set to ours; link rate 15.8 -> 11.9 Mbit/s"
    )


def test_a_reason_that_comes_back_does_not_grow():
    reason = joined(["tail left", "link rate 15.8 -> 9.0 Mbit/s"])
    for _ in range(50):
        reason = joined([reason, "link rate 15.8 -> 9.0 Mbit/s", "tail left"])
    assert sorted(reason.split("; ")) == ["link rate 15.8 -> 9.0 Mbit/s", "tail left"]


def test_the_newest_are_kept_and_the_others_counted():
    news = [f"{'abcdefghij'[n // 10]}{'abcdefghij'[n % 10]} " + 40 * "x" for n in range(100)]
    told = joined(news)
    first, *others = told.split("; ")
    assert first == f"{100 - len(others)} older news"
    assert others == news[-len(others) :]
    assert len(others) > 10


@given(st.lists(st.text(max_size=900), max_size=30))
def test_it_fits_whatever_is_told(news):
    assert len(joined(news).encode()) <= 700
