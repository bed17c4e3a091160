"""Plans by epoch: prepared beside the running one, committed, dropped."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codesign_ros.runtime.epochs import MOST_EPOCH, EpochTable, is_newer, next_epoch
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.plan import Plan


def table(*prepared, current=0, on_drop=lambda stage: None):
    epochs = EpochTable(Plan(cut=1, epoch=current), f"stage {current}", on_drop)
    for epoch in prepared:
        epochs.prepare(Plan(cut=1, epoch=epoch), f"stage {epoch}")
    return epochs


def test_preparing_changes_nothing_that_runs():
    epochs = table(3)
    assert (epochs.plan.epoch, epochs.stage) == (0, "stage 0")
    assert epochs.find(3) == "stage 3"
    assert epochs.commit(3).epoch == 3
    assert (epochs.plan.epoch, epochs.stage) == (3, "stage 3")
    assert epochs.epochs == (0, 3)


def test_an_epoch_that_is_or_was_in_force_is_taken():
    epochs = table(7, current=5)
    epochs.commit(7)
    for epoch in (5, 7):
        with pytest.raises(CodesignError, match=f"epoch {epoch} is in force here, or was"):
            epochs.prepare(Plan(cut=1, epoch=epoch), "stage")
    epochs.drop_before(7)
    epochs.prepare(Plan(cut=1, epoch=5), "stage 5")
    assert epochs.epochs == (7, 5)


def test_two_planners_do_not_give_one_number_to_two_plans():
    epochs = table()
    epochs.prepare(Plan(cut=1, epoch=3, planner=1), "first")
    with pytest.raises(CodesignError, match="epoch 3 is prepared here for another planner"):
        epochs.prepare(Plan(cut=1, epoch=3, planner=2), "second")
    epochs.prepare(Plan(cut=1, epoch=4, planner=2), "second")
    epochs.prepare(Plan(cut=1, epoch=3, planner=1), "first again")
    assert (epochs.find(3), epochs.find(4)) == ("first again", "second")


@pytest.mark.parametrize("epoch", [1, 4, 2**31 + 5, MOST_EPOCH])
def test_numbers_may_begin_anew(epoch):
    epochs = table(current=5)
    epochs.prepare(Plan(cut=1, epoch=epoch), "stage")
    assert epochs.commit(epoch).epoch == epoch
    assert epochs.epochs == (5, epoch)
    epochs.drop_before(epoch)
    assert epochs.epochs == (epoch,)


def test_only_prepared_epochs_can_be_committed():
    epochs = table(2, 5)
    with pytest.raises(CodesignError, match="epoch 3 was not prepared"):
        epochs.commit(3)
    epochs.commit(5)
    for epoch in (0, 2):  # an older one that is kept, one that was overtaken
        with pytest.raises(CodesignError, match=f"epoch {epoch} was not prepared"):
            epochs.commit(epoch)
    assert epochs.commit(5).epoch == 5  # a repeated request is no harm
    assert epochs.plan.epoch == 5


def test_a_commit_forgets_what_it_overtook():
    epochs = table(2, 5, 9)
    epochs.commit(5)
    assert epochs.epochs == (0, 5, 9)
    assert epochs.find(2) is None
    assert (epochs.plan_of(9).epoch, epochs.plan_of(2)) == (9, None)


@pytest.mark.parametrize(
    ("needed", "kept"),
    [
        ((8,), (8, 2, 6)),
        ((3, 8), (3, 8, 2, 6)),
        ((2,), (2, 6)),
        ((6,), (2, 6)),  # never the one in force
        ((), (9, 3, 8, 2, 6)),
        ((8, 77), (9, 3, 8, 2, 6)),  # of which nobody knows how old it is
    ],
)
def test_old_is_what_was_in_force_before(needed, kept):
    epochs = table(current=9)
    for epoch in (3, 8, 2):
        epochs.prepare(Plan(cut=1, epoch=epoch), f"stage {epoch}")
        epochs.commit(epoch)
    epochs.prepare(Plan(cut=1, epoch=6), "stage 6")
    epochs.drop_before(*needed)
    assert epochs.epochs == kept


def test_epochs_are_counted_round_and_round():
    assert [next_epoch(epoch) for epoch in (0, 1, MOST_EPOCH - 1, MOST_EPOCH)] == [
        1, 2, MOST_EPOCH, 1,
    ]  # fmt: skip
    assert is_newer(2, 1)
    assert is_newer(1, MOST_EPOCH)
    for epoch, other in ((1, 1), (1, 2), (MOST_EPOCH, 1), (MOST_EPOCH, 100)):
        assert not is_newer(epoch, other)


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(("prepare", "commit", "drop")), st.integers(0, 12)), max_size=40
    )
)
def test_the_epoch_in_force_is_never_lost(steps):
    epochs = table()
    kept, current = [0], 0  # the same, by hand
    for action, epoch in steps:
        prepared = kept[kept.index(current) + 1 :]
        if action == "drop":
            epochs.drop_before(epoch)
            if epoch in kept:
                kept = kept[min(kept.index(epoch), kept.index(current)) :]
        elif action == "prepare" and (epoch not in kept or epoch in prepared):
            epochs.prepare(Plan(cut=1, epoch=epoch), f"stage {epoch}")
            kept = [e for e in kept if e != epoch] + [epoch]
        elif action == "commit" and epoch in (current, *prepared):
            epochs.commit(epoch)
            overtaken = prepared[: prepared.index(epoch)] if epoch in prepared else []
            kept = [e for e in kept if e not in overtaken]
            current = epoch
        elif action == "prepare":
            with pytest.raises(CodesignError):
                epochs.prepare(Plan(cut=1, epoch=epoch), "stage")
        else:
            with pytest.raises(CodesignError):
                epochs.commit(epoch)
        assert epochs.epochs == tuple(kept)
        assert (epochs.plan.epoch, epochs.stage) == (current, f"stage {current}")


def test_every_stage_that_is_forgotten_is_told_of_once():
    dropped = []
    epochs = table(2, 3, 6, on_drop=dropped.append)
    epochs.prepare(Plan(cut=1, epoch=6), "stage 6 again")
    assert dropped == ["stage 6"]
    epochs.commit(6)
    assert dropped[1:] == ["stage 2", "stage 3"]
    epochs.drop_before(6)
    assert dropped[3:] == ["stage 0"]
    with pytest.raises(CodesignError):
        epochs.prepare(Plan(cut=1, epoch=6), "stage 6 once more")  # still the caller's
    assert len(dropped) == 4
    epochs.close()
    assert dropped[4:] == ["stage 6 again"]
    assert epochs.plan.epoch == 6
