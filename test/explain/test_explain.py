"""``codesign explain``: feature maps by hand, files, numbers, mistakes."""

import json

import cv2
import numpy as np
import pytest
import torch

from codesign_ros.bundle import write_bundle
from codesign_ros.cli.main import main
from codesign_ros.explain.explanation import explain
from codesign_ros.explain.feature_maps import best_block, feature_maps, most_varied
from codesign_ros.explain.pictures import colour_grid
from codesign_ros.explain.scene import Picture, open_scene
from codesign_ros.mine.generator import MineGenerator
from codesign_ros.models.halves import split
from codesign_ros.models.network import IMAGE
from codesign_ros.pixels.boxes import DISPLAY_THRESHOLD, decode_detections, to_frame
from codesign_ros.pixels.letterbox import letterbox, normalise
from codesign_ros.types.errors import CodesignError
from support.detectors import write_detector_bundle
from support.tiny import CLASSES, TINY_ACCURACY, tiny_frames


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    return write_detector_bundle(tmp_path_factory.mktemp("bundles") / "detector.bundle")


@pytest.fixture(scope="module")
def frame():
    """A picture of another shape than the network's input."""
    return cv2.resize(tiny_frames(1, seed=3)[0], (150, 90))


@pytest.fixture(scope="module")
def image_file(frame, tmp_path_factory):
    file = tmp_path_factory.mktemp("images") / "frame.png"
    cv2.imwrite(str(file), frame[..., ::-1])
    return file


def run(capsys, *arguments):
    status = main(["explain", *map(str, arguments)])
    captured = capsys.readouterr()
    # Where the machine is busy, it also says what it is at.
    said = [line for line in captured.err.splitlines(True) if line.startswith(("error", "warn"))]
    return status, captured.out, "".join(said)


def by_hand(block, x):
    """3x3 alone, and all branches, through ReLU; from the block's own trained branches."""
    with torch.no_grad():
        branch_3x3 = block.branch_3x3(x)
        whole = branch_3x3 + block.branch_1x1(x)
        if block.branch_identity is not None:
            whole = whole + block.branch_identity(x)
        return branch_3x3.relu()[0].numpy(), whole.relu()[0].numpy()


@pytest.mark.parametrize("name", ["rep2.2", "rep6.4"])
def test_feature_maps_are_those_of_the_branches(detector, name):
    network = detector.network()
    image = normalise(tiny_frames(1)[0], detector.input)
    index = network.segment_names.index(name)
    (source,) = network.segment_inputs[index]
    with torch.no_grad():
        x = network.run({IMAGE: torch.from_numpy(image)}, 0, index, [source])[source]
    expected = by_hand(network.segments[index], x)
    found = feature_maps(network, image, name)
    assert [each.variant.structure.value for each in found] == ["S3", "S3+Ss+S1"]
    for each, maps in zip(found, expected, strict=True):
        assert each.maps == pytest.approx(maps, abs=1e-4)
        assert 0 <= each.detail < 1.3
        assert each.variance == pytest.approx(maps.var((1, 2)), rel=1e-3, abs=1e-6)
    channels = most_varied(found[1], 5)
    rest = set(range(len(expected[1]))) - set(channels)
    variance = expected[1].var((1, 2))
    assert min(variance[channels]) >= max(variance[list(rest)]) - 1e-5


def test_the_default_block_is_the_finest_with_all_branches(detector, tiny_bundle):
    assert best_block(detector.network()) == "rep2.2"
    # The classifier's finer blocks change their number of channels and have no shortcut.
    assert best_block(tiny_bundle.network()) == "stage2.1"


def test_the_grid_shows_the_values():
    from matplotlib import colormaps

    maps = np.arange(2 * 3 * 5, dtype=np.float32).reshape(2, 3, 5)
    grid = colour_grid(maps, 0.0, 20.0)
    cell = (grid.shape[0] - 2) // 3
    for place, value in (((0, 0), 0), ((1, 2), 7), ((2, 4), 14)):
        y, x = (round((at + 0.5) * cell) + 1 for at in place)
        colour = np.array(colormaps["viridis"](value / 20.0)[:3]) * 255
        assert grid[y, x] == pytest.approx(colour, abs=1)
    last = grid[round(2.5 * cell) + 1, -round(0.5 * cell)]
    assert last == pytest.approx(np.array(colormaps["viridis"](1.0)[:3]) * 255, abs=1)


def test_detections_are_those_of_the_whole_network(detector, frame):
    result = explain(Picture("frame", frame, None), detector)
    with torch.no_grad():
        image = normalise(letterbox(frame, detector.input), detector.input)
        output = detector.network()(torch.from_numpy(image)).numpy()
    found = decode_detections(output, detector.classes, score_threshold=DISPLAY_THRESHOLD)
    boxes = to_frame(found, *frame.shape[:2], detector.input)
    with_all, folded, pruned = result.answers
    assert [b.label for b in with_all.boxes] == [b.label for b in boxes]
    assert [b.x_max for b in with_all.boxes] == pytest.approx([b.x_max for b in boxes], abs=0.01)
    assert folded.scores == pytest.approx(with_all.scores, abs=1e-4)
    assert pruned.scores != pytest.approx(with_all.scores, abs=1e-3)
    assert result.label == boxes[0].label
    heat = [activation.heat for activation in result.activations]
    assert heat[0].shape == (64, 96)
    assert heat[1] == pytest.approx(heat[0], abs=2e-3 * heat[0].max())
    assert np.abs(heat[2] - heat[0]).max() > 0.05 * heat[0].max()


def test_files_and_json_of_a_detector(capsys, detector, image_file, tmp_path):
    out, report = tmp_path / "new" / "folder", tmp_path / "report.json"
    status, text, err = run(
        capsys, image_file, "--bundle", detector.path, "--out", out, "--class", "helmet",
        "--segment", "rep4.5", "--json", report,
    )  # fmt: skip
    content = json.loads(report.read_text())
    assert (status, err) == (0, "")
    assert set(content["files"]) == {"answers", "class_activation", "feature_maps", "overview"}
    for file in content["files"].values():
        assert file in text
        assert cv2.imread(file) is not None
    assert content["class"] == "helmet"
    assert content["activation_segment"] == content["maps_segment"] == "rep4.5"
    assert (content["height"], content["width"]) == (90, 150)
    names = [(each["structure"], each["merge"]) for each in content["class_activation"]]
    assert names == [("S3+Ss+S1", "fold"), ("S3", "fold"), ("S3", "prune")]
    for each in content["class_activation"]:
        x, y = each["peak"]
        assert 0 <= x < 150
        assert 0 <= y < 90
        for shares in each["inside"].get("detections", {}).values():
            assert 0 <= shares["heat"] <= 1
            assert 0 < shares["area"] <= 1
    assert [each["structure"] for each in content["feature_maps"]] == ["S3", "S3+Ss+S1"]
    assert content["notes"] == []


def test_classifier_on_a_generated_scene(capsys, tiny_bundle, tmp_path):
    report = tmp_path / "report.json"
    status, text, _ = run(
        capsys, "mine:5:1", "--bundle", tiny_bundle.path, "--out", tmp_path, "--json", report
    )
    content = json.loads(report.read_text())
    truth = MineGenerator(5).frame(1).truth
    assert status == 0
    assert content["truth"]["label"] == truth.label
    scores = content["answers"][0]["scores"]
    assert sum(scores.values()) == pytest.approx(1)
    assert content["class"] == max(scores, key=scores.get)
    assert content["activation_segment"] == "stage3.8"
    assert set(content["class_activation"][0]["inside"].get("truth", {})) == {
        box.label for box in truth.boxes
    }
    assert all(name in text for name in CLASSES)


def test_networks_to_which_not_all_applies(capsys, tiny_bundle, tmp_path, image_file):
    """Without classes there is no class activation; the maps are drawn."""
    bundle = write_bundle(
        tmp_path / "plain.bundle",
        tiny_bundle.network(),
        name="plain",
        architecture=tiny_bundle.architecture,
        architecture_args=tiny_bundle.architecture_args,
        classes=(),
        accuracy=TINY_ACCURACY,
        calibration_frames=tiny_frames(1),
        task="features",
    )
    report = tmp_path / "report.json"
    status, text, _ = run(
        capsys, image_file, "--bundle", bundle.path, "--out", tmp_path / "out", "--json", report
    )
    content = json.loads(report.read_text())
    assert status == 0
    assert set(content["files"]) == {"feature_maps", "overview"}
    assert content["class"] is None
    assert "plain has no classes: no answers and no class activation" in text


@pytest.mark.parametrize(("height", "width"), [(400, 40), (30, 700), (1, 1)])
def test_odd_shapes(capsys, detector, tmp_path, height, width):
    file = tmp_path / "odd.bmp"
    cv2.imwrite(str(file), cv2.resize(tiny_frames(1)[0], (width, height)))
    status, _, err = run(capsys, file, "--bundle", detector.path, "--out", tmp_path)
    assert (status, err) == (0, "")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--class", "hat"], "no class 'hat' in this bundle; known are person, helmet, head"),
        (["--segment", "rep99"], "no segment 'rep99' in this bundle; known are conv0, conv1"),
        (["--segment", "boxes"], "after segment 'boxes' is not maps alone"),
    ],
)
def test_names_that_are_not_there(capsys, detector, image_file, tmp_path, options, says):
    status, out, err = run(
        capsys, image_file, "--bundle", detector.path, "--out", tmp_path, *options
    )
    assert (status, out) == (2, "")
    assert says in err
    assert err.count("\n") == 1


def test_an_output_folder_that_cannot_be(capsys, detector, image_file):
    status, _, err = run(
        capsys, image_file, "--bundle", detector.path, "--out", image_file / "below"
    )
    assert status == 2
    assert "cannot write" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("empty.png", b""),
        ("words.jpg", b"no picture"),
        ("cut.png", cv2.imencode(".png", tiny_frames(1)[0])[1].tobytes()[:-40]),
        ("cut.jpg", cv2.imencode(".jpg", tiny_frames(1)[0])[1].tobytes()[:-40]),
        (".", None),
        ("missing.png", None),
    ],
)
def test_pictures_that_cannot_be_read(tmp_path, name, data):
    file = tmp_path / name
    if data is not None:
        file.write_bytes(data)
    with pytest.raises(CodesignError, match="cannot be read") as error:
        open_scene(str(file))
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("spec", ["mine:7", "mine:7:x", "mine:-1:3", "mine::"])
def test_scenes_that_are_not_there(spec):
    with pytest.raises(CodesignError, match=r"whole numbers from 0 to \d+, as in mine:7:0"):
        open_scene(spec)


def test_a_scene_is_the_frame_of_the_mine():
    scene = open_scene("mine:3:2")
    frame = MineGenerator(3).frame(2)
    assert (scene.image == frame.image[..., ::-1]).all()
    assert scene.truth == frame.truth


def test_what_the_tail_sees_through_a_neck(each_neck_bundle, image_file, tmp_path, capsys):
    neck_bundle = each_neck_bundle
    out = tmp_path / "out"
    status, said, _ = run(
        capsys, image_file, "--bundle", neck_bundle.path, "--out", out, "--json", tmp_path / "j"
    )
    assert status == 0
    assert cv2.imread(str(out / "necks.png")) is not None
    content = json.loads((tmp_path / "j").read_text())
    assert [each["codec"] for each in content["necks"]] == [None, "neck.0", "neck.1", "neck.2"]
    without, *levels = content["necks"]
    nbytes = sum(spec.nbytes for spec in neck_bundle.crossings[3])
    assert (without["payload_bytes"], without["error"]) == (nbytes, 0.0)
    whole = content["answers"][0]["scores"]
    assert without["scores"] == pytest.approx(whole, abs=1e-5)

    # The network with the neck inside, cut there, says the same of the rounded latent.
    image = cv2.cvtColor(cv2.imread(str(image_file)), cv2.COLOR_BGR2RGB)
    x = normalise(letterbox(image, neck_bundle.input), neck_bundle.input)
    head, tail = split(neck_bundle.network_with_neck(3), 4)
    tables = neck_bundle.neck_tables(3)
    for level, each in enumerate(levels):
        gain = tables.gains[level][:, None, None]
        with torch.no_grad():
            latent = head({IMAGE: torch.from_numpy(x)})["neck"].numpy()
            codes = np.clip(np.rint(latent * gain), -15, 15)
            received = (codes * (np.float32(1) / gain)).astype(np.float32)
            (logits,) = tail({"neck": torch.from_numpy(received)}).values()
        scores = logits[0].softmax(0).numpy()
        assert list(each["scores"].values()) == pytest.approx(scores, abs=1e-4)
        assert 0 < each["payload_bytes"] < nbytes
        assert each["error"] > 0
        assert f"neck.{level}" in said


def test_without_a_neck_nothing_is_said_of_one(detector, frame):
    assert explain(Picture("frame", frame, None), detector).necks == ()
