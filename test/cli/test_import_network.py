"""``codesign import``: bundles from a user's file, and mistakes as one line."""

import json
import re

import cv2
import numpy as np
import pytest
import torch

from codesign_ros.bundle import Bundle
from codesign_ros.cli.main import main
from codesign_ros.pixels.boxes import Selection
from codesign_ros.pixels.letterbox import normalise
from codesign_ros.runtime.answers import answer_from

SOURCE = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, classes=3):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.norm = nn.BatchNorm2d(8)
        self.deep = nn.Conv2d(8, 8, 3, 1, 1)
        self.head = nn.Linear(8, classes)

    def forward(self, x):
        x = torch.relu_(self.norm(self.stem(x)))
        return self.head((x + torch.relu(self.deep(x))).mean((2, 3)))


class Odd(Net):
    def forward(self, x):
        return torch.lgamma(self.stem(x)) if x.sum() > 0 else x


class Maps(Net):
    def forward(self, x):
        return self.stem(x), self.deep(self.stem(x))


def ends():
    raise SystemExit(4)
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "net.py"
    path.write_text(SOURCE)
    return path


def run(capsys, *arguments):
    status = 0
    try:
        status = main(["import", *map(str, arguments)])
    except SystemExit as error:
        status = error.code
    return status, *capsys.readouterr()


def test_a_bundle_of_ones_own(capsys, file, tmp_path):
    out = tmp_path / "net.bundle"
    module = {}
    exec(SOURCE, module)
    net = module["Net"](classes=2).eval()
    torch.save(net.state_dict(), tmp_path / "net.pth")
    (tmp_path / "names.txt").write_text("rock\nno rock\n")
    status, text, _ = run(
        capsys, f"{file}:Net", "--out", out, "--args", "classes=2", "--input", "32x48",
        "--mean", 0.5, 0.4, 0.3, "--std", 0.2, 0.2, 0.3, "--weights", tmp_path / "net.pth",
        "--classes", tmp_path / "names.txt", "--json", tmp_path / "cuts.json",
    )  # fmt: skip
    assert status == 0
    assert "random" not in text
    assert "was not measured" in text
    file.unlink()
    bundle = Bundle.open(out)
    assert (bundle.task, bundle.classes) == ("classification", ("rock", "no rock"))
    assert bundle.input.mean == (0.5, 0.4, 0.3)
    assert bundle.segments == ("stem", "deep", "head")
    assert bundle.accuracy.rows == ()
    assert bundle.calibration_frames().shape == (16, 32, 48, 3)
    image = torch.from_numpy(normalise(bundle.calibration_frames()[0], bundle.input))
    with torch.no_grad():
        torch.testing.assert_close(bundle.network()(image), net(image), atol=1e-5, rtol=1e-5)
    # Operations by hand: convolution, BatchNorm fused, ReLU.
    content = json.loads((tmp_path / "cuts.json").read_text())
    maps = 8 * 16 * 24
    assert [row["cut"] for row in content["cuts"]] == [0, 1, 2, 3]
    assert content["cuts"][0]["bytes"] == 32 * 48 * 3
    assert content["cuts"][1]["crossing"] == [
        {"name": "stem", "shape": [1, 8, 16, 24], "dtype": "float32", "bytes": 4 * maps}
    ]
    assert content["cuts"][1]["flops_before"] == 2 * maps * 27 + maps


def test_features_with_several_outputs(capsys, file, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for i in range(3):
        cv2.imwrite(str(images / f"{i}.png"), np.full((40, 60, 3), 50 * i, np.uint8))
    (images / "1a.png").write_bytes(b"")
    out = tmp_path / "maps.bundle"
    status, text, error = run(
        capsys, f"{file}:Maps", "--out", out, "--input", "16x16", "--calibration", images
    )
    assert status == 0
    assert f"warning: frame 2 ({images}/1a.png) is broken and is left out: " in error
    assert "the weights are random" in text
    bundle = Bundle.open(out)
    assert (bundle.task, bundle.classes) == ("features", ())
    assert [spec.name for spec in bundle.crossings[-1]] == ["stem", "deep"]
    assert bundle.calibration_frames().shape == (3, 16, 16, 3)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["FILE:Odd"], "depends on the numbers in a tensor"),
        (["FILE:Nut"], "has no 'Nut'"),
        (["PROGRAM:Net"], "program.py cannot be imported: SystemExit: 3"),
        (["FILE:ends"], "net.py:ends cannot be made: SystemExit: 4"),
        (["FILE:Net", "--args", "classes=2024-02-30"], "the value cannot be read"),
        (["FILE:Net", "--args", "classes"], "--args takes KEY=VALUE, not 'classes'"),
        (["FILE:Net", "--args", "depth=3"], "unexpected keyword argument 'depth'"),
        (["FILE:Net", "--input", "32"], "32 is not a size such as 400x640"),
        (["FILE:Net", "--input", "0x32"], "'0x32' is not a size such as 400x640"),
        (["FILE:Net", "--std", "0", "1", "1"], "--std must be a number from above 0 to 1, not 0"),
        (
            ["FILE:Net", "--std", "1", "nan", "1"],
            "a number from above 0 to 1, not nan",
        ),
        (["FILE:Net", "--mean", "0", "0", "inf"], "--mean must be a number from 0 to 1, not inf"),
        (["FILE:Net", "--classes", "4"], "--classes 4 gives 4 classes"),
        (["FILE:Net", "--classes", "a,b,c,d"], "--classes a,b,c,d gives 4 classes"),
        (["FILE:Net", "--classes", "a,b,a"], "'a' stands in it more than once"),
        (["FILE:Net", "--mean", "123.7", "0", "0"], "--mean must be a number from 0 to 1, not 123"),
        (["FILE:Net", "--std", "58.4", "1", "1"], "--std must be a number from above 0 to 1, not"),
        (["FILE:Net", "--classes", "/nowhere.txt"], "classes /nowhere.txt cannot be read"),
        (["FILE:Net", "--task", "detection"], r"detection needs one output \(1, 4 \+ C, anchors\)"),
        (["FILE:Maps", "--task", "classification"], r"classification needs one output \(1, C\)"),
        (["FILE:Net", "--weights", "/nowhere.pth"], "there is no file of weights at /nowhere.pth"),
        (["FILE:Net", "--calibration", "/nowhere"], "source /nowhere does not exist"),
        (["FILE:Net", "--pretrained"], "only torchvision and timm"),
        (["FILE:Net", "--pretrained", "--weights", "x"], "not allowed with argument"),
        (["torchvision:resnet19"], "torchvision has no model"),
        (["FILE:Net", "--boxes", "centre"], "say --task detection"),
        (["FILE:Net", "--topic", "/cam"], "--topic /cam is of a bag: name one with --calibration"),
        (["FILE:Net", "--boxes", "center"], "did you mean centre?"),
        (["FILE:Net", "--classes", "9" * 5000], "no network has so many"),
    ],
)
def test_a_mistake_is_one_line(capsys, file, tmp_path, arguments, text):
    program = tmp_path / "program.py"
    program.write_text("raise SystemExit(3)")
    paths = {"FILE": str(file), "PROGRAM": str(program)}
    arguments = [re.sub("^(FILE|PROGRAM)", lambda m: paths[m[0]], each) for each in arguments]
    if "--input" not in arguments:
        arguments += ["--input", "32x32"]
    status, _, error = run(capsys, *arguments, "--out", tmp_path / "x.bundle")
    assert status == 2
    # On a slow machine others say what is being done.
    lines = [line for line in error.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert re.search(text, lines[0]), lines[0]
    assert not (tmp_path / "x.bundle").exists()


DETECTOR = """
import torch
from torch import nn


class Det(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = nn.Conv2d(3, 4, 3, 2, 1)

    def forward(self, x):
        f = self.c(x).mean((2, 3)) * 0
        box = torch.tensor([40.0, 30.0, 20.0, 16.0])
        return torch.cat([box + f, torch.tensor([[0.9, 0.1]]) + f[:, :2]], 1)[:, :, None]
"""


@pytest.mark.parametrize("said", [[], ["--boxes", "centre"]])
def test_a_detector_that_says_centre_and_size(capsys, tmp_path, said):
    file, out = tmp_path / "det.py", tmp_path / "det.bundle"
    file.write_text(DETECTOR)
    status, text, _ = run(
        capsys, f"{file}:Det", "--out", out, "--input", "64x80", "--task", "detection", *said
    )
    assert status == 0
    assert "boxes: centre and size (x, y, width, height)" in text
    bundle = Bundle.open(out)
    assert (bundle.boxes, bundle.version, bundle.classes) == ("centre", 2, ("class 0", "class 1"))
    image = torch.from_numpy(normalise(bundle.calibration_frames()[0], bundle.input))
    with torch.no_grad():
        outputs = {"boxes": bundle.network()(image).numpy()}
    best, *_ = answer_from(outputs, bundle, Selection()).detections
    assert (best.x_min, best.y_min, best.x_max, best.y_max) == (30, 22, 50, 38)


def test_notes_say_what_was_taken_from_a_checkpoint(capsys, file, tmp_path):
    module = {}
    exec(SOURCE, module)
    weights = {f"module.{k}": v for k, v in module["Net"]().state_dict().items()}
    torch.save({"epoch": 1, "model": weights}, tmp_path / "last.pt")
    status, text, _ = run(
        capsys, f"{file}:Net", "--out", tmp_path / "net.bundle", "--input", "32x48",
        "--weights", tmp_path / "last.pt",
    )  # fmt: skip
    assert status == 0
    assert "weights: those of last.pt['model']" in text
    assert "weights: 'module.' taken away from their names" in text
