"""What the launch file is given: what it may be, and the one line about what it may not."""

import ast

import pytest

from codesign_ros import launching
from codesign_ros.launching import LaunchError
from support.paths import ROOT

GIVEN = {"role": "robot", "camera": "", "bag": ""}
OURS = launching.read_params(str(ROOT / "config" / "split_inference.yaml"))


def declared(file="split_inference.launch.py"):
    """Names that a launch file declares."""
    tree = ast.parse((ROOT / "launch" / file).read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [
        ast.literal_eval(call.args[0])
        for call in calls
        if ast.unparse(call.func) == "DeclareLaunchArgument"
    ]


@pytest.mark.parametrize(
    ("check", "words"),
    [
        (lambda: launching.check_names(["robto:=/miner1"], declared()),
         "launch argument robto is not known, did you mean robot?; known are role,"),
        (lambda: launching.check_names(["role:=all", "zz:=1"], declared()), "zz is not known; kno"),
        (lambda: launching.check_names(["role:=robot", "role:=server"], declared()),
         "launch argument role is given twice: robot and server"),
        (lambda: launching.namespace("robot", "miner 1"), "robot:=miner 1 is no name"),
        (lambda: launching.namespace("robot", "/1st"), "robot:=/1st is no name"),
        (lambda: launching.namespace("server", ""), "server:= is no name"),
        (lambda: launching.server("edge1/x"), "server:=edge1/x is no name"),
        (lambda: launching.server("edge-1"), "no digit first, as in server:=edge1"),
        (lambda: launching.robots(" , "), "names no robot"),
        (lambda: launching.robots("miner1,,2nd"), "robots:=2nd is no name"),
        (lambda: launching.topic("image", "/cam/image raw"), "image:=/cam/image raw is no topic"),
        (lambda: launching.topic("image", "/cam/"), "image:=/cam/ is no topic"),
        (lambda: launching.number("lambda_1", "abc"), "lambda_1:=abc is no number"),
        (lambda: launching.number("lambda_1", "inf"), "lambda_1:=inf is no number"),
        (lambda: launching.number("lambda_1", "1_0"), "lambda_1:=1_0 is no number"),
        (lambda: launching.existing("bundle", "/no/where"), "bundle:=/no/where: there is no /no/w"),
        (lambda: launching.existing("bundle", "x" * 300), f"bundle:={'x' * 300}: there is no /"),
        (lambda: launching.existing("bundle", "~no_such_user/x"), ": there is no /"),
        (lambda: launching.read_params("/no/where"), "params:=/no/where: there is no"),
        (lambda: launching.read_params("/dev"), "params:=/dev cannot be read: /dev is no file"),
        (lambda: launching.read_params("/dev/zero"), "/dev/zero is no file"),
        (lambda: launching.camera_source({**GIVEN, "bag": "/no/bag"}, OURS), "bag:=/no/bag: there"),
        (lambda: launching.camera_source({**GIVEN, "bag": "/x", "camera": "csi"}, OURS),
         "camera:=csi and bag:=/x both say"),
        (lambda: launching.camera_source({**GIVEN, "camera": "0"}, OURS), "a path, /dev/video0"),
    ],
)  # fmt: skip
def test_what_is_refused(check, words):
    with pytest.raises(LaunchError) as caught:
        check()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("head: [", "cannot be read: while parsing"),
        ("head: 2026-02-30", "cannot be read: day"),
        ("[" * 5000, "cannot be read: maximum recursion"),
        ("- 1", "has no parameters"),
        ("", "has no parameters"),
        ("/**/haed: {ros__parameters: {}}", "no node is called /**/haed; did you mean head?"),
        ("/miner1/planer: {ros__parameters: {}}", "did you mean planner?"),
        ("/**/head: {ros_parameters: {}}", "/**/head has no ros__parameters"),
        ("/**: {threads: 1}", "/** has no ros__parameters"),
        ("head: {ros__parameters: {}}", "none is started there: write /**/head, which"),
        ("/tail: {ros__parameters: {}}", "none is started there: write /**/tail, which"),
    ],
)
def test_a_file_that_would_reach_no_node(tmp_path, content, words):
    file = tmp_path / "params.yaml"
    file.write_text(content)
    with pytest.raises(LaunchError) as caught:
        launching.read_params(str(file))
    assert words in str(caught.value)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_for_the_whole_robot(tmp_path):
    file = tmp_path / "params.yaml"
    file.write_text(
        "/**: {ros__parameters: {use_sim_time: true}}\n"
        "/**/realsense: {ros__parameters: {depth: 1}}\n"
        "/miner1: {head: {ros__parameters: {threads: 2}}}\n"
    )
    assert len(launching.read_params(str(file))) == 3


def test_what_may_be_given():
    launching.check_names(["codesign_ros", "split.launch.py", "--debug", "role:=all"], declared())
    assert launching.namespace("robot", "miner1") == "/miner1"
    assert launching.namespace("robot", "/site/miner1/") == "/site/miner1"
    assert (launching.server("/edge1/"), launching.server("")) == ("edge1", "")
    assert launching.robots("miner1, miner2,") == ["/miner1", "/miner2"]
    assert launching.topic("image", "/cam/image_raw") == "/cam/image_raw"
    assert launching.number("lambda_1", "1e-2") == 0.01


@pytest.mark.parametrize(
    ("given", "content", "source"),
    [
        # A robot invents no frames unless it is told to.
        ({}, OURS, None),
        ({"camera": "mine"}, OURS, "mine"),
        ({"camera": "none"}, {"camera": {"ros__parameters": {"source": "/dev/video0"}}}, None),
        ({}, {"camera": {"ros__parameters": {"source": "/dev/video0"}}}, ""),
        ({}, {"/**": {"ros__parameters": {"source": "csi"}}}, ""),
        ({}, {"/**": {"camera": {"ros__parameters": {"source": "csi"}}}}, ""),
        ({}, {"camera": {"ros__parameters": {"source": "scenes:3"}}}, None),
        ({}, {"head": {"ros__parameters": {"threads": 1}}}, None),
        # One machine with all four nodes is for trying.
        ({"role": "all"}, OURS, ""),
        ({"role": "all", "camera": "none"}, OURS, None),
        ({"camera": "/dev/null"}, OURS, "/dev/null"),
        ({"bag": str(ROOT / "bags" / "mine_demo")}, OURS, str(ROOT / "bags" / "mine_demo")),
    ],
)
def test_where_frames_come_from(given, content, source):
    assert launching.camera_source({**GIVEN, **given}, content) == source


@pytest.mark.parametrize(
    ("given", "started", "words"),
    [
        (
            {"lambda_1": "2.0"},
            ["head"],
            "lambda_1:=2.0 has no effect: it is for the planner, and h",
        ),
        ({"robots": "a,b"}, ["camera", "head"], "robots:=a,b has no effect: it is for the tail"),
        ({"image": "/x"}, ["planner", "tail"], "it is for the camera and the head, and planner, t"),
        ({"together": "true"}, ["head"], "together:=true has no effect"),
        ({"camera": "csi"}, ["planner", "tail"], "camera:=csi has no effect"),
        ({"camera": "none"}, ["planner", "tail"], None),
        ({"lambda_1": "2.0", "image": "/x"}, launching.NODES, None),
    ],
)
def test_an_argument_for_a_node_that_is_not_started(given, started, words):
    values = {**dict.fromkeys(declared(), ""), "together": "false", **given}
    lines = launching.without_effect(values, started)
    assert len(lines) == (words is not None)
    assert not lines or words in lines[0]


@pytest.mark.parametrize(
    ("image", "transport", "topics"),
    [
        ("", "auto", "/miner1/image_raw/compressed or /miner1/image_raw"),
        ("/cam/image_raw", "raw", "/cam/image_raw"),
        ("/cam/image_raw", "compressed", "/cam/image_raw/compressed"),
        # Whoever names the compressed ones means the camera.
        ("/cam/image_raw/compressed", "raw", "/cam/image_raw"),
        ("/cam/image_raw/compressed", "auto", "/cam/image_raw/compressed or /cam/image_raw"),
        ("cam/image", "raw", "/miner1/cam/image"),
    ],
)
def test_where_a_head_takes_its_images(image, transport, topics):
    assert launching.images_from("/miner1", image, transport) == topics


@pytest.mark.parametrize(
    ("section", "is_read"),
    [
        ("/**/head", True), ("/*/head", True), ("/miner1/head", True), ("miner1/head", True),
        ("/**", True), ("/miner1/*", True), ("/miner1/**", True),
        ("/other/head", False), ("/*/*/head", False), ("/other/**", False), ("/*", False),
        ("/miner1/sub/head", False), ("/miner1(/head", False),
        # Nodes of another role, or of somebody else.
        ("/other/tail", True), ("/codesign/planner", True), ("/cam/realsense", True),
    ],
)  # fmt: skip
def test_a_section_that_no_node_reads(section, is_read):
    started = ["/miner1/camera", "/miner1/head"]
    lines = launching.without_reader({section: {"ros__parameters": {"threads": 1}}}, started)
    assert len(lines) == (not is_read)
    assert is_read or lines[0].endswith(
        f"/{section.strip('/')} has no effect: no node of that name is started, but "
        "/miner1/camera, /miner1/head"
    )
    nested = {"/other": {"head": {"ros__parameters": {}}}, "miner1": {"**": {"ros__parameters": 1}}}
    (line,) = launching.without_reader(nested, started)
    assert line.startswith("params: /other/head has no effect")
    assert launching.without_reader(OURS, ["/codesign/planner", "/miner1/edge1/tail"]) == []


def test_why_a_node_ended():
    assert launching.why_ended("head_node-1", 1, "error: x") == "head_node-1 ended: error: x"
    assert "exit status 2; its last lines are above" in launching.why_ended("head_node-1", 2, "")
    assert "signal 11" in launching.why_ended("head_node-1", -11, "")
    # A launch argument has another name than the parameter that it sets.
    said = launching.why_ended("camera_node-1", 1, "error: choose one with source_topic")
    assert said == "camera_node-1 ended: error: choose one with bag_topic:="
    assert "bag_topic" in declared()


def test_what_a_replay_passes_on_is_known_on_both_sides():
    tree = ast.parse((ROOT / "launch" / "replay.launch.py").read_text())
    (passed,) = (
        ast.literal_eval(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PASSED_ON"
    )
    assert set(passed) <= set(declared()) & set(declared("replay.launch.py"))
    assert "camera_waits" in declared()
