"""The book of transfers: answers in any order, none, or too late."""

import math

import pytest

from codesign_ros.runtime.link.transfers import TransferBook


@pytest.fixture
def book():
    return TransferBook()


def send(book, *keys, start_s=0.0):
    for number, key in enumerate(keys):
        book.sent(key, 1000, start_s + number, is_frame=True)


def test_they_come_back_in_the_order_in_which_they_were_sent(book):
    send(book, "a", "b", "c")
    assert book.answered("b", 5.0, 0.0) is not None
    assert book.take_complete(5.0) == []
    book.answered("a", 5.5, 1.0)
    first, second = book.take_complete(5.5)
    assert (first.started_s, first.arrived_s, first.duration_s) == (0.0, 4.5, 4.5)
    assert (second.started_s, second.arrived_s) == (1.0, 5.0)


def test_only_the_first_answer_to_what_was_sent_counts(book):
    send(book, "a", "b")
    assert book.answered("z", 1.0, 0.0) is None
    assert book.answered("b", 3.0, 0.0) is not None
    assert book.answered("b", 4.0, 0.0) is None


@pytest.mark.parametrize(("remote_s", "patience_s"), [(0.0, 0.5), (0.4, 2.5)])
def test_one_whose_answer_does_not_come_holds_the_others_up_for_a_while_only(
    book, remote_s, patience_s
):
    """A frame may wait for the tail while what was sent after it is answered."""
    send(book, "a", "b")
    book.answered("b", 2.0 + remote_s, remote_s)
    assert book.take_complete(1.9 + patience_s) == []
    lost, other = book.take_complete(2.1 + patience_s)
    assert (lost.arrived_s, lost.duration_s, other.arrived_s) == (None, 0.0, 2.0)


@pytest.mark.parametrize("remote_s", [1.9, math.inf])
def test_of_a_tail_that_is_slower_than_that_only_one_is_given_up(book, remote_s):
    for start_s in (0.0, 10.0):
        book.sent("frame", 1000, start_s, is_frame=True)
        book.sent("probe", 64, start_s + 0.1, is_frame=False)
        book.answered("probe", start_s + 0.2, 0.0)
        given_up = book.take_complete(start_s + 1.0)
        answered = book.answered("frame", start_s + 2.0, remote_s)
        assert (len(given_up), answered is None) == ((2, True) if start_s == 0 else (0, False))
    assert len(book.take_complete(12.0)) == 2


def test_what_was_sent_again_and_what_overtook_it_are_marked(book):
    send(book, "a", "b", "c")
    book.answered("b", 3.0, 0.0)
    book.answered("a", 4.0, 0.0)
    book.answered("c", 4.5, 0.0)
    assert [each.in_order for each in book.take_complete(4.5)] == [False, False, True]


def test_alone_is_what_nothing_was_before(book):
    send(book, "a", "b")
    book.answered("a", 5.0, 0.0)
    book.answered("b", 5.0, 0.0)
    send(book, "c", start_s=6.0)
    book.answered("c", 7.0, 0.0)
    assert [each.alone for each in book.take_complete(7.0)] == [True, False, True]


@pytest.mark.parametrize("remote_s", [math.nan, math.inf, -math.inf, -1.0, 1e9])
def test_a_tail_may_say_anything_of_its_time(book, remote_s):
    send(book, "a")
    transfer = book.answered("a", 2.0, remote_s)
    assert transfer is not None
    assert 0.0 <= transfer.duration_s <= 2.0
