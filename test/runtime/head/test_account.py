"""What became of the frames adds up, or is complained about."""

import pytest

from codesign_ros.runtime.head.account import FrameAccount
from codesign_ros.runtime.messages import DropReason


@pytest.mark.parametrize(("arrived", "unaccounted"), [(10, 0), (12, 2), (9, -1)])
def test_account(arrived, unaccounted):
    account = FrameAccount(
        arrived, {"server": 3, "robot": 1}, {DropReason.BUSY: 3, DropReason.CLOSED: 1}, in_flight=2
    )
    assert (account.answered, account.dropped) == (4, 4)
    assert account.unaccounted == unaccounted
    assert f"{arrived} arrived, 4 answered, 4 dropped, 2 in flight" in account.complaint
