"""``codesign accuracy``, run as the installed program runs it."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest

from codesign_ros.bundle import Bundle
from codesign_ros.cli.main import main
from codesign_ros.evaluation.accuracy_runs import Runs
from codesign_ros.types.boxes import Box
from codesign_ros.types.codec_names import H264_CODECS, JPEG444_CODECS, encoded_anew
from support.label_files import write_voc
from support.paths import ROOT


@pytest.fixture
def program(tmp_path):
    """The launcher that CMake installs as ``codesign``."""
    values = {
        "Python3_EXECUTABLE": sys.executable,
        "module": "codesign_ros.cli.main",
        "interrupted": "130",
        "ready": "",
    }
    text = (ROOT / "resource" / "launcher.py.in").read_text()
    file = tmp_path / "codesign"
    file.write_text(re.sub(r"@(\w+)@", lambda match: values[match[1]], text))
    file.chmod(0o755)
    return file


def test_measures_and_writes_the_table(tiny_bundle, program, tmp_path):
    """Scenes are drawn by processes of its own, which must not run the program again."""
    bundle = tmp_path / "copy.bundle"
    shutil.copytree(tiny_bundle.path, bundle)
    arguments = [
        "accuracy", bundle, "--data", "scenes:3", "--frames", "3", "--cuts", "0", "2",
        "--codec", "uint8", "--structure", "S3", "S3+Ss", "--merge", "fold", "prune+bn",
        "--precision", "fp32", "--threads", "1", "--write", "--json", tmp_path / "table.json",
    ]  # fmt: skip
    run = subprocess.run(
        [program, *map(str, arguments)],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "uint8" in run.stdout
    table = Bundle.open(bundle).accuracy
    assert json.loads(table.to_json()) == json.loads((tmp_path / "table.json").read_text())
    assert "3 frames of scenes:3" in table.data
    forms = {(row.merge.value, row.head_structure.value) for row in table.rows}
    # In fp32 the folded S3+Ss is one function with the folded S3.
    assert forms == {("fold", "S3"), ("prune+bn", "S3"), ("prune+bn", "S3+Ss")}
    assert {(row.codec, row.cut) for row in table.rows} == {
        ("raw", None),
        *((codec, 0) for codec in ("jpeg", *JPEG444_CODECS, *map(encoded_anew, JPEG444_CODECS))),
        ("uint8", 2),
    }
    assert "3 forms on 3 frames: 42 runs of the network or of its tails, about " in run.stderr
    assert not list(tmp_path.glob("*.accuracy"))
    assert all(0 <= row.value <= 1 for row in table.rows)


def test_adds_to_the_table_what_it_lacks(tiny_bundle, tmp_path, capsys):
    out = tmp_path / "copy.bundle"
    shutil.copytree(tiny_bundle.path, out)
    measuring = ["accuracy", str(out), "--data", "scenes:3", "--frames", "3", "--structure", "S3",
                 "--merge", "fold", "--cuts", "--threads", "1"]  # fmt: skip
    assert main([*measuring, "--precision", "fp32", "--write"]) == 0
    first = Bundle.open(out)
    assert main([*measuring, "--precision", "fp32", "fp16", "--add"]) == 0
    second = Bundle.open(out)
    assert second.accuracy.rows[:-1] == first.accuracy.rows
    assert [row.precision for row in second.accuracy.rows] == ["fp32", "fp16"]
    assert second.model_id == first.model_id  # engines that are in caches stay good
    # On other frames the same network comes off otherwise.
    worse = replace(first.accuracy, reference=first.accuracy.reference / 2 + 0.3)
    first.replace_accuracy(worse)
    capsys.readouterr()
    assert main([*measuring, "--precision", "fp16", "--add"]) == 2
    assert "measure on the same frames" in capsys.readouterr().err
    assert Bundle.open(out).accuracy == worse


def test_video_is_added_to_a_table_of_other_frames(tiny_bundle, tmp_path, capsys):
    pytest.importorskip("av")
    out = tmp_path / "copy.bundle"
    shutil.copytree(tiny_bundle.path, out)
    before = Bundle.open(out).accuracy
    measuring = ["accuracy", str(out), "--frames", "4", "--structure", "S3", "--merge", "fold",
                 "--precision", "fp32", "--threads", "1", "--add", "--data"]  # fmt: skip
    assert main([*measuring, "scenes:3", "--codec", "h264"]) == 2
    assert "--data scenes:3 is no film" in capsys.readouterr().err
    assert main([*measuring, "mine:3", "--codec", "h264", "uint8"]) == 2
    assert "--codec h264 stands alone" in capsys.readouterr().err
    assert main([*measuring[:-2], "--write", "--data", "mine:3", "--codec", "h264"]) == 2
    assert "--codec h264 goes with --add" in capsys.readouterr().err
    assert main([*measuring, "mine:3", "--codec", "h264"]) == 0
    after = Bundle.open(out).accuracy
    new = after.rows[len(before.rows) :]
    assert after.rows[: len(before.rows)] == before.rows
    assert [row.codec for row in new] == [
        way + codec for codec in H264_CODECS for way in ("", "jpeg+")
    ]
    assert all(row.unsent is not None and row.cut == 0 for row in new)
    assert after.video_codecs == H264_CODECS


def test_ctrl_c_prints_the_command_that_goes_on(tiny_bundle, tmp_path, capsys, monkeypatch):
    whole, parts = (tmp_path / name for name in ("whole it.bundle", "parts of it.bundle"))
    for each in (whole, parts):
        shutil.copytree(tiny_bundle.path, each)
    options = ["--data", "scenes:3", "--frames", "3", "--quick", "--threads", "1", "--write"]
    assert main(["accuracy", str(whole), *options]) == 0
    ran = Runs._ran

    def pressed(self, count):
        ran(self, count)
        if self._done >= 8:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Runs, "_ran", pressed)
        assert main(["accuracy", str(parts), *options]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    found = re.fullmatch(
        r"error: interrupted after (\d+) of (\d+) runs; codesign (.*) goes on", error
    )
    assert found, error
    assert 8 <= int(found[1]) < int(found[2])
    assert (tmp_path / "parts of it.bundle.accuracy").exists()
    assert main(shlex.split(found[3])) == 0
    assert Bundle.open(parts).accuracy == Bundle.open(whole).accuracy
    assert Bundle.open(parts).accuracy.rows
    assert not list(tmp_path.glob("*.accuracy"))


def test_a_table_that_is_only_shown_is_written_at_once(tiny_bundle, tmp_path, capsys):
    out = tmp_path / "copy.bundle"
    shutil.copytree(tiny_bundle.path, out)
    measuring = ["accuracy", str(out), "--data", "scenes:3", "--frames", "2", "--quick",
                 "--precision", "fp32", "--threads", "1"]  # fmt: skip
    assert main(measuring) == 0
    assert "the same command with --write writes this table" in capsys.readouterr().out
    assert main([*measuring, "--write"]) == 0
    assert "0 runs" in capsys.readouterr().err
    assert {row.precision for row in Bundle.open(out).accuracy.rows} == {"fp32"}
    assert not list(tmp_path.glob("*.accuracy"))


def test_shows_the_table_of_a_bundle(tiny_bundle, capsys):
    assert main(["accuracy", str(tiny_bundle.path)]) == 0
    assert tiny_bundle.accuracy.data in " ".join(capsys.readouterr().out.split())


@pytest.mark.test_all
def test_an_imported_network_is_measured_in_the_forms_that_it_has(tmp_path, capsys, caplog):
    """Its BatchNorms are folded, so that their statistics cannot be measured anew."""
    names = tmp_path / "names.txt"
    names.write_text("empty\nhelmets\nbare-headed\n")
    out = tmp_path / "small.bundle"
    arguments = ["--args", "num_classes=3", "--input", "64x96", "--classes", str(names)]
    assert main(["import", "torchvision:mobilenet_v3_small", "--out", str(out), *arguments]) == 0
    measuring = ["--data", "scenes:3", "--frames", "2", "--structure", "S3", "--threads", "1",
                 "--cuts", "0", "5"]  # fmt: skip
    assert main(["accuracy", str(out), *measuring, "--precision", "int8-tensor", "--write"]) == 0
    rows = Bundle.open(out).accuracy.rows
    assert {row.merge.value for row in rows} == {"fold", "prune"}
    assert not [record for record in caplog.records if "Expected bias" in record.getMessage()]
    capsys.readouterr()
    assert main(["accuracy", str(out), *measuring, "--merge", "prune+bn"]) == 2
    assert "needs a network with BatchNorms" in capsys.readouterr().err


def test_boxes_alone_do_not_measure_a_classifier(tiny_bundle, tmp_path, capsys):
    folder = write_voc(tmp_path / "boxes", [("a", [Box("helmet", 2.0, 3.0, 20.0, 30.0)])])
    assert main(["accuracy", str(tiny_bundle.path), "--data", str(folder)]) == 2
    assert "boxes and no class for a whole frame" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--write"], "need --data"),
        (["--add"], "need --data"),
        (["--quick"], "--quick needs --data"),
        (["--cuts", "99"], "--cuts needs --data"),
        (["--ignore-unknown"], "--ignore-unknown needs --data"),
        (["--checkpoint", "here"], "--checkpoint needs --data"),
        (["--metric", "beauty"], "'beauty' was not measured"),
        (["--data", "scenes:x", "--frames", "3"], "need a seed"),
        (["--data", "scenes:1"], "a number of frames"),
        (["--data", "/nowhere"], "/nowhere does not exist"),
        (["--data", "scenes:1", "--frames", "1", "--cuts", "99"], "99"),
    ],
)
def test_mistakes_are_one_line(tiny_bundle, capsys, arguments, text):
    assert main(["accuracy", str(tiny_bundle.path), *arguments]) == 2
    error = capsys.readouterr().err.strip()
    assert text in error.splitlines()[-1]
    assert error.count("error:") == 1
