"""Head and tail train in two real processes and do what the whole network does in one."""

import json
import multiprocessing
import os
import queue
import signal
import threading
import time
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from codesign_ros.cli.main import main
from codesign_ros.models.halves import split as split_network
from codesign_ros.models.network import Network, Segment
from codesign_ros.models.zoo import build
from codesign_ros.paper.convergence import make_ridge
from codesign_ros.training.split import link as split_link
from codesign_ros.training.split.job import SplitJob, Trained, differences
from codesign_ros.training.split.link import ROLES, PeerError, SplitLink
from codesign_ros.training.split.process import train_split
from codesign_ros.training.split.training import train_half, train_whole
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.tensors import InputSpec, TensorSpec
from support.tiny import CLASSES, tiny_frames, tiny_network

STEPS, BATCH = 3, 4


def images(steps=STEPS, batch=BATCH):
    frames = tiny_frames(steps * batch, seed=3) / 255.0
    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2).float().contiguous()
    for i in range(steps):
        yield pixels[i * batch : (i + 1) * batch]


def labels(steps=STEPS, batch=BATCH):
    rng = np.random.default_rng(4)
    for _ in range(steps):
        yield torch.from_numpy(rng.integers(0, len(CLASSES), batch))


def nothing():
    while True:
        yield None


def tiny_yolo():
    torch.manual_seed(5)
    return build("yolo", {"classes": 3, "depth": 0.34, "reg_max": 4}, InputSpec(64, 96))


def mean_square(output, _target):
    return output.square().mean()


def momentum(parameters):
    return torch.optim.SGD(parameters, 0.02, momentum=0.9, weight_decay=0.01)


def adam(parameters):
    return torch.optim.AdamW(parameters, 1e-3)


def job(cut, **changes):
    fields = {
        "make_network": tiny_network,
        "cut": cut,
        "steps": STEPS,
        "images": images,
        "targets": labels,
        "loss": F.cross_entropy,
        "optimiser": momentum,
    }
    return SplitJob(**{**fields, **changes})


def yolo_job(cut, **changes):
    fields = {"make_network": tiny_yolo, "targets": nothing, "loss": mean_square, "optimiser": adam}
    return job(cut, **{**fields, **changes})


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class QueueLink:
    """An end of a line inside one process, so that many cuts can be tried without starting any."""

    def __init__(self, role, out, back):
        self.role, self._out, self._in = role, out, back
        self.sent_bytes = self.received_bytes = 0

    def agree(self, *, cut, steps, crossing):
        pass

    def finish(self):
        pass

    def send_count(self, count):
        self._out.put(count)

    def receive_count(self):
        return self._in.get(timeout=60)

    def send(self, tensors):
        self._out.put([tensor.detach().numpy().copy() for tensor in tensors])
        self.sent_bytes += sum(tensor.nbytes for tensor in tensors)

    def receive(self, specs, count):
        tensors = [torch.from_numpy(array) for array in self._in.get(timeout=60)]
        assert [tuple(t.shape) for t in tensors] == [(count, *s.shape[1:]) for s in specs]
        self.received_bytes += sum(t.nbytes for t in tensors)
        return tensors


def train_in_threads(task):
    there, back, networks = queue.Queue(), queue.Queue(), queue.Queue()
    for _ in ROLES:  # beforehand: threads would draw random weights from one generator
        networks.put(task.make_network())
    task = replace(task, make_network=networks.get)
    heads = []

    def run_head():
        heads.append(train_half(task, QueueLink("head", there, back), record=True))

    thread = threading.Thread(target=run_head, daemon=True)
    thread.start()
    tail = train_half(task, QueueLink("tail", back, there), record=True)
    thread.join()
    (head,) = heads
    assert not head.parameters.keys() & tail.parameters.keys()
    assert not head.buffers.keys() & tail.buffers.keys()
    assert [s.activation_bytes for s in head.steps] == [s.activation_bytes for s in tail.steps]
    assert [s.gradient_bytes for s in head.steps] == [s.gradient_bytes for s in tail.steps]
    return Trained(
        {**head.parameters, **tail.parameters},
        {**head.buffers, **tail.buffers},
        [{**a, **b} for a, b in zip(head.gradients, tail.gradients, strict=True)],
        tail.steps,
    )


def bytes_of(specs):
    return BATCH * sum(4 * int(np.prod(spec.shape)) for spec in specs)


def assert_equal_to_the_whole(task, train):
    """Bit by bit: the same sums are done in the same order, only elsewhere."""
    split, whole = train(task), train_whole(task, record=True)
    assert len(split.gradients) == STEPS
    for ours, theirs in [
        *zip(split.gradients, whole.gradients, strict=True),
        (split.parameters, whole.parameters),
        (split.buffers, whole.buffers),
    ]:
        assert ours.keys() == theirs.keys()
        for name, tensor in theirs.items():
            assert torch.equal(ours[name], tensor), name
    assert [s.loss for s in split.steps] == [s.loss for s in whole.steps]
    assert set(differences(split, whole).values()) == {0.0}
    # It did learn: nothing would differ if nothing was done.
    start = dict(task.make_network().named_parameters())
    assert sum(not torch.equal(start[n], t) for n, t in split.parameters.items()) > len(start) / 2
    crossing = task.make_network().crossing(task.cut)
    back = 0 if task.cut == 0 else bytes_of(crossing)
    sizes = {(step.activation_bytes, step.gradient_bytes) for step in split.steps}
    assert sizes == {(bytes_of(crossing), back)}


in_processes = partial(train_split, record=True)


@pytest.mark.parametrize("cut", [2, 9])
def test_classifier_in_two_processes_is_the_classifier_in_one(cut):
    assert_equal_to_the_whole(job(cut), in_processes)


def test_detector_in_two_processes_with_three_crossing_tensors():
    assert len(tiny_yolo().crossing(12)) == 3
    assert_equal_to_the_whole(yolo_job(12), in_processes)


@pytest.mark.parametrize("cut", [0, 1, 6, 14, 15])
def test_classifier_at_other_cuts(cut):
    """At 0 only images cross, and none comes back; at 15 the tail has the loss alone."""
    assert_equal_to_the_whole(job(cut), train_in_threads)


@pytest.mark.parametrize(("cut", "tensors"), [(4, 1), (7, 2), (10, 3), (13, 1)])
def test_detector_at_other_cuts(cut, tensors):
    assert len(tiny_yolo().crossing(cut)) == tensors
    assert_equal_to_the_whole(yolo_job(cut), train_in_threads)


class InPlace(nn.Module):
    """A layer that changes what it is given, as ReLUs of many published networks do."""

    def forward(self, x):
        return x.relu_()


def in_place_network():
    torch.manual_seed(6)
    parts = [("conv", nn.Conv2d(3, 4, 3)), ("relu", InPlace()), ("end", nn.Conv2d(4, 2, 3))]
    return Network(parts, InputSpec(64, 96))


def test_a_tail_may_change_its_input_in_place():
    task = job(1, make_network=in_place_network, targets=nothing, loss=mean_square)
    assert_equal_to_the_whole(task, train_in_threads)


# Ridge regression on two parts of each image's first row: strongly convex in both weights.
RIDGE = make_ridge(1.0, 6.0, head_weights=3, tail_weights=3, samples=8, seed=2)


class Features(nn.Module):
    """Weighs some numbers of the image's first row; adds what comes from before."""

    def __init__(self, columns, start):
        super().__init__()
        self.columns = columns
        self.weights = nn.Parameter(torch.tensor(start, dtype=torch.float32))

    def forward(self, image, before=0.0):
        return image[:, 0, 0, self.columns] @ self.weights[:, None] + before


def ridge_network():
    head, tail = RIDGE.start[:3].tolist(), RIDGE.start[3:].tolist()
    parts = [
        Segment("head", Features([0, 1, 2], head), ("image",)),
        Segment("tail", Features([3, 4, 5], tail), ("image", "head")),
    ]
    return Network(parts, InputSpec(1, 6))


def ridge_images():
    features = np.hstack([RIDGE.head_features, RIDGE.tail_features])
    image = torch.zeros(8, 3, 1, 6)
    image[:, 0, 0] = torch.from_numpy(features).float()
    while True:
        yield image


def ridge_targets(pause_s=0.0):
    while True:
        time.sleep(pause_s)
        yield torch.from_numpy(RIDGE.targets).float()[:, None]


def half_mean_square(output, target):
    return (output - target).square().mean() / 2


def ridge_descent(parameters, learning_rate=0.2):
    return torch.optim.SGD(parameters, learning_rate, weight_decay=RIDGE.ridge)


def ridge_job(steps, **changes):
    fields = {
        "make_network": ridge_network,
        "steps": steps,
        "images": ridge_images,
        "targets": ridge_targets,
        "loss": half_mean_square,
        "optimiser": ridge_descent,
    }
    return job(1, **{**fields, **changes})


def test_two_processes_descend_as_numpy_does():
    """Eq. 15 worked out with matrices; the image crosses too, and has no gradient."""
    split = train_split(ridge_job(12))
    weights = torch.cat(list(split.parameters.values())).double().numpy()
    matrix = np.eye(6) - 0.2 * RIDGE.hessian
    away = np.linalg.matrix_power(matrix, 12) @ (RIDGE.start - RIDGE.optimum)
    np.testing.assert_allclose(weights, RIDGE.optimum + away, atol=2e-5)
    assert split.steps[0].gradient_bytes == 4 * 8
    assert split.steps[0].activation_bytes == 4 * 8 + 4 * 8 * 3 * 6


@pytest.mark.parametrize(
    ("victim", "number", "timeout_s", "message"),
    [
        ("tail", signal.SIGKILL, 60, r"the tail's process ended with signal 9 after \d+ steps"),
        ("head", signal.SIGKILL, 60, r"the head's process ended with signal 9 after \d+ steps"),
        ("tail", signal.SIGSTOP, 3, "the tail did not answer for 3 s while the head waited"),
    ],
)
def test_a_dead_peer_is_said_in_one_line(victim, number, timeout_s, message):
    task = ridge_job(100_000, targets=partial(ridge_targets, pause_s=0.005))
    pids = {}

    def strike(step):
        if step.step == 2:
            os.kill(pids[victim], number)

    with pytest.raises(CodesignError, match=message) as caught:
        train_split(task, timeout_s=timeout_s, on_start=pids.update, on_step=strike)
    assert "\n" not in str(caught.value)
    for pid in pids.values():
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_loss_that_explodes_is_said_and_not_that_the_other_side_went_away():
    task = ridge_job(100, optimiser=partial(ridge_descent, learning_rate=1e20))
    with pytest.raises(CodesignError, match=r"step \d: .* finite|step \d: the loss is") as caught:
        train_split(task)
    assert not isinstance(caught.value, PeerError)
    assert "smaller learning rate" in str(caught.value)


def agree_as_tail(rendezvous, cut, steps, crossing):
    link = SplitLink("tail", rendezvous, 60)
    try:
        link.agree(cut=cut, steps=steps, crossing=crossing)
    except CodesignError:
        pass
    finally:
        link.close()


@pytest.mark.parametrize(
    ("theirs", "message"),
    [
        ({"cut": 4}, "cut 3 at the head but 4 at the tail: start both with the same"),
        ({"steps": 6}, "steps 5 at the head but 6 at the tail"),
        ({"crossing": (TensorSpec("b", (1, 2)),)}, "different networks: other tensors cross"),
    ],
)
def test_sides_that_mean_different_things_do_not_begin(tmp_path, theirs, message):
    ours = {"cut": 3, "steps": 5, "crossing": (TensorSpec("a", (1, 2)),)}
    rendezvous = f"file://{tmp_path}/rendezvous"
    process = multiprocessing.get_context("forkserver").Process(
        target=agree_as_tail, args=(rendezvous,), kwargs={**ours, **theirs}, daemon=True
    )
    process.start()
    link = SplitLink("head", rendezvous, 60)
    try:
        with pytest.raises(CodesignError, match=message):
            link.agree(**ours)
    finally:
        link.close()
    process.join()
    assert process.exitcode == 0


def test_a_peer_that_does_not_come_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(split_link, "_START_S", 0.2)
    with pytest.raises(PeerError, match=r"the head waited 0.5 s at .* and the tail did not come"):
        SplitLink("head", f"file://{tmp_path}/rendezvous", 0.5)


def root(output, _target):
    """Finite everywhere, with an infinite slope at 0."""
    return output.clamp(min=0).mul(0).sqrt().sum()


def one_batch():
    yield from images(1)


def wrong_size():
    yield torch.zeros(BATCH, 3, 32, 96)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": root}, r"step 1: the gradient of .* is not finite; take a smaller"),
        ({"images": one_batch}, "the images ended after 1 steps"),
        ({"targets": partial(labels, 2)}, "the targets ended after 2 steps"),
        ({"images": wrong_size}, r"step 1: image is float32 \(4, 3, 32, 96\), the network says"),
        ({"cut": 99}, "cut 99 does not exist"),
        ({"steps": 0}, "at least 1 step, not 0"),
    ],
)
def test_what_goes_wrong_is_said_in_one_line(changes, message):
    with pytest.raises(CodesignError, match=message) as caught:
        train_whole(job(**{"cut": 2, **changes}))
    assert "\n" not in str(caught.value)


def test_a_bad_gradient_at_the_cut_does_not_cross_it():
    there, back = queue.Queue(), queue.Queue()
    image = next(images())
    head, _ = split_network(tiny_network().train(), 2)
    there.put(BATCH)
    there.put([t.detach().numpy() for t in head({"image": image}).values()])
    message = "step 1: the gradient by stage1.0, which crosses the cut, is not finite"
    with pytest.raises(CodesignError, match=message):
        train_half(job(2, loss=root), QueueLink("tail", back, there))
    assert back.empty()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--cut is missing"),
        (["--cut", "3", "--architecture", "vgg"], "unknown architecture 'vgg'; known are mine_rep"),
        (["--cut", "99", "--architecture", "yolo", "--height", "64", "--width", "96"], "cut 99"),
        (["--cut", "3", "--steps", "0"], "steps must be at least 1, not 0"),
        (
            ["--cut", "3", "--learning-rate", "nan"],
            "must be more than 0 and finite, not nan",
        ),
        (["--cut", "3", "--height", "64"], "--height and --width go with --architecture"),
        (["--cut", "3", "--plot", "a.png"], "--plot draws what --convergence simulates"),
        (["--cut", "3", "--convergence"], "--convergence simulates a problem of its own"),
    ],
)
def test_command_says_mistakes_in_one_line(arguments, message, capsys):
    assert main(["split-train", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1


def test_command_trains_a_detector_on_scenes_and_compares(tmp_path):
    file = tmp_path / "result.json"
    size = ["--architecture", "yolo", "--height", "64", "--width", "96", "--cut", "20"]
    counts = ["--steps", "2", "--batch", "2", "--frames", "3"]
    assert main(["split-train", *size, *counts, "--check", "--json", str(file)]) == 0
    result = json.loads(file.read_text())
    assert result["equal"] is True
    assert set(result["differences"]) == {"gradients", "parameters", "buffers", "loss"}
    assert [tensor["name"] for tensor in result["crossing"]] == ["rep4.5", "rep6.5", "conv7"]
    elements = sum(int(np.prod(tensor["shape"])) for tensor in result["crossing"])
    assert result["activation_bytes_per_step"] == 4 * elements
    assert result["gradient_bytes_per_step"] == 4 * elements
    assert len(result["loss"]) == 2
