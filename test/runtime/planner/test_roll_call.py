"""Which nodes are called by their names, and how often."""

from codesign_ros.runtime.planner.strangers import FEW_NAMES, MOST_NAMES, RollCall


def test_a_fleet_is_called_in_turns():
    roll_call, now_s, called = RollCall(), 0.0, []
    names = [f"/robot{number}/head" for number in range(2 * MOST_NAMES + 50)]
    while len(called) < len(names):
        for name in names:
            roll_call.hear(name, now_s)
        called += (batch := roll_call.take(now_s))
        assert len(batch) <= MOST_NAMES
        now_s += 0.25
    assert sorted(called) == sorted(names)


def test_those_that_are_made_up_do_not_keep_others_from_being_called():
    roll_call, now_s, called = RollCall(), 0.0, set()
    roll_call.hear("/robot/head", now_s)
    while now_s < 20:
        roll_call.hear("/robot/head", now_s)
        for number in range(1000):
            roll_call.hear(f"/fake{number}/head", now_s)
        called |= set(roll_call.take(now_s))
        now_s += 0.25
    assert "/robot/head" in called


def test_who_is_heard_last_is_kept():
    roll_call = RollCall()
    for number in range(10_000):
        roll_call.hear(f"/fake{number}", 0.0)
    roll_call.hear("/robot/head", 0.0)
    assert roll_call.take(0.6, lambda node: node == "/robot/head") == ("/robot/head",)


def test_names_that_are_made_up_take_little_memory():
    roll_call = RollCall()
    for number in range(100_000):
        roll_call.hear(f"/fake{number}", 0.0)
    assert len(roll_call._heard_s) == len(roll_call._due_s) == 4096
    assert roll_call.take(10.0) == ()
    assert not roll_call._heard_s
    assert not roll_call._due_s


def test_a_few_are_called_sooner_than_a_fleet():
    names = [f"/robot{number}/head" for number in range(FEW_NAMES)]
    few, many = RollCall(), RollCall()
    for name in names:
        few.hear(name, 0.0)
    for name in (*names, "/one/head"):
        many.hear(name, 0.0)
    assert few.take(0.05) == many.take(0.45) == ()
    assert sorted(few.take(0.11)) == names
    assert len(many.take(0.51)) == FEW_NAMES + 1
