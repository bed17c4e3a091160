"""Plans by epoch: prepared beside the running one, committed, dropped."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codesign_ros.runtime.epochs import EpochTable
from codesign_ros.types import CodesignError, Plan


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


@pytest.mark.parametrize("epoch", [0, 4, 5])
def test_only_newer_epochs_can_be_prepared(epoch):
    with pytest.raises(CodesignError, match=f"epoch {epoch} is not newer than epoch 5"):
        table(current=5).prepare(Plan(cut=1, epoch=epoch), "stage")


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


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(("prepare", "commit", "drop")), st.integers(0, 12)), max_size=40
    )
)
def test_the_epoch_in_force_is_never_lost(steps):
    epochs = table()
    known, current = {0}, 0  # the same, by hand
    for action, epoch in steps:
        if action == "prepare" and epoch > current:
            epochs.prepare(Plan(cut=1, epoch=epoch), f"stage {epoch}")
            known.add(epoch)
        elif action == "commit" and epoch >= current and epoch in known:
            epochs.commit(epoch)
            known -= {e for e in known if current < e < epoch}
            current = epoch
        elif action == "drop":
            epochs.drop_before(epoch)
            known = {e for e in known if e >= epoch or e == current}
        elif action == "prepare":
            with pytest.raises(CodesignError):
                epochs.prepare(Plan(cut=1, epoch=epoch), "stage")
        else:
            with pytest.raises(CodesignError):
                epochs.commit(epoch)
        assert set(epochs.epochs) == known
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
        epochs.prepare(Plan(cut=1, epoch=5), "stage 5")  # still the caller's
    assert len(dropped) == 4
    epochs.close()
    assert dropped[4:] == ["stage 6 again"]
    assert epochs.plan.epoch == 6
