"""Each node's process: bad parameters end it with one line; its lifecycle, step by step."""

import re
import shutil
import subprocess

import pytest
import yaml
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import DescribeParameters, ListParameters, SetParameters
from rclpy.parameter import Parameter

from codesign_ros.resources import resource_path
from codesign_ros.testbed.processes import executable
from codesign_ros.types.errors import CodesignError

pytest_plugins = ("support.ros",)

NODES = ("camera", "head", "tail", "planner")
DEVICES = ("head", "tail")


# Node, parameter, value as after `-p` and the line's text.
BAD_VALUES = [
    # unknown choice
    ("camera", "pacing", "fast", "unknown value 'fast'; known are stamps, rate, window"),
    ("camera", "image_transport", "smoke", "unknown value 'smoke'; known are compressed, raw"),
    ("head", "image_reliability", "maybe", "unknown value 'maybe'; known are best_effort"),
    ("head", "backend", "abacus", "unknown value 'abacus'; known are onnxruntime, torch"),
    ("tail", "backend", "abacus", "unknown value 'abacus'; known are onnxruntime, torch"),
    ("planner", "mode", "guess", "unknown value 'guess'; known are measured, roofline, paper"),
    ("planner", "objective", "beauty", "unknown value 'beauty'; known are latency, throughput"),
    ("planner", "codecs", "[raw, zip]", "unknown value 'zip'; known are raw, raw+zstd"),
    ("planner", "frame_codecs", "[gif]", "unknown value 'gif'; known are raw, raw+zstd, jpeg"),
    ("planner", "structures", "[S3, S4]", "unknown value 'S4'; known are S3, S3+Ss"),
    ("planner", "precisions", "[fp7]", "unknown value 'fp7'; known are fp32"),
    # out of range
    ("camera", "window", "0", "Min: 1, Max: 1000, value: 0"),
    ("head", "deadline_s", "0.0", "Min: 0.01, Max: 60.0, value: 0.0"),
    ("tail", "queue_depth", "-1", "Min: 1, Max: 1000, value: -1"),
    ("planner", "lambda_1", "-0.5", "Min: 0.0, Max: 1000000.0, value: -0.5"),
    ("planner", "link_bps", ".nan", "value: nan"),
    # wrong type
    ("camera", "frames", "many", "'many' of type 'STRING', expecting type 'INTEGER'"),
    ("head", "threads", "1.5", "'1.5' of type 'DOUBLE', expecting type 'INTEGER'"),
    ("tail", "emulation.slowdown", "much", "must be a float, not 'much'"),
    ("planner", "bundle", "7", "'7' of type 'INTEGER', expecting type 'STRING'"),
    ("planner", "merges", "fold", "'fold' of type 'STRING', expecting type 'STRING_ARRAY'"),
]


@pytest.mark.parametrize(("node", "name", "value", "text"), BAD_VALUES)
def test_bad_value_on_the_command_line(site, node, name, value, text):
    line = site.run_node(node, "-p", f"{name}:={value}")
    assert f"parameter {name}" in line
    assert text in line


@pytest.mark.parametrize(
    ("node", "parameters", "text"),
    [
        ("head", {"device": "abacus"}, "unknown device 'abacus'; known"),
        ("tail", {"device": "abacus"}, "unknown device 'abacus'; known"),
        ("planner", {"codecs": []}, "parameter codecs must not be empty"),
        ("camera", {"window": True}, "parameter window"),
        ("head", {"use_sim_time": "yes"}, "use_sim_time"),
        (
            "head",
            {"qos_overrides": {"/robot/embedding": {"publisher": {"dept": 8}}}},
            "parameter qos_overrides./robot/embedding.publisher.dept is not known; such are",
        ),
    ],
)
def test_bad_value_in_a_file(site, tmp_path, node, parameters, text):
    file = tmp_path / "parameters.yaml"
    file.write_text(yaml.safe_dump({f"/**/{node}": {"ros__parameters": parameters}}))
    assert text in site.run_node(node, "--params-file", str(file))


@pytest.mark.parametrize(
    ("node", "name", "near"),
    [
        ("camera", "pacng", "pacing"),
        ("head", "queue_dept", "queue_depth"),
        ("tail", "tensorrt.workspace_mb", "tensorrt.workspace_mib"),
        ("planner", "lamda_1", "lambda_1"),
    ],
)
def test_name_that_nobody_declared(site, node, name, near):
    line = site.run_node(node, "-p", f"{name}:=1")
    assert f"parameter {name} is not known; did you mean {near}?" in line


def test_names_of_others_are_no_mistake(site, tmp_path):
    """One file may serve all nodes of a robot, ours and others'."""
    file = tmp_path / "parameters.yaml"
    given = {"lambda_1": 2.0, "window": 4, "exposure_us": 12, "use_sim_time": False}
    file.write_text(yaml.safe_dump({"/**": {"ros__parameters": given}}))
    robot = site.robot(arguments={"head": ("--params-file", str(file))}, head={"autostart": False})
    robot.start("head")
    robot.wait_for_state("head", "unconfigured")
    log = robot.logs()
    assert "parameter exposure_us is not known to any node here" in log
    assert log.count("is not known") == 1


def test_quality_of_service_of_no_topic(site):
    """Nearly the name of a topic of the node; that of another node is none of its business."""
    named = ("/robot/resultt.publisher.depth:=8", "/robot/overlay.publisher.depth:=2")
    arguments = [word for name in named for word in ("-p", f"qos_overrides.{name}")]
    robot = site.robot(arguments={"head": arguments})
    robot.start("head", "tail", "planner")
    robot.wait_for_state("head", "active")
    mistake = "qos_overrides./robot/resultt has no effect: this node has no topic /robot/resultt"
    robot.wait(lambda: f"{mistake}; did you mean /robot/result?" in robot.logs(), mistake)
    assert "/robot/overlay has no effect" not in robot.logs()


def test_what_holds_later_is_said_and_looked_at_when_it_is_set(site, node_bundle, tmp_path):
    robot = site.robot(
        head={"autostart": False}, planner={"autostart": False}, camera={"autostart": False}
    )
    robot.start("head", "planner", "camera")

    def set_to(node, name, value):
        parameter = Parameter(name, value=value).to_parameter_msg()
        answer = robot.call(
            SetParameters, f"{robot.name(node)}/set_parameters", parameters=[parameter]
        )
        return answer.results[0]

    later = [
        ("head", "bundle", str(node_bundle.path)),
        ("head", "threads", 2),
        ("planner", "bundle", str(node_bundle.path)),
        ("camera", "source", "mine:3"),
        ("camera", "source", str(tmp_path)),
    ]
    for node, name, value in (*later, ("camera", "pacing", "stamps"), ("head", "deadline_s", 2.0)):
        result = set_to(node, name, value)
        assert result.successful, result.reason
    for node, name, _ in later:
        line = f"{name} holds from the next configure on"
        robot.wait(lambda node=node, line=line: line in robot.processes.log(node).read_text(), line)
        answer = robot.call(
            DescribeParameters, f"{robot.name(node)}/describe_parameters", names=[name]
        )
        assert answer.descriptors[0].description.endswith("(holds from the next configure on)")
    assert "pacing holds from the next activate on" in robot.logs()
    assert "deadline_s holds" not in robot.logs()
    for node, name, value, words in (
        ("head", "bundle", str(tmp_path), f"there is no bundle at {tmp_path}"),
        ("planner", "bundle", "/no/where", "there is no bundle at /no/where"),
        ("head", "bundle", "~no_such_user/b", "there is no bundle at ~no_such_user/b"),
        ("head", "bundle", "x" * 300, "there is no bundle at xxx"),
        ("camera", "source", "x" * 300, "source xxx"),
        ("head", "device", "abacus", "unknown device 'abacus'"),
        ("camera", "source", "/no/where", "source /no/where does not exist"),
    ):
        result = set_to(node, name, value)
        assert not result.successful
        assert words in result.reason


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "Error opening YAML file"),
        ("head: [", "Couldn't parse params file"),
        ("/**:\n  ros__parameters:\n    threads: [1, one]\n", "Couldn't parse params file"),
    ],
)
def test_file_that_cannot_be_read(site, tmp_path, content, text):
    file = tmp_path / "parameters.yaml"
    if content is not None:
        file.write_text(content)
    line = site.run_node("head", "--params-file", str(file))
    assert text in line
    assert str(file) in line


@pytest.mark.parametrize("word", ["-p", "--source", "mine", "frames:=3"])
def test_words_that_are_no_arguments_of_ros(site, word):
    done = subprocess.run(
        [str(executable("camera_node")), word, "source:=mine"],
        env=site.environment, capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    (line,) = (line for line in done.stderr.splitlines() if "[rcl]" not in line)
    assert line == (
        f"error: argument {word} is not known: give parameters as --ros-args -p NAME:=VALUE"
    )


def test_arguments_that_ros_does_not_know(site):
    assert "foo" in site.run_node("tail", "-p", "foo")
    line = site.run_node("planner", "--bogus")
    assert "ROS does not know these words behind --ros-args: ['--bogus'" in line


@pytest.mark.parametrize(
    ("node", "topic", "name", "value", "text"),
    [
        ("camera", "image_raw/compressed", "publisher.reliability", "maybe", "`maybe`"),
        ("camera", "/diagnostics", "publisher.history", "keep_some", "`keep_some`"),
        ("head", "result", "publisher.depth", "deep", "'deep' of type 'STRING'"),
        ("tail", "embedding", "subscription.depth", "-4", "depth must be from 0 to 2147483647"),
        ("tail", "/codesign/heartbeat", "publisher.depth", "2147483648", "depth must be from 0"),
        # What late joiners must hear.
        ("head", "/codesign/devices", "publisher.durability", "volatile", "transient_local"),
        ("planner", "/codesign/plan", "publisher.reliability", "best_effort", "reliable"),
        ("planner", "/codesign/devices", "subscription.durability", "volatile", "transient_local"),
    ],
)
def test_bad_quality_of_service(site, node, topic, name, value, text):
    full = topic if topic.startswith("/") else f"/{topic}"
    line = site.run_node(node, "-p", f"qos_overrides.{full}.{name}:={value}")
    assert f"topic {topic}, parameters qos_overrides.*: " in line
    assert text in line


@pytest.mark.parametrize("node", ["head", "tail", "planner"])
def test_bundle_that_is_missing(site, tmp_path, node):
    line = site.run_node(node, "-p", f"bundle:={tmp_path / 'nothing'}")
    assert str(tmp_path / "nothing") in line


@pytest.mark.parametrize("node", DEVICES)
@pytest.mark.parametrize("part", ["model.yaml", "weights.safetensors", "calibration.npz"])
def test_bundle_that_is_cut_off(site, tmp_path, node_bundle, node, part):
    copy = tmp_path / "copy.bundle"
    shutil.copytree(node_bundle.path, copy)
    data = (copy / part).read_bytes()
    (copy / part).write_bytes(data[: len(data) // 2])
    # Nobody has exported or measured it before.
    site.environment["CODESIGN_CACHE_DIR"] = str(tmp_path / "cache")
    line = site.run_node(node, "-p", f"bundle:={copy}")
    assert re.search(rf"{copy}|{part}", line)


def test_cache_that_cannot_be_used(site, tmp_path, node_bundle):
    (tmp_path / "file").write_text("no directory")
    site.environment["CODESIGN_CACHE_DIR"] = str(tmp_path / "file" / "cache")
    line = site.run_node("head", "-p", f"bundle:={node_bundle.path}")
    assert f"engine cache {tmp_path / 'file' / 'cache'} cannot be used" in line


def test_parameter_file_of_the_package_names_what_there_is(site, node_bundle):
    """Every parameter in the file exists, has a description, and the file's value is allowed."""
    content = yaml.safe_load((resource_path("config") / "split_inference.yaml").read_text())
    overrides = {node: {"autostart": False} for node in NODES}
    robot = site.robot(**overrides)
    robot.start(*NODES)
    for node in NODES:
        written = content[f"/**/{node}"]["ros__parameters"]
        listed = robot.call(ListParameters, f"{robot.name(node)}/list_parameters").result.names
        own = {name for name in listed if not name.startswith(("qos_overrides.", "start_type"))}
        own -= {"use_sim_time"}
        assert set(written) == own
        names = sorted(own)
        answer = robot.call(
            DescribeParameters, f"{robot.name(node)}/describe_parameters", names=names
        )
        assert all(len(d.description) > 5 for d in answer.descriptors)


def state_of(robot, node):
    return robot.call(GetState, f"{robot.name(node)}/get_state").current_state.label


def test_lifecycle_step_by_step(site, node_bundle, picture_folder):
    bundle = {"bundle": str(node_bundle.path)}
    parameters = {
        "camera": {"source": str(picture_folder)},
        "head": {**bundle, "profile_s": 0.05},
        "tail": {**bundle, "profile_s": 0.05},
        "planner": bundle,
    }
    robot = site.robot(**{node: {"autostart": False, **p} for node, p in parameters.items()})
    robot.start(*NODES)
    for node in NODES:
        assert state_of(robot, node) == "unconfigured"
    for transition, state in [
        ("configure", "inactive"),
        ("activate", "active"),
        ("deactivate", "inactive"),
        ("activate", "active"),
        ("deactivate", "inactive"),
        ("cleanup", "unconfigured"),
        ("configure", "inactive"),
        ("activate", "active"),
    ]:
        for node in NODES:
            robot.observer.change_state(robot.name(node), transition)
            assert state_of(robot, node) == state
            robot.wait_for_state(node, state)

    # All is well after these detours: the camera's frames get their answers, and the planner knows
    # the devices, which were there before it.
    robot.wait(lambda: len(robot.results) > 0, "a result")
    for node in DEVICES:
        robot.wait(
            lambda key=f"device /robot/{node}": robot.values("planner").get(key) == "active",
            f"the planner to know the {node}",
        )
    robot.wait_for_plan("with the server in reach", lambda plan: plan.server_available)

    # What the state does not allow is refused, and changes nothing.
    for node in NODES:
        with pytest.raises(
            CodesignError, match=f"{robot.name(node)} did not configure; it is active"
        ):
            robot.observer.change_state(robot.name(node), "configure")
        assert state_of(robot, node) == "active"

    # Shut down as by `ros2 lifecycle set NODE shutdown`: final, and the process ends when told to.
    shutdown = Transition(id=Transition.TRANSITION_ACTIVE_SHUTDOWN)
    for node in NODES:
        answer = robot.call(ChangeState, f"{robot.name(node)}/change_state", transition=shutdown)
        assert answer.success
        assert state_of(robot, node) == "finalized"


def test_configuring_again_after_a_mistake(site, node_bundle, picture_folder, tmp_path):
    robot = site.robot(
        camera={"autostart": False, "source": str(tmp_path / "nothing")},
        **{
            node: {"autostart": False, "bundle": str(tmp_path / "nothing"), "profile_s": 0.0}
            for node in DEVICES
        },
        planner={"autostart": False, "bundle": str(tmp_path / "nothing")},
    )
    robot.start(*NODES)
    nothing = tmp_path / "nothing"
    for node in NODES:
        name = robot.name(node)
        with pytest.raises(
            CodesignError, match=f"{name} did not configure; it is unconf.*{nothing}"
        ):
            robot.observer.change_state(name, "configure")
        assert state_of(robot, node) == "unconfigured"
        log = robot.processes.log(node).read_text()
        assert str(tmp_path / "nothing") in log
        parameter, value = (
            ("source", picture_folder) if node == "camera" else ("bundle", node_bundle.path)
        )
        robot.observer.set_parameter(name, parameter, str(value))
        robot.observer.change_state(name, "configure")
        robot.observer.change_state(name, "activate")
        assert state_of(robot, node) == "active"


def test_value_that_makes_no_sense_is_refused_before_the_node_is_configured(site, node_bundle):
    robot = site.robot(planner={"autostart": False, "bundle": str(node_bundle.path)})
    robot.start("planner")
    name = robot.name("planner")
    with pytest.raises(CodesignError, match="unknown policy 'jpeg'"):
        robot.observer.set_parameter(name, "policy", "jpeg")
    # How many cuts there are shows when the network is open.
    robot.observer.set_parameter(name, "policy", "cut:99")
    with pytest.raises(CodesignError, match=r"did not configure; .*: cut 99 does not exist"):
        robot.observer.change_state(name, "configure")
    assert "cut 99 does not exist: cuts are 0 to" in robot.logs()
    robot.observer.set_parameter(name, "policy", "server_only_jpeg")
    robot.observer.change_state(name, "configure")
    assert state_of(robot, "planner") == "inactive"
    with pytest.raises(CodesignError, match="cut 99 does not exist"):
        robot.observer.set_parameter(name, "policy", "cut:99")
    with pytest.raises(CodesignError, match="unknown policy"):
        robot.observer.set_parameter(name, "policy", f"cut:{'9' * 5000}")
