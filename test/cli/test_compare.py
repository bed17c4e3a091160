"""``codesign compare`` on bags as people have them, with a small network."""

import json
import re
import shutil
import subprocess

import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer

from codesign_ros.cli.main import main
from codesign_ros.data.storage.decoding import IMAGE_TYPE, TRUTH_TYPE, typestore
from codesign_ros.evaluation.compare.run import refusals
from support.tiny import CLASSES, tiny_frames

POLICIES = ["--policy", "ours", "device_only", "server_only_raw", "cut:5"]
START_NS, STEP_NS, COUNT = 1_700_000_000_000_000_000, 50_000_000, 8


def header(number):
    types, stamp_ns = typestore().types, START_NS + number * STEP_NS
    time = types["builtin_interfaces/msg/Time"](stamp_ns // 10**9, stamp_ns % 10**9)
    return types["std_msgs/msg/Header"](stamp=time, frame_id="cam")


def image(number, rgb, encoding, padding):
    pixels = {"rgb8": rgb, "bgr8": rgb[..., ::-1], "mono8": rgb[..., 1:2]}[encoding]
    height, width, channels = pixels.shape
    rows = np.zeros((height, width * channels + padding), np.uint8)
    rows[:, : width * channels] = pixels.reshape(height, -1)
    return typestore().types[IMAGE_TYPE](
        header(number), height, width, encoding, 0, rows.shape[1], rows.ravel()
    )


def write_bag(path, storage="mcap", encoding="rgb8", padding=0, second=False, truth=COUNT):
    """A bag with ground truth of its first frames; False = without its topic."""
    store = typestore()
    writer = Writer(path, version=9, storage_plugin=StoragePlugin[storage.upper()])
    with writer:
        topics = ["/front/view", *(["/rear/view"] if second else [])]
        images = [writer.add_connection(name, IMAGE_TYPE, typestore=store) for name in topics]
        truths = writer.add_connection("/labels", TRUTH_TYPE, typestore=store) if truth else None
        for number, rgb in enumerate(tiny_frames(COUNT, seed=5)):
            stamp_ns = START_NS + number * STEP_NS
            message = image(number, rgb, encoding, padding)
            for connection in images:
                writer.write(connection, stamp_ns, store.serialize_cdr(message, IMAGE_TYPE))
            if truths is not None and number < truth:
                label = CLASSES[number % len(CLASSES)]
                said = store.types[TRUTH_TYPE](header(number), label, [])
                writer.write(truths, stamp_ns, store.serialize_cdr(said, TRUTH_TYPE))
    return path


@pytest.fixture(autouse=True)
def cache(engine_cache, monkeypatch):
    monkeypatch.setenv("CODESIGN_CACHE_DIR", str(engine_cache))


def run(bag, bundle, out, *more):
    given = ["compare", str(bag), "--bundle", str(bundle.path), "--json", str(out), *POLICIES]
    assert main([*given, *more]) == 0
    return json.loads(out.read_text())


@pytest.mark.parametrize(
    ("storage", "encoding", "padding", "second"),
    [
        ("mcap", "rgb8", 0, False),
        ("sqlite3", "bgr8", 24, False),
        ("mcap", "mono8", 7, True),
        ("sqlite3", "rgb8", 13, True),
    ],
)
def test_bags_never_seen(tmp_path, tiny_bundle, storage, encoding, padding, second):
    bag = write_bag(tmp_path / "bag", storage, encoding, padding, second)
    more = ["--topic", "/rear/view"] if second else []
    found = run(bag, tiny_bundle, tmp_path / "a.json", *more)
    assert found["frames"] == COUNT
    assert found["topic"] == ("/rear/view" if second else "/front/view")
    assert found["truth_is"] == "ground truth"
    raw = found["policies"]["server_only_raw"]
    assert raw["payload_bytes"] == 64 * 96 * 3
    assert found["policies"]["device_only"]["payload_bytes"] == 0
    for each in found["policies"].values():
        assert sum(each["finished"].values()) == COUNT
        assert 0 <= each["accuracy"] <= 1


def test_two_runs_are_equal_to_the_byte_and_the_page_stands_alone(tmp_path, tiny_bundle):
    bag = write_bag(tmp_path / "bag")
    page = tmp_path / "report.html"
    more = ["--link", "fading-radio", "--arrivals", "poisson:30hz", "--html", str(page)]
    run(bag, tiny_bundle, tmp_path / "a.json", *more)
    first = page.read_bytes()
    run(bag, tiny_bundle, tmp_path / "b.json", *more)
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert page.read_bytes() == first
    text = first.decode()
    assert "Use <b>" in text
    assert "prefers-color-scheme:dark" in text
    # Nothing is loaded from anywhere.
    assert not re.findall(r"(?:src|href)=(?![\"']?data:)", text)
    assert "http" not in text
    assert "<script" not in text


@pytest.mark.parametrize("window", [1, 2, 4])
def test_as_fast_as_results_come(tmp_path, tiny_bundle, window):
    bag = write_bag(tmp_path / "bag")
    more = ["--arrivals", "fast", "--window", str(window)]
    alone = run(bag, tiny_bundle, tmp_path / "a.json", *more)["policies"]["device_only"]
    robot_ms = alone["stages_ms"]["robot"]
    assert alone["answered"] == COUNT
    assert alone["throughput_fps"] == pytest.approx(1e3 / robot_ms)
    assert alone["response_ms"]["p95"] == pytest.approx(window * robot_ms)


def test_a_window_of_all_frames_drops_none(tmp_path, tiny_bundle):
    bag = write_bag(tmp_path / "bag")
    more = ["--arrivals", "fast", "--window", str(COUNT)]
    for each in run(bag, tiny_bundle, tmp_path / "a.json", *more)["policies"].values():
        assert each["answered"] == COUNT


def test_without_truth_the_uncut_network_is_the_measure(tmp_path, tiny_bundle):
    bag = write_bag(tmp_path / "bag", truth=False)
    found = run(bag, tiny_bundle, tmp_path / "a.json")
    assert found["truth_is"] == "the uncut network in fp32"
    assert found["policies"]["device_only"]["accuracy"] == 1.0


def test_truth_of_some_frames_is_said_to_be_so(tmp_path, tiny_bundle, capsys):
    found = run(write_bag(tmp_path / "bag", truth=3), tiny_bundle, tmp_path / "a.json")
    assert found["truth_is"] == "ground truth"
    assert f"truth is known of 3 of {COUNT} frames" in found["notes"]
    assert f"truth is known of 3 of {COUNT} frames" in capsys.readouterr().out
    whole = run(write_bag(tmp_path / "whole"), tiny_bundle, tmp_path / "a.json")
    assert not [note for note in whole["notes"] if note.startswith("truth is known")]


def test_ground_truth_is_named_once(tmp_path, tiny_bundle, capsys):
    bag = write_bag(tmp_path / "bag")
    given = ["compare", str(bag), "--bundle", str(tiny_bundle.path), "--truth-topic", "/labels"]
    assert main([*given, "--labels", str(tmp_path)]) == 2
    assert "both name ground truth: give one" in capsys.readouterr().err


def test_a_slow_link_keeps_all_on_the_robot(tmp_path, tiny_bundle):
    bag = write_bag(tmp_path / "bag")
    found = run(bag, tiny_bundle, tmp_path / "a.json", "--link", "20kbps")
    assert found["policies"]["ours"]["plans"][-1]["words"].startswith("all on the robot")


def test_late_share_on_a_link_with_states(tmp_path, tiny_bundle, capsys):
    bag = write_bag(tmp_path / "bag")
    more = ["--link", "fading-radio", "--late-share", "0.05", "--ablate"]
    found = run(bag, tiny_bundle, tmp_path / "a.json", *more)
    assert found["unavailable"] == {}
    assert "wo_late_share" in {each["policy"] for each in found["ablations"]}
    given = ["compare", str(bag), "--bundle", str(tiny_bundle.path), "--late-share", "0.05"]
    capsys.readouterr()
    assert main([*given, "--link", "16mbps"]) == 2
    assert capsys.readouterr().err.count("--late-share needs a --link whose rate varies") == 1


def test_a_reason_of_several_policies_is_said_once():
    lines = refusals({"mpms": "no server", "roofsplit": "no peaks", "adia": "no server"})
    assert lines == ["mpms, adia: no server", "roofsplit: no peaks"]


def test_a_broken_picture_changes_no_time(tmp_path, tiny_bundle):
    """The camera's JPEGs are sent as they are, and those that are broken nobody sends."""
    made = {}
    for name, broken in (("whole", ()), ("broken", (2,))):
        folder = tmp_path / name
        folder.mkdir()
        for number, rgb in enumerate(tiny_frames(COUNT, seed=5)):
            data = cv2.imencode(".jpg", rgb)[1].tobytes()
            kept = len(data) // 3 if number in broken else len(data)
            (folder / f"{number}.jpg").write_bytes(data[:kept])
        more = ["--policy", "server_only_jpeg"]
        made[name] = run(folder, tiny_bundle, tmp_path / f"{name}.json", *more)
    assert (made["whole"]["frames"], made["broken"]["frames"]) == (COUNT, COUNT - 1)
    for each in made.values():
        assert each["policies"]["server_only_jpeg"]["stages_ms"]["robot"] == 0.0


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--policy", "best"], "unknown policy 'best'"),
        (["--arrivals", "soon"], "--arrivals 'soon' is not known"),
        (["--robot", "nano"], "go together"),
        (["--robot", "nano", "--robot-profile", "x"], "give one kind"),
        (["--link", "nowhere"], "unknown link 'nowhere'"),
        (["--link", "0.9kbps"], "link 0.9kbps passes 900 bit/s on average: 1000 at least"),
        (["--arrivals", "0.001hz"], "a rate as 10hz (from 0.01hz to below 1000000hz)"),
    ],
)
def test_mistakes(tmp_path, tiny_bundle, capsys, given, words):
    bag = write_bag(tmp_path / "bag")
    assert main(["compare", str(bag), "--bundle", str(tiny_bundle.path), *given]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def test_ours_without_each_part(tmp_path, tiny_bundle, capsys):
    bag, page = write_bag(tmp_path / "bag"), tmp_path / "report.html"
    found = run(bag, tiny_bundle, tmp_path / "a.json", "--ablate", "--html", str(page))
    taken = {each["policy"]: each for each in found["ablations"]}
    assert set(taken) == {
        "wo_roofline", "wo_dynamic_structure", "wo_multi_objective", "wo_codec"
    }  # fmt: skip
    # They are rows of their own: nobody is advised to use one.
    assert set(found["policies"]) == {"ours", "device_only", "server_only_raw", "cut:5"}
    # The best of fewer choices is no better on a link that stays as it was planned with.
    for each in taken.values():
        assert each["response"]["value"] >= 1 - 1e-9 or each["accuracy"]["value"] < 0
    said = capsys.readouterr().out
    assert "not taken away: precision: one is offered" in said
    assert "Ours without one part at a time" in page.read_text()


def test_rooflines_are_in_the_page(tmp_path, tiny_bundle):
    page = tmp_path / "report.html"
    more = ["--robot", "jetson-nano", "--server", "rtx-4090", "--html", str(page)]
    found = run(write_bag(tmp_path / "bag"), tiny_bundle, tmp_path / "a.json", *more)
    assert {roof["device"] for roof in found["rooflines"]["roofs"]} == {"jetson-nano", "rtx-4090"}
    text = page.read_text()
    assert "heads on the robot, jetson-nano" in text
    assert "example" not in text


CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_in_a_browser(tmp_path, tiny_bundle, width):
    """Nothing is wider than the window, no figure is not a number, and nothing goes wrong."""
    page, frame = tmp_path / "report.html", tmp_path / "frame.html"
    more = ["--ablate", "--html", str(page)]
    run(write_bag(tmp_path / "bag"), tiny_bundle, tmp_path / "a.json", *more)
    # A window has a least width; a frame has any.
    frame.write_text(
        f"<iframe id=f src=report.html width={width} height=900></iframe><script>"
        "f.onload = () => { const d = f.contentDocument.documentElement;"
        "document.title = [d.scrollWidth - d.clientWidth, f.contentDocument.querySelectorAll("
        "'svg').length, ...[['h1 b', 'color'], ['.median', 'stroke'], ['line.grid', 'stroke']]"
        ".map(([what, of]) => f.contentWindow.getComputedStyle("
        "f.contentDocument.querySelector(what))"
        "[of])].join('|') }</script>"
    )
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files",
         "--enable-logging=stderr", "--virtual-time-budget=5000", f"--user-data-dir={tmp_path}/c",
         "--dump-dom", frame.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    title = re.search("<title>(.*?)</title>", done.stdout)[1]
    overflow, charts, colour, mark, grid = title.split("|")
    assert int(overflow) <= 0
    assert int(charts) >= 6
    assert colour.startswith("rgb(")
    assert mark != grid  # what is measured stands out from the lines behind it
    assert "CONSOLE" not in done.stderr
    assert "NaN" not in page.read_text()
