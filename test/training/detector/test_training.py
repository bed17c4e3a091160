"""Training the detector: it learns, repeats itself, goes on, and ends in a bundle."""

import itertools
import json
import signal
import time

import cv2
import numpy as np
import pytest
import torch
from rich.progress import Progress

from codesign_ros.bundle import Bundle
from codesign_ros.cli.main import main
from codesign_ros.models.zoo import build
from codesign_ros.resources import default_bundle
from codesign_ros.training import run as run_module
from codesign_ros.training.detector.options import fitting_input
from codesign_ros.training.detector.run import DetectorRun
from codesign_ros.training.detector.trainer import (
    DetectorConfig,
    DetectorTrainer,
    canvas_size,
    pictures_a_step,
)
from codesign_ros.training.loop import TrainingLoop
from codesign_ros.training.pace import Pace
from codesign_ros.training.transfer import start_from
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.tensors import InputSpec

SPEC = InputSpec(64, 96)
REG_MAX = 6


class Blobs:
    """Pictures with one bright square each."""

    def __init__(self, count):
        rng = np.random.default_rng(0)
        self.starts = rng.integers(4, 36, (count, 2))
        self.pictures = rng.integers(0, 60, (count, 64, 96, 3), dtype=np.uint8)
        for picture, (x, y) in zip(self.pictures, self.starts, strict=True):
            picture[y : y + 20, x : x + 20] = 230

    def __len__(self):
        return len(self.pictures)

    def image(self, index):
        return self.pictures[index]

    def boxes(self, index):
        x, y = self.starts[index]
        return np.array([[x, y, x + 20, y + 20]], np.float32)

    def labels(self, index):
        return np.zeros(1, np.int64)


def make_network():
    return build("yolo", {"classes": 1, "reg_max": REG_MAX, "depth": 0.2}, SPEC)


def trainer(steps=8, **kwargs):
    config = DetectorConfig(steps, batch_frames=2, canvases=((1.0, 0.7),), **kwargs)
    return DetectorTrainer(make_network, REG_MAX, Blobs(6), config)


def weights(run):
    return {name: t.clone() for name, t in run.averaged().state_dict().items()}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_the_same_seed_gives_the_same_weights_and_an_interrupted_run_too(tmp_path):
    whole = trainer()
    losses = [whole.step()["loss"] for _ in range(8)]
    again = trainer()
    for _ in range(5):
        again.step()
    again.save(tmp_path / "c", {"note": 7})
    again.step()  # lost in the interruption
    resumed = trainer()
    assert resumed.resume(tmp_path / "c") == {"note": 7}
    assert [resumed.step()["loss"] for _ in range(3)] == losses[5:]
    expected = weights(whole)
    for name, tensor in weights(resumed).items():
        assert torch.equal(tensor, expected[name]), name


@pytest.mark.parametrize("bfloat16", [False, True])
def test_it_learns(bfloat16):
    run = trainer(60, learning_rate=4e-3, bfloat16=bfloat16)
    losses = [run.step()["loss"] for _ in range(60)]
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:10])


def test_the_last_steps_see_whole_frames():
    run = trainer(8, whole_share=0.25)
    sizes = [run._draw(step)[0].images.shape for step in range(8)]
    assert sizes[5] == (3, *canvas_size(SPEC, (1.0, 0.7)), 3)
    assert sizes[6] == (2, 64, 96, 3)


VOC = """<annotation><filename>{name}.jpg</filename>
<size><width>160</width><height>120</height><depth>3</depth></size>
<object><name>pump</name><bndbox>
<xmin>{x}</xmin><ymin>{y}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax>
</bndbox></object></annotation>"""


@pytest.fixture(scope="module")
def voc_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "pumps"
    (folder / "JPEGImages").mkdir(parents=True)
    (folder / "Annotations").mkdir()
    rng = np.random.default_rng(0)
    for number in range(10):
        picture = rng.integers(0, 80, (120, 160, 3), dtype=np.uint8)
        x, y = (int(v) for v in rng.integers(5, 70, 2))
        picture[y : y + 40, x : x + 50] = (200, 220, 90)
        cv2.imwrite(str(folder / "JPEGImages" / f"{number}.jpg"), picture)
        text = VOC.format(name=number, x=x, y=y, right=x + 50, bottom=y + 40)
        (folder / "Annotations" / f"{number}.xml").write_text(text)
    return folder


def test_a_folder_becomes_a_bundle_that_can_be_evaluated(voc_folder, tmp_path, capsys):
    out = tmp_path / "pumps.bundle"
    arguments = ["--data", str(voc_folder), "--steps", "2", "--input", "64x96"]
    arguments += ["--threads", "1", "--init", "none"]
    assert main(["train", str(out), *arguments]) == 0
    document = json.loads((out / "training.json").read_text())
    assert document["classes"] == ["pump"]
    assert document["measured"][-1]["step"] == document["curve"][-1]["step"] == 2
    assert cv2.imread(str(out / "training.png")) is not None
    assert not (tmp_path / "pumps.bundle.training").exists()
    capsys.readouterr()
    report = tmp_path / "report.json"
    assert main(["evaluate", str(voc_folder), "--bundle", str(out), "--json", str(report)]) == 0
    result = json.loads(report.read_text())
    assert result["frames"] == 10
    assert result["map50"].keys() == {"pump"}
    assert result["coco"].keys() == {"ap", "ap_small", "ap_medium", "ap_large"}


def test_the_bundle_says_whose_weights_it_has_and_curves_run_forward(
    voc_folder, tmp_path, capsys, monkeypatch
):
    drawn = {}
    monkeypatch.setattr(run_module, "draw_curves", lambda _, curves, __: drawn.update(curves))
    scores = iter([0.1, 0.9, 0.3, 0.2])
    monkeypatch.setattr(DetectorRun, "score", lambda _, __: next(scores))
    out = tmp_path / "pumps.bundle"
    arguments = ["--data", str(voc_folder), "--steps", "4", "--input", "64x96"]
    assert main(["train", str(out), *arguments, "--threads", "1", "--init", "none"]) == 0
    document = json.loads((out / "training.json").read_text())
    assert document["best_step"] == 2
    assert "the weights after step 2 of 4" in " ".join(capsys.readouterr().out.split())
    assert [step for step, _ in drawn["mAP@0.5"]["pump"]] == [1, 2, 2, 3, 4]


def test_what_is_known_of_a_class_goes_to_the_class_of_that_name():
    bundle = Bundle.open(default_bundle())
    network = build("yolo", {"classes": 3, "reg_max": 12}, SPEC)
    count, of = start_from(bundle, network, "yolo", ("helmet", "pump", "person"))
    assert count == of
    old, new = bundle.network().state_dict(), network.state_dict()
    (name,) = [n for n in new if n.endswith("head.classes.0.4.weight")]
    assert torch.equal(new[name][0], old[name][bundle.classes.index("helmet")])
    assert torch.equal(new[name][2], old[name][bundle.classes.index("person")])
    assert not torch.equal(new[name][1], old[name][bundle.classes.index("head")])
    backbone = [n for n in new if n.startswith("segments.0.")]
    assert all(torch.equal(new[n], old[n]) for n in backbone)


def test_a_classifier_is_no_start_for_a_detector(tiny_bundle):
    with pytest.raises(CodesignError, match="is a mine_repvgg; a detector starts from a yolo"):
        start_from(tiny_bundle, make_network(), "yolo", ("a",))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--data", "/nowhere"], "/nowhere"),
        (["--epochs", "0"], "epochs must be more than 0"),
        (["--input", "8x8"], "--input must have 32 pixels a side or more"),
        (["--input", "big"], "is not a size"),
        (["--variant", "huge"], "there is no choice 'huge'; known are nano, small"),
        (["--init", "/nowhere.bundle"], "there is no bundle at /nowhere.bundle"),
        (["--resume"], "there is no checkpoint"),
        (["--classes", "pump,pump"], "--classes names 'pump' twice"),
        (["--classes", "pumps"], "has no class 'pumps'; it has pump; did you mean 'pump'?"),
        (["--map", "pump"], "--map takes FOUND=CLASS"),
        (["--map", "Pump=a"], "has no class 'Pump'; it has pump; did you mean 'pump'?"),
        (["--map", "pump=a", "--classes", "b"], "has no class 'b'; it has a"),
        (["--ignore-unknown"], "--ignore-unknown: a training learns all classes"),
    ],
)
def test_mistakes_are_one_line(voc_folder, tmp_path, capsys, arguments, text):
    given = ["--data", str(voc_folder), "--steps", "1", *arguments]
    if "--epochs" in arguments:
        given = ["--data", str(voc_folder), *arguments]
    try:
        status = main(["train", str(tmp_path / "x.bundle"), *given])
    except SystemExit as end:  # argparse
        status = end.code
    assert status == 2
    error = capsys.readouterr().err.strip()
    assert text in error
    assert error.count("\n") == 0
    assert not (tmp_path / "x.bundle").exists()


def test_images_start_from_the_shipped_detector(voc_folder, tmp_path, capsys):
    out = tmp_path / "pumps.bundle"
    arguments = ["--data", str(voc_folder), "--steps", "1", "--input", "64x96", "--threads", "1"]
    assert main(["train", str(out), *arguments, "--map", "pump=helmet"]) == 0
    assert Bundle.open(out).classes == ("helmet",)
    assert str(default_bundle()) in capsys.readouterr().out.replace("\n", "")
    before, after = (
        b.network().state_dict() for b in (Bundle.open(default_bundle()), Bundle.open(out))
    )
    name = "segments.0.0.conv.weight"
    assert (
        torch.nn.functional.cosine_similarity(before[name].flatten(), after[name].flatten(), 0)
        > 0.99
    )


def test_an_epoch_sees_each_picture_once():
    config = DetectorConfig(40, batch_frames=2, whole_share=0.25)
    run = DetectorTrainer(make_network, REG_MAX, Blobs(6), config)
    seen = []
    image = run._sampler._data.image
    run._sampler._data.image = lambda index: (seen.append(index), image(index))[1]
    for step in range(40):
        run._draw(step)
    assert len(seen) / 40 == pytest.approx(pictures_a_step(SPEC, config), rel=0.15)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([(416, 416)] * 3, (416, 416)),
        ([(400, 640)], (400, 640)),
        ([(1080, 1920), (1080, 1920), (480, 640)], (384, 672)),
        ([(3000, 2000)], (608, 416)),
        ([(20, 48)], (32, 48)),
    ],
)
def test_the_input_fits_the_pictures(sizes, expected):
    assert fitting_input(sizes) == expected


class Scored:
    """Stands for a network in training whose measurements are given."""

    def __init__(self, steps, folder, scores, patience=0.0, start_counts=False):
        self.trainer = trainer(steps, learning_rate=1e-3)
        self.scores = iter(scores)
        self.loop = TrainingLoop(
            self.trainer,
            folder / "x.bundle",
            {},
            lambda: {"score": next(self.scores)},
            lambda values: values["score"],
            Progress(disable=True),
            patience=patience,
            start_counts=start_counts,
        )
        self.seen = {}
        note = self.loop.note

        def noted(values, step):
            self.seen[step] = weights(self.trainer)
            note(values, step)

        self.loop.note = noted


def test_the_best_weights_are_kept_and_not_the_last(tmp_path):
    run = Scored(10, tmp_path, [0.1, 0.5, 0.9, 0.3, 0.4, 0.2, 0.2, 0.1, 0.3, 0.2])
    run.loop.run(Pace(10))
    assert run.loop.best_step == 3
    best = run.loop.best_weights()
    assert all(torch.equal(tensor, best[name]) for name, tensor in run.seen[3].items())
    assert run.trainer.steps_done == 10


def test_the_training_stops_when_nothing_gets_better(tmp_path):
    run = Scored(20, tmp_path, [0.1, 0.9, *[0.2] * 8], patience=0.3)
    run.loop.run(Pace(20))
    assert run.loop.best_step == 4
    assert run.trainer.steps_done == 12


def test_a_start_that_measured_best_is_kept_and_stops_nothing(tmp_path):
    run = Scored(10, tmp_path, [0.9, *[0.3] * 9, 0.5], patience=0.3, start_counts=True)
    start = weights(run.trainer)
    run.loop.run(Pace(10))
    assert (run.loop.best_step, run.trainer.steps_done) == (0, 10)
    best = run.loop.best_weights()
    assert all(torch.equal(tensor, best[name]) for name, tensor in start.items())
    assert run.loop.choice() == (
        "the weights of the start: the start measured 0.9000, step 10 measured 0.5000"
    )


def test_a_start_that_was_surpassed_is_measured_once_also_with_an_interruption(tmp_path):
    run = Scored(4, tmp_path, [0.4], start_counts=True)
    interrupt_at(run, measured=1)
    with pytest.raises(CodesignError, match="interrupted after 0 of 4 steps"):
        run.loop.run(Pace(4))
    rest = Scored(4, tmp_path, [0.3, 0.5, 0.5, 0.2], start_counts=True)
    rest.loop.restore(4)
    rest.loop.run(Pace(4))
    assert [each["step"] for each in rest.loop.measured] == [0, 1, 2, 3, 4]
    assert rest.loop.choice() == (
        "the weights after step 3 of 4: the start measured 0.4000, step 3 measured 0.5000"
    )


@pytest.mark.parametrize(
    ("more", "counts"),
    [
        ([], True),
        (["--classes", "pump"], True),
        (["--input", "64x64"], False),
        (["--map", "pump=valve"], False),
    ],
)
def test_a_start_counts_that_knows_the_classes_at_the_same_size(
    voc_folder, tmp_path, monkeypatch, more, counts
):
    start = tmp_path / "start.bundle"
    given = ["--data", str(voc_folder), "--steps", "1", "--threads", "1"]
    size = ["--input", "64x96"]
    assert main(["train", str(start), *given, *size, "--init", "none"]) == 0
    monkeypatch.setattr(DetectorRun, "score", lambda _, __: 0.5)
    again = [*given, *(size if "--input" not in more else []), "--init", str(start), *more]
    assert main(["train", str(tmp_path / "again.bundle"), *again]) == 0
    document = json.loads((tmp_path / "again.bundle" / "training.json").read_text())
    assert (document["measured"][0]["step"] == 0) == counts


def interrupt_at(run, measured=None, step=None):
    """Have a run interrupted within a measurement (the n-th) or a step."""
    measure, make_step, count = run.loop._measure, run.trainer.step, itertools.count(1)

    def measuring():
        if next(count) == measured:
            signal.raise_signal(signal.SIGINT)
        return measure()

    def stepping():
        made = make_step()
        if run.trainer.steps_done == step:
            signal.raise_signal(signal.SIGINT)
        return made

    run.loop._measure, run.trainer.step = measuring, stepping


@pytest.mark.parametrize("at", [{"measured": 6}, {"step": 12}, {"step": 11}, {"measured": 3}])
def test_interrupted_where_it_stops_and_gone_on_with_nothing_is_added(tmp_path, at):
    # The one behind the stop would win.
    scores = [0.1, 0.9, *[0.2] * 4, 1.0]
    whole = Scored(20, tmp_path / "whole", scores, patience=0.3)
    whole.loop.run(Pace(20))
    parts = Scored(20, tmp_path / "parts", scores, patience=0.3)
    interrupt_at(parts, **at)
    with pytest.raises(CodesignError, match="--resume goes on"):
        parts.loop.run(Pace(20))
    rest = Scored(20, tmp_path / "parts", scores[len(parts.loop.measured) :], patience=0.3)
    rest.loop.restore(20)
    rest.loop.run(Pace(20))
    assert rest.trainer.steps_done == whole.trainer.steps_done == 12
    assert rest.loop.best_step == whole.loop.best_step == 4
    assert rest.loop.measured == whole.loop.measured
    assert rest.loop.curve == whole.loop.curve
    one, other = whole.loop.best_weights(), rest.loop.best_weights()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


class Shrinking(Pace):
    """A pace that finds, after a step, that fewer fit than it thought."""

    def stepped(self, done, seconds):
        if done == 9:
            self.steps = 12


def test_a_stop_between_two_measurements_is_measured_before_it_is_said(tmp_path):
    # 9 - 4 steps without anything better are too many of 12; then step 9 is better.
    run = Scored(20, tmp_path, [0.1, 0.9, 0.2, 0.2, 1.0, 0.3, 0.3], patience=0.3)
    run.loop.run(Shrinking(20))
    assert run.loop.best_step == 9
    assert run.trainer.steps_done == 12


def test_the_last_weights_are_kept_where_they_are_as_good(tmp_path):
    run = Scored(10, tmp_path, [0.0] * 10, patience=0.3)
    run.loop.run(Pace(10))
    assert run.loop.best_step == 10
    assert run.loop.best_weights() is None


def test_nothing_empty_is_left_where_nothing_was_written(tmp_path):
    run = Scored(10, tmp_path, [])
    run.trainer.step = lambda: (_ for _ in ()).throw(CodesignError("no picture"))
    with pytest.raises(CodesignError, match="no picture"):
        run.loop.run(Pace(10))
    assert list(tmp_path.iterdir()) == []


def signalling(run, at, numbers):
    """Have signals come within a step."""
    make_step = run.trainer.step

    def stepping():
        if run.trainer.steps_done + 1 == at:
            for number in numbers:
                signal.raise_signal(number)
        return make_step()

    run.trainer.step = stepping


def said(capsys, text):
    """Wait for what another thread prints."""
    seen, until = "", time.monotonic() + 10
    while text not in seen and time.monotonic() < until:
        seen = " ".join((seen + capsys.readouterr().out).split())
        time.sleep(0.01)
    return text in seen


def test_a_second_interrupt_leaves_the_checkpoint_of_the_best_and_no_best_without_one(
    tmp_path, capsys
):
    run = Scored(10, tmp_path, [0.1, 0.9, 0.3, 0.3])
    signalling(run, 5, [signal.SIGINT, signal.SIGINT])
    with pytest.raises(KeyboardInterrupt):
        run.loop.run(Pace(10))
    assert said(capsys, "Ctrl-C again gives up what is newer than the last checkpoint")
    rest = Scored(10, tmp_path, [0.3] * 8)
    rest.loop.restore(10)
    assert (rest.trainer.steps_done, rest.loop.best_step) == (2, 2)
    best = rest.loop._trainer.averaged().state_dict()
    rest.trainer.steps_done = 3
    assert all(torch.equal(t, best[name]) for name, t in rest.loop.best_weights().items())

    early = Scored(10, tmp_path / "early", [0.1])
    early.trainer.save = lambda path, _: (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        early.loop.run(Pace(10))
    assert list((tmp_path / "early").iterdir()) == []


def test_sigterm_ends_it_after_its_step_with_the_status_of_who_is_terminated(tmp_path, capsys):
    before = signal.getsignal(signal.SIGTERM)
    run = Scored(10, tmp_path, [0.1] * 10)
    signalling(run, 5, [signal.SIGTERM])
    with pytest.raises(CodesignError, match="interrupted after 5 of 10 steps") as raised:
        run.loop.run(Pace(10))
    assert raised.value.status == 143
    assert said(capsys, "ending after this step or measurement")
    assert signal.getsignal(signal.SIGTERM) is before


def test_interrupted_and_gone_on_with_it_ends_with_the_same_weights(
    voc_folder, tmp_path, capsys, monkeypatch
):
    arguments = ["--data", str(voc_folder), "--steps", "12", "--input", "64x96", "--threads", "1"]
    assert main(["train", str(tmp_path / "whole"), *arguments, "--init", "none"]) == 0
    step = DetectorTrainer.step

    def interrupted(self):
        if self.steps_done == 6:
            signal.raise_signal(signal.SIGINT)
        return step(self)

    out = tmp_path / "parts"
    with monkeypatch.context() as patch:
        patch.setattr(DetectorTrainer, "step", interrupted)
        assert main(["train", str(out), *arguments, "--init", "none"]) == 2
    error = capsys.readouterr().err.strip()
    assert error.endswith(f"codesign train {out} --resume goes on")
    assert main(["train", str(out), "--resume"]) == 0
    one, other = (Bundle.open(p).network().state_dict() for p in (tmp_path / "whole", out))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["parts", "whole"]
