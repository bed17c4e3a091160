"""``codesign rate-accuracy`` on a small detector with a neck."""

import json
import re
import shlex

import pytest

from codesign_ros.cli.main import main
from codesign_ros.evaluation.rate.measure import RateMeasurement
from codesign_ros.evaluation.resume import Journal
from codesign_ros.mine.generator import MineGenerator
from support.detectors import write_detector_bundle
from support.tiny_neck import write_tiny_neck

CUT = 4
OPTIONS = ["--data", "scenes:3", "mine:4", "--frames", "4", "3", "--threads", "1"]
OPTIONS += ["--drawings", "5"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rate")
    plain = write_detector_bundle(folder / "plain.bundle")
    return write_tiny_neck(folder / "detector.bundle", plain, CUT, CUT).path


@pytest.fixture(scope="module")
def measured(bundle, tmp_path_factory):
    stem = tmp_path_factory.mktemp("out") / "rates"
    assert main(["rate-accuracy", str(bundle), *OPTIONS, "--out", str(stem)]) == 0
    return json.loads(stem.with_suffix(".json").read_text())


def by_name(source):
    return {way["name"]: way for way in source["ways"]}


def test_every_way_has_bytes_and_differences(measured):
    scenes, film = measured["sources"]
    assert (scenes["frames"], film["frames"]) == (4, 3)
    ways = by_name(scenes)
    necks = [f"neck.{level} at {CUT}" for level in range(3)]
    tensors = [f"{codec} at {CUT}" for codec in ("uint8+zstd", "uint4+zstd")]
    assert list(ways)[:6] == ["raw", *necks, *tensors]
    assert {"jpeg420.90", "jpeg444.50", "webp.75"} <= ways.keys()
    raw = ways["raw"]
    assert raw["bytes_mean"] == raw["bytes_p95"] == 64 * 96 * 3
    assert raw["ap"]["difference"] == raw["ap"]["standard_error"] == 0
    for way in ways.values():
        assert 0 < way["bytes_mean"] <= raw["bytes_mean"]
        assert 0 < way["bytes_p95"] <= raw["bytes_p95"]
        assert way["ap"]["difference"] == pytest.approx(way["ap"]["value"] - raw["ap"]["value"])


def test_video_is_of_films_alone(measured):
    scenes, film = measured["sources"]
    video = {way["family"] for way in film["ways"]} & {"h264", "h265", "av1"}
    if not video:
        assert "PyAV" in film["notes"][0]
    assert not {way["family"] for way in scenes["ways"]} & {"h264", "h265", "av1"}
    assert scenes["notes"] == []


def test_a_neck_that_knows_films_is_written_after_frames_before(bundle, measured, tmp_path, capsys):
    plain = write_detector_bundle(tmp_path / "plain.bundle")
    film = write_tiny_neck(tmp_path / "film.bundle", plain, CUT, CUT, film=True).path
    stem = tmp_path / "rates"
    assert main(["rate-accuracy", str(film), *OPTIONS, "--out", str(stem)]) == 0
    assert "newest of the last 16 frames whose answer is there, 0.1 s after" in " ".join(
        capsys.readouterr().out.split()
    )
    content = json.loads(stem.with_suffix(".json").read_text())
    scenes, moving = map(by_name, content["sources"])
    assert not [name for name in scenes if "after" in name]
    for level in range(3):
        alone, after = (moving[f"neck.{level} at {CUT}{how}"] for how in ("", ", after a frame"))
        assert after["bytes_mean"] <= alone["bytes_mean"]
        assert [after[key] for key in ("ap", "map50")] == [alone[key] for key in ("ap", "map50")]
    # The tables of the other one know none.
    assert not [way for way in by_name(measured["sources"][1]) if "after" in way]


def test_a_film_has_the_frames_a_second_that_were_asked_for(bundle, tmp_path, capsys, monkeypatch):
    asked = []
    sequence = MineGenerator.sequence
    monkeypatch.setattr(
        MineGenerator,
        "sequence",
        lambda self, frames, fps: asked.append(fps) or sequence(self, frames, fps),
    )
    command = ["rate-accuracy", str(bundle), "--threads", "1", "--drawings", "2", "--fps", "2"]
    command += ["--frames", "2", "--out", str(tmp_path / "rates"), "--data"]
    assert main([*command, "mine:4"]) == 0
    assert set(asked) == {2.0}
    capsys.readouterr()
    assert main([*command, "scenes:4"]) == 2
    assert "--fps is of a generated film, and no --data is mine:SEED" in capsys.readouterr().err


def test_ctrl_c_prints_the_command_that_goes_on(bundle, measured, tmp_path, capsys, monkeypatch):
    stem = tmp_path / "two parts"
    drawn = []
    frame = MineGenerator.frame
    monkeypatch.setattr(MineGenerator, "frame", lambda self, i: drawn.append(i) or frame(self, i))
    add = Journal.add

    def pressed(self, run, number, entry):
        add(self, run, number, entry)
        if number == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "add", pressed)
        assert main(["rate-accuracy", str(bundle), *OPTIONS, "--out", str(stem)]) == 2
    told = capsys.readouterr().err
    assert "scenes:3: 4 frames left in 19 ways, about a minute" in told
    found = re.search(
        r"error: interrupted after 2 of 4 frames of scenes:3; codesign (.*) goes on", told
    )
    assert found, told
    assert (tmp_path / "two parts.0.checkpoint").exists()
    drawn.clear()
    assert main(shlex.split(found[1])) == 0
    assert drawn == [3]
    assert "scenes:3: 1 frames left" in capsys.readouterr().err
    assert json.loads((tmp_path / "two parts.json").read_text()) == measured
    assert (tmp_path / "two parts.png").stat().st_size > 10_000
    assert not list(tmp_path.glob("*.checkpoint"))


def test_frames_side_by_side_give_the_same(bundle, measured, tmp_path):
    stem = tmp_path / "rates"
    options = [*OPTIONS, "--out", str(stem)]
    options[options.index("--threads") + 1] = "3"
    assert main(["rate-accuracy", str(bundle), *options]) == 0
    assert json.loads(stem.with_suffix(".json").read_text()) == measured


def test_a_cameras_jpeg_is_what_all_are_compared_on(bundle, measured, tmp_path, capsys):
    stem = tmp_path / "rates"
    arguments = ["rate-accuracy", str(bundle), "--data", "scenes:3", "--frames", "4", "--cuts"]
    arguments += ["--threads", "1", "--drawings", "5", "--camera-jpeg", "30", "--out", str(stem)]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "jpeg444.90" in out
    content = json.loads(stem.with_suffix(".json").read_text())
    assert content["camera_jpeg"] == 30
    ways, of_raw = (by_name(each["sources"][0]) for each in (content, measured))
    assert f"uint8+zstd at {CUT}" not in ways
    # What a coarse JPEG has lost costs no bytes any more.
    assert ways["jpeg444.95"]["bytes_mean"] < 0.8 * of_raw["jpeg444.95"]["bytes_mean"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (["--frames", "1", "2", "3"], "--frames has 3 numbers for 2 sources; give one"),
        (["--frames", "0"], "scenes:3 has no known end; give a number of frames with --frames"),
        (["--threads", "0"], "--threads must be at least 1, not 0"),
        (["--drawings", "1"], "--drawings must be at least 2, not 1"),
        (["--camera-jpeg", "101"], "--camera-jpeg must be at most 100, not 101"),
        (["--cuts", "99"], "no tensor is sent at cut 99: cuts are 1 to "),
        (["--out", "/nowhere/at all"], "cannot write /nowhere/at all: there is no folder /nowhere"),
    ],
)
def test_mistakes_are_told_in_a_line(bundle, tmp_path, capsys, changed, message):
    arguments = ["rate-accuracy", str(bundle), *OPTIONS, "--out", str(tmp_path / "rates"), *changed]
    assert main(arguments) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"error: {message}")


def test_a_classifier_is_refused(tiny_bundle, tmp_path, capsys):
    assert main(["rate-accuracy", str(tiny_bundle.path), *OPTIONS]) == 2
    assert "rate-accuracy compares detectors; codesign accuracy" in capsys.readouterr().err


def test_a_checkpoint_of_something_else_is_refused(bundle, tmp_path, capsys):
    stem = tmp_path / "rates"
    with Journal(tmp_path / "rates.0.checkpoint", lambda: "another"):
        pass
    assert main(["rate-accuracy", str(bundle), *OPTIONS, "--out", str(stem)]) == 2
    assert "rates.0.checkpoint is of another measurement" in capsys.readouterr().err


def test_a_checkpoint_of_another_precision_is_refused(bundle, tmp_path, capsys, monkeypatch):
    command = ["rate-accuracy", str(bundle), *OPTIONS, "--out", str(tmp_path / "rates")]
    with monkeypatch.context() as patch:
        patch.setattr(RateMeasurement, "_unpacked", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            main(command)
    capsys.readouterr()
    assert main([*command, "--precision", "fp16"]) == 2
    assert "rates.0.checkpoint is of another measurement" in capsys.readouterr().err


def test_frames_without_truth(bundle, tmp_path, capsys, monkeypatch):
    entry = RateMeasurement._entry
    monkeypatch.setattr(
        RateMeasurement, "_entry", lambda self, number, _, *more: entry(self, number, None, *more)
    )
    stem = str(tmp_path / "rates")
    assert main(["rate-accuracy", str(bundle), *OPTIONS, "--out", stem]) == 2
    assert "frame 0 has no ground truth" in capsys.readouterr().err
