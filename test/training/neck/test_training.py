"""Training a neck for tiny networks, its checkpoints, and the way to a bundle."""

import itertools
import json
import math
import signal
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from rich.console import Console

from codesign_ros.bundle import Bundle
from codesign_ros.cli.main import main
from codesign_ros.data.sources import open_source
from codesign_ros.engines.base import EngineKey
from codesign_ros.engines.factory import open_backend
from codesign_ros.models.neck import Neck, NeckForm
from codesign_ros.models.network import weights_of
from codesign_ros.pixels.letterbox import letterbox
from codesign_ros.training.base_run import train
from codesign_ros.training.neck.film import film_frames
from codesign_ros.training.neck.frames import Pictures
from codesign_ros.training.neck.likeness import judged_segment
from codesign_ros.training.neck.options import NeckOptions
from codesign_ros.training.neck.run import NeckRun, open_neck_run
from codesign_ros.training.neck.teacher import Teacher
from codesign_ros.training.neck.trainer import NeckConfig, NeckTrainer
from codesign_ros.training.tensors import to_input
from codesign_ros.types.errors import CodesignError
from codesign_ros.wire.neck.payload import (
    CodedFrame,
    decode_codes,
    dequantise,
    encode_codes,
    quantise,
)
from support.detectors import write_detector_bundle
from support.tiny import tiny_frames
from support.two_cameras import RIGHT, write_two_cameras
from support.two_maps import LATER, ONE, TWO

CUT, ENTER = 3, 5
CONFIG = NeckConfig(
    steps=10,
    batch_frames=3,
    bytes=(60, 30),
    form=NeckForm(channels=6, encoder_width=6, decoder_width=8),
)


@pytest.fixture(scope="module")
def detector(tmp_path_factory) -> Bundle:
    return write_detector_bundle(tmp_path_factory.mktemp("detector") / "tiny.bundle")


@pytest.fixture(scope="module", params=["classifier", "detector", "two maps"])
def bundle(request, tiny_bundle, detector, two_maps_bundle) -> Bundle:
    """Two maps cross at both cuts of the last one."""
    networks = {"classifier": tiny_bundle, "detector": detector, "two maps": two_maps_bundle}
    return networks[request.param]


@pytest.fixture
def folder(tmp_path):
    """Pictures of another size than the input, without labels."""
    path = tmp_path / "pictures"
    path.mkdir()
    for number, frame in enumerate(tiny_frames(12, seed=3)):
        cv2.imwrite(str(path / f"{number:02}.png"), cv2.resize(frame, (120, 80)))
    return path


def pictures(count=12):
    return Pictures(tiny_frames(count, seed=2), None, "noise")


def trainer(bundle, config=CONFIG, enter=ENTER):
    return NeckTrainer(Teacher(bundle, CUT, enter), pictures(), config)


def weights(run):
    return {name: t.clone() for name, t in run.rated().state_dict().items()}


def test_it_learns_and_the_levels_come_apart(bundle):
    config = replace(CONFIG, steps=60, learning_rate=5e-3, bytes=(2000, 2), feature_share=0.5)
    run = trainer(bundle, config)
    start = run.rated().log_price.clone()
    steps = [run.step() for _ in range(config.steps)]
    errors = [step["map_error"] for step in steps[:30]]
    assert np.mean(errors[-10:]) < np.mean(errors[:10])
    assert all(step["answer_error"] == 0 for step in steps[:30])
    assert all(step["answer_error"] != 0 for step in steps[30:])
    # What may take much becomes cheap.
    prices = run.rated().log_price
    assert prices[0] < start[0]
    assert prices[1] > start[1]


def test_three_maps_of_a_detector_whole_and_in_crops(detector):
    """Strides 8, 16 and 32: a crop of one row of the coarsest map."""
    cut = 20
    teacher = Teacher(detector, cut, cut)
    assert [shape[1:] for shape in teacher.target_shapes] == [(8, 12), (4, 6), (2, 3)]
    # With more rows to a place, the row of the coarsest map would be decoded as two.
    for patch, fits in ((2, False), (1, True)):
        form = replace(CONFIG.form, patch=patch)
        neck = Neck(teacher.source_shapes, teacher.target_shapes, form)
        assert teacher.takes(32, 64, neck) == fits
    run = NeckTrainer(teacher, pictures(), replace(CONFIG, form=form))
    steps = [run.step() for _ in range(6)]
    assert all(np.isfinite(step["loss"]) for step in steps)
    assert steps[0]["map_error"] < 1


def test_where_several_maps_cross_the_latent_has_their_coarsest_grid(
    two_maps_bundle, folder, tmp_path
):
    out = tmp_path / "out.bundle"
    shapes = {}
    for cut, enter in ((TWO, TWO), (ONE, LATER), (ONE, ONE)):
        options = NeckOptions(
            neck=cut, enter=enter, init=two_maps_bundle.path, data=str(folder), steps=2,
            device="cpu", threads=1,
        )  # fmt: skip
        train(out, options, Console(quiet=True), open_neck_run)
        (neck,) = Bundle.open(out).necks
        shapes[cut, enter] = neck.shape
    # So many numbers are of a place, which are fewer than 32 channels for each map.
    of_two = (4 * 8 + 12, 8, 12)
    assert shapes == {(TWO, TWO): of_two, (ONE, LATER): of_two, (ONE, ONE): (32, 8, 12)}


def test_maps_of_too_different_sizes_are_refused(detector, tmp_path, monkeypatch):
    monkeypatch.setattr("codesign_ros.training.neck.run._MOST_NUMBERS", 1000)
    options = NeckOptions(neck=20, init=detector.path, steps=1, threads=1)
    with pytest.raises(CodesignError, match="at cut 20 a place of it stands for 1792 numbers"):
        train(tmp_path / "out.bundle", options, Console(quiet=True), open_neck_run)


def test_the_same_seed_repeats_itself(bundle):
    runs = [trainer(bundle) for _ in range(2)]
    for run in runs:
        for _ in range(3):
            run.step()
    one, other = map(weights, runs)
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_an_interrupted_run_goes_on_as_if_it_had_not_been(bundle, tmp_path):
    whole = trainer(bundle)
    steps = [whole.step() for _ in range(10)]
    first = trainer(bundle)
    for _ in range(4):
        first.step()
    first.save(tmp_path / "checkpoint.safetensors", {"a": 1})
    second = trainer(bundle)
    assert second.resume(tmp_path / "checkpoint.safetensors") == {"a": 1}
    assert [second.step() for _ in range(6)] == steps[4:]
    one, other = weights(whole), weights(second)
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    more_levels = trainer(bundle, replace(CONFIG, bytes=(60, 40, 30)))
    with pytest.raises(CodesignError, match="is of a run with other options; give the same ones"):
        more_levels.resume(tmp_path / "checkpoint.safetensors")


def test_answers_come_in_slowly_after_maps_alone(detector):
    config = replace(CONFIG, steps=40, feature_share=0.5, answers_rate=0.1, learning_rate=1e-3)
    run = trainer(detector, config)
    rates = [run.step()["learning_rate"] for _ in range(40)]
    # By hand: two steps of warm-up, a cosine, and from step 20 on a tenth of it, after a new one.
    usual = [
        min((k + 1) / 2, 0.5 + 0.5 * math.cos(math.pi * max(0, k - 2) / 38)) for k in range(40)
    ]
    wanted = [1e-3 * share for share in usual]
    wanted[20:] = [0.1 * rate * min(1, (k + 1) / 2) for k, rate in enumerate(wanted[20:])]
    assert rates == pytest.approx(wanted)


@pytest.mark.parametrize(("enter", "rate", "share"), [(3, None, 0.1), (20, None, 1), (3, 1e-3, 1)])
def test_early_maps_take_a_lower_rate_unless_one_is_given(
    detector, folder, tmp_path, enter, rate, share
):
    out = tmp_path / "out.bundle"
    options = NeckOptions(
        neck=3, enter=enter, init=detector.path, data=str(folder), steps=1, channels=4,
        device="cpu", threads=1, learning_rate=rate,
    )  # fmt: skip
    train(out, options, Console(quiet=True), open_neck_run)
    config = json.loads((out / "neck_3.json").read_text())["config"]
    assert config["answers_rate"] == share


def test_classes_of_a_detector_count_alike(detector):
    teacher = Teacher(detector, CUT, ENTER)
    plain, shown = teacher.distance, pictures()
    NeckTrainer(teacher, shown, CONFIG)
    answers = torch.cat([
        teacher.answer(teacher.ends(to_input(image[None], detector.input))[1])
        for image in shown.images
    ])  # fmt: skip
    sums = answers[:, 4:].sum((0, 2))
    raw, _, _ = judged_segment(detector)
    taught, found = (teacher.behind(teacher.ends(torch.randn(2, 3, 64, 96))[1])[raw] for _ in "ab")
    weights = (sums.mean() / sums).clamp(0.25, 4)
    assert teacher.distance(found, taught) == plain(found, taught, weights=weights)
    assert teacher.distance(found, taught) != plain(found, taught)


def test_the_network_itself_stays_as_it_is(bundle):
    teacher = Teacher(bundle, CUT, ENTER)
    before = {name: t.clone() for name, t in teacher.network.state_dict().items()}
    run = NeckTrainer(teacher, pictures(), CONFIG)
    for _ in range(10):
        run.step()
    after = teacher.network.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


@pytest.mark.parametrize(("data", "is_film"), [("mine:5", True), ("scenes:5", False)])
def test_on_a_film_it_counts_what_comes_after_the_frame_before(
    tiny_bundle, tmp_path, monkeypatch, data, is_film
):
    monkeypatch.setattr("codesign_ros.training.neck.film._FRAMES", 24)
    out = tmp_path / "out.bundle"
    arguments = [
        "train", out, "--neck", CUT, "--init", tiny_bundle.path, "--data", data, "--frames", 8,
        "--val-frames", 2, "--steps", 2, "--bytes", 400, 100, "--channels", 6, "--device", "cpu",
        "--threads", 1,
    ]  # fmt: skip
    assert main(list(map(str, arguments))) == 0
    made = Bundle.open(out)
    tables = made.neck_tables(CUT)
    assert (tables.after is not None) == is_film
    if not is_film:
        return
    # Other frames of such a film take fewer bytes after the one before.
    assert tables.after.shape[:3] == (2, 6, 9)
    head = open_backend(made, "onnxruntime").build(EngineKey("head", CUT, neck=True))
    latents = [
        head.run({"image": letterbox(frame.rgb(), made.input)})["neck"]
        for frame in open_source("mine:6", frames=6, fps=10.0)
    ]
    codes = [quantise(latent, tables, 0) for latent in latents]
    alone = sum(len(encode_codes(each, tables, 0)) for each in codes[1:])
    after = sum(
        len(encode_codes(each, tables, 0, CodedFrame(0, before, 0)))
        for before, each in itertools.pairwise(codes)
    )
    assert after < alone


def test_from_a_folder_to_a_bundle_that_runs(bundle, folder, tmp_path, engine_cache):
    out = tmp_path / "out.bundle"
    arguments = [
        "train", out, "--neck", CUT, "--enter", ENTER, "--init", bundle.path, "--data", folder,
        "--steps", 6, "--bytes", 60, 30, "--channels", 6, "--device", "cpu", "--threads", 1,
        "--feature-share", 0.25,
    ]  # fmt: skip
    assert main(list(map(str, arguments))) == 0
    made = Bundle.open(out)
    (neck,) = made.necks
    assert (neck.cut, neck.enter, neck.levels, neck.shape[0]) == (CUT, ENTER, 2, 6)
    assert made.model_id != bundle.model_id
    document = json.loads((out / f"neck_{CUT}.json").read_text())
    assert len(document["levels"]) == 2
    assert document["config"]["feature_share"] == 0.25
    assert document["trained_on"] == f"10 frames of {folder}"
    assert (out / f"neck_{CUT}.png").stat().st_size > 1000
    assert not out.with_name("out.bundle.training").exists()

    # What is in the bundle goes over the wire and comes back.
    tables = made.neck_tables(CUT)
    assert tables.after is None  # pictures of a folder do not follow each other
    factory = open_backend(made, "onnxruntime", engine_cache)
    head, tail = (factory.build(EngineKey(part, CUT, neck=True)) for part in ("head", "tail"))
    latent = head.run({"image": tiny_frames(1, seed=8)[0]})["neck"]
    for level in range(2):
        codes = quantise(latent, tables, level)
        found, told = decode_codes(encode_codes(codes, tables, level), tables)
        assert told == level
        np.testing.assert_array_equal(found, codes)
        answer = tail.run({"neck": dequantise(found, tables, level)})
        assert all(np.isfinite(each).all() for each in answer.values())


def test_training_goes_on_from_the_neck_that_is_there(detector, folder, tmp_path, capfd):
    """With parts as deep as that neck's, if nothing else is said, or deeper ones."""
    out = tmp_path / "out.bundle"
    for depth, found in ((1, 1), (None, 1), (3, 3)):
        init = out if out.exists() else detector.path
        options = NeckOptions(
            neck=CUT, init=init, data=str(folder), steps=1, channels=4, device="cpu", threads=1,
            encoder_depth=depth, decoder_depth=depth,
        )  # fmt: skip
        train(out, options, Console(file=sys.stderr), open_neck_run)
        (neck,) = Bundle.open(out).necks
        assert neck.form["encoder_depth"] == neck.form["decoder_depth"] == found
        assert ("goes on from the neck" in capfd.readouterr().err) == (init == out)
        config = json.loads((out / f"neck_{CUT}.json").read_text())["config"]
        assert config["feature_share"] == (0 if init == out else 0.12)


@pytest.mark.parametrize("enter", [CUT, ENTER])
def test_a_tail_of_its_own_learns_with_the_neck(bundle, folder, tmp_path, engine_cache, enter):
    out = tmp_path / "out.bundle"

    def trained(init, **more):
        options = NeckOptions(
            neck=CUT, enter=enter, init=init, data=str(folder), steps=3, channels=4, device="cpu",
            threads=1, bytes=(300, 100), feature_share=0.0, **more,
        )  # fmt: skip
        train(out, options, Console(quiet=True), open_neck_run)
        return Bundle.open(out)

    made = trained(bundle.path, own_tail=True)
    (neck,) = made.necks
    assert neck.own_tail
    plain, own = weights_of(bundle.network()), weights_of(made.network(CUT))
    changed = {name for name, array in own.items() if not np.array_equal(array, plain[name])}
    numbers = {int(name.removeprefix("segments.").split(".")[0]) for name in changed}
    assert min(numbers) >= enter
    parameters = dict(bundle.network().named_parameters())
    assert changed <= parameters.keys()  # BatchNorm's statistics stay
    # Float16 alone does not do that to weights that were trained already.
    assert max(np.abs(own[name] - plain[name]).max() for name in changed) > 1e-4
    assert all(np.allclose(own[name], plain[name], atol=1e-2) for name in changed)
    # Without the neck it is the network that it was.
    for name, array in weights_of(made.network()).items():
        np.testing.assert_array_equal(array, plain[name])
    # Going on keeps and trains it, whether that is said again or not.
    again = trained(out)
    assert again.neck(CUT).own_tail
    more = weights_of(again.network(CUT))
    assert any(not np.array_equal(array, own[name]) for name, array in more.items())
    assert all(np.allclose(array, own[name], atol=1e-2) for name, array in more.items())


def test_a_second_neck_leaves_the_first(detector, folder, tmp_path):
    out = tmp_path / "out.bundle"
    for cut, init in ((CUT, detector.path), (4, out)):
        options = NeckOptions(
            neck=cut, init=init, data=str(folder), steps=2, channels=4, device="cpu", threads=1
        )
        train(out, options, Console(quiet=True), open_neck_run)
    assert [neck.cut for neck in Bundle.open(out).necks] == [CUT, 4]
    assert (out / f"neck_{CUT}.json").exists()


def test_interrupted_by_a_signal_and_resumed(detector, folder, tmp_path, monkeypatch):
    out, whole_out = tmp_path / "out.bundle", tmp_path / "whole.bundle"
    arguments = [
        "--neck", CUT, "--init", detector.path, "--data", folder, "--steps", 8, "--channels", 4,
        "--device", "cpu", "--threads", 1,
    ]  # fmt: skip
    make = NeckRun.make_trainer

    def interrupting(self, steps):
        run = make(self, steps)
        step = run.step

        def step_and_interrupt():
            made = step()
            if run.steps_done == 3:
                signal.raise_signal(signal.SIGINT)
            return made

        run.step = step_and_interrupt
        return run

    with monkeypatch.context() as patch:
        patch.setattr(NeckRun, "make_trainer", interrupting)
        assert main(["train", str(out), *map(str, arguments)]) != 0
    assert not out.exists()
    assert main(["train", str(out), "--resume"]) == 0
    assert main(["train", str(whole_out), *map(str, arguments)]) == 0
    assert Bundle.open(out).model_id == Bundle.open(whole_out).model_id


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"init": None}, "a neck needs --init BUNDLE"),
        ({"enter": 2}, "--enter must be 3 or more, not 2"),
        ({"bytes": (10, 20)}, "--bytes must be 1 to 6 sizes, the largest first, not 10 20"),
        ({"neck": 99}, "cut 99 does not exist"),
        ({"neck": 26}, "a neck needs a cut at which maps (1, C, H, W) alone cross; at cut 26"),
        ({"data": "/nowhere"}, "source /nowhere does not exist"),
    ],
)
def test_what_makes_no_sense_is_refused(detector, tmp_path, more, said):
    options = NeckOptions(**{"neck": 3, "init": detector.path, "steps": 1, "threads": 1, **more})
    with pytest.raises(CodesignError) as raised:
        train(tmp_path / "out.bundle", options, Console(quiet=True), open_neck_run)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "out.bundle").exists()


def test_a_film_is_of_the_topic_that_was_named_and_goes_on_after_a_broken_frame(
    tiny_bundle, tmp_path
):
    bag = write_two_cameras(tmp_path / "bag", 5, broken=[1])
    options = NeckOptions(data=str(bag), topic=RIGHT, neck=CUT, init=tiny_bundle.path)
    frames = list(film_frames(options, tiny_bundle.input))
    assert len(frames) == 4
