"""Start the nodes of split inference: all on one machine, or the robot's and the server's apart.

    ros2 launch codesign_ros split_inference.launch.py
    ... role:=robot robot:=/miner1 image:=/cam/image_raw
    ... role:=robot robot:=/miner1 camera:=/dev/video0
    ... role:=server robot:=/miner1
    ... role:=server robots:=miner1,miner2
    ... role:=server robots:=... server:=edge1
    ... role:=tail robots:=... server:=edge2

The nodes are lifecycle nodes that configure and activate themselves (parameter ``autostart``). One
that fails ends the launch with its reason.
"""

import signal
import sys
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import DeclareLaunchArgument, LogInfo, OpaqueFunction, RegisterEventHandler
from launch.event_handlers import OnProcessExit, OnProcessIO
from launch.events.process import ProcessExited, ProcessIO
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from codesign_ros import launching

NODES = {"robot": ("camera", "head"), "server": ("planner", "tail"), "tail": ("tail",)}
PLANNER_NAMESPACE = "/codesign"
# How somebody ends one node and means the others to go on.
ENDED_BY_OTHERS = (-signal.SIGINT, -signal.SIGTERM, -signal.SIGKILL)


def generate_launch_description() -> LaunchDescription:
    share = Path(get_package_share_directory("codesign_ros"))
    arguments = [
        DeclareLaunchArgument(
            "role",
            default_value="all",
            choices=["all", *NODES],
            description="robot: camera and head; server: tail and planner; tail: another "
            "server of the same robots; all: the four",
        ),
        DeclareLaunchArgument(
            "robot",
            default_value="/robot",
            description="namespace of camera, head and tail; pairs a head with its tail",
        ),
        DeclareLaunchArgument(
            "camera",
            default_value="",
            description="none: the robot's own driver publishes the images; or a source that "
            "camera_node plays, e.g. /dev/video0, csi or mine; empty = the source in params, but "
            "with role robot none where that is the generated mine",
        ),
        DeclareLaunchArgument(
            "image",
            default_value="",
            description="topic of the images, e.g. /cam/image_raw; compressed ones have "
            "/compressed behind it; empty = image_raw in the robot's namespace",
        ),
        DeclareLaunchArgument(
            "image_transport",
            default_value="",
            choices=["", "auto", "compressed", "raw"],
            description="compressed, raw, or auto (the head takes whichever is published); empty = "
            "as in params, and auto without camera_node",
        ),
        DeclareLaunchArgument(
            "use_sim_time",
            default_value="",
            choices=["", "false", "true"],
            description="true: the nodes' clock is /clock; empty = as in params",
        ),
        DeclareLaunchArgument(
            "together",
            default_value="false",
            choices=["false", "true"],
            description="true: camera and head in one process, which costs less CPU a frame",
        ),
        DeclareLaunchArgument(
            "robots",
            default_value="",
            description="namespaces of several robots, e.g. miner1,miner2: instead of the tail "
            "of one, an edge server with a tail for each",
        ),
        DeclareLaunchArgument(
            "server",
            default_value="",
            description="name of this edge server where robots have several, e.g. edge1",
        ),
        DeclareLaunchArgument(
            "bundle",
            default_value="",
            description="model bundle; empty = as in params, else the one of the package",
        ),
        DeclareLaunchArgument(
            "bag",
            default_value="",
            description="recording for the camera to play, every frame of which must arrive; "
            "empty = as camera says",
        ),
        DeclareLaunchArgument(
            "bag_topic",
            default_value="",
            description="image topic of a bag that has several; empty = as in params",
        ),
        DeclareLaunchArgument(
            "camera_waits",
            default_value="false",
            choices=["false", "true"],
            description="true: the camera plays when it is told to, by its lifecycle's transitions",
        ),
        DeclareLaunchArgument(
            "params",
            default_value=str(share / "config" / "split_inference.yaml"),
            description="parameter file of the four nodes",
        ),
        DeclareLaunchArgument(
            "lambda_1",
            default_value="",
            description="weight of the accuracy loss in Eq. 11 [s per unit of loss]; "
            "empty = as in params",
        ),
        DeclareLaunchArgument(
            "objective",
            default_value="",
            choices=["", "latency", "throughput"],
            description="latency or throughput; empty = as in params",
        ),
    ]
    names = [argument.name for argument in arguments]
    start = OpaqueFunction(function=start_nodes, args=[names])
    return LaunchDescription([*arguments, start])


def start_nodes(context: LaunchContext, names: list[str]) -> list[Action]:
    """Make the nodes of the role, once the arguments are known."""
    if any(Path(word).name == Path(__file__).name for word in sys.argv):
        # Not of somebody who includes this file and has arguments of his own.
        launching.check_names(sys.argv[1:], names)
    given = {name: LaunchConfiguration(name).perform(context).strip() for name in names}
    given["robot"] = launching.namespace("robot", given["robot"])
    given["server"] = launching.server(given["server"])
    params = launching.read_params(given["params"])
    source = launching.camera_source(given, params)
    chosen = [
        name
        for name in NODES.get(given["role"], launching.NODES)
        if name != "camera" or source is not None
    ]
    full_names = [name for node in chosen for name in full_names_of(node, given)]
    notes: list[Action] = [
        LogInfo(msg=line)
        for line in (
            *launching.without_effect(given, chosen),
            *launching.without_reader(params, full_names),
        )
    ]
    if "head" in chosen and source is None:
        given["image_transport"] = given["image_transport"] or "auto"
        topics = launching.images_from(given["robot"], given["image"], given["image_transport"])
        notes.append(LogInfo(msg=f"no camera_node: the head takes images from {topics}"))
    parameters = {name: overrides(name, given, source) for name in launching.NODES}
    together = given["together"] == "true" and "camera" in chosen
    if together and given["camera_waits"] == "true":
        # Parameters of launch arguments reach both nodes of that process.
        raise launching.LaunchError("camera_waits:=true needs together:=false")
    nodes = [robot(given, parameters)] if together else []
    for name in chosen:
        if together and name in NODES["robot"]:
            continue
        if name == "tail" and given["robots"]:
            nodes.append(edge_server(given, parameters))
        else:
            nodes.append(
                Node(
                    package="codesign_ros",
                    executable=f"{name}_node",
                    name=name,
                    namespace=namespace_of(name, given),
                    parameters=[given["params"], parameters[name]],
                    remappings=remappings(name, given),
                    output="screen",
                )
            )
    return [*notes, *(each for node in nodes for each in (*watched(node), node))]


def watched(node: Node) -> list[Action]:
    """Have the end of a node end the launch with its reason, unless somebody else ended it."""
    said = [""]

    def remember(event: ProcessIO) -> None:
        for line in event.text.decode(errors="replace").splitlines():
            if line.startswith("error: "):
                said[0] = line

    def ended(event: ProcessExited, context: LaunchContext) -> None:
        if context.is_shutdown or event.returncode in (0, *ENDED_BY_OTHERS):
            return
        # Raised, so that `ros2 launch` ends with status 1 and this line.
        raise launching.LaunchError(
            launching.why_ended(event.process_name, event.returncode, said[0])
        )

    return [
        RegisterEventHandler(OnProcessIO(target_action=node, on_stderr=remember)),
        RegisterEventHandler(OnProcessExit(target_action=node, on_exit=ended)),
    ]


def full_names_of(node: str, given: dict[str, str]) -> list[str]:
    """Full names of a node, of which an edge server has one for each robot."""
    if node != "tail" or not given["robots"]:
        return [f"{namespace_of(node, given)}/{node}"]
    each = [{**given, "robot": robot} for robot in launching.robots(given["robots"])]
    return [f"{namespace_of(node, of_robot)}/{node}" for of_robot in each]


def namespace_of(node: str, given: dict[str, str]) -> str:
    """Namespace of a node; a tail of several lies in one of its server's name in the robot's."""
    if node == "planner":
        return PLANNER_NAMESPACE
    if node == "tail" and given["server"]:
        return f"{given['robot']}{launching.namespace('server', given['server'])}"
    return given["robot"]


def remappings(node: str, given: dict[str, str]) -> list[tuple[str, str]]:
    """Where a node's images are."""
    if not given["image"] or node not in NODES["robot"]:
        return []
    return [("image_raw", launching.topic("image", given["image"]))]


def robot(given: dict[str, str], parameters: dict[str, dict[str, object]]) -> Node:
    """Make camera and head as one process; parameters without a node's name reach both."""
    return Node(
        package="codesign_ros",
        executable="robot_node",
        namespace=given["robot"],
        parameters=[given["params"], parameters["camera"], parameters["head"]],
        remappings=remappings("head", given),
        output="screen",
    )


def edge_server(given: dict[str, str], parameters: dict[str, dict[str, object]]) -> Node:
    """Make the edge server; parameters without a node's name reach its tails as well."""
    robots = launching.robots(given["robots"])
    return Node(
        package="codesign_ros",
        executable="edge_server",
        parameters=[given["params"], {"robots": robots}, parameters["tail"]],
        output="screen",
    )


def overrides(node: str, given: dict[str, str], source: str | None) -> dict[str, object]:
    """Parameters of a node that launch arguments set, over those in the file."""
    values: dict[str, object] = {}
    if given["use_sim_time"]:
        values["use_sim_time"] = given["use_sim_time"] == "true"
    if given["bundle"] and node != "camera":
        values["bundle"] = launching.existing("bundle", given["bundle"])
    if given["server"] and node == "tail":
        values["server"] = given["server"]
    if source and node == "camera":
        values["source"] = source
    if given["bag_topic"] and node == "camera":
        values["source_topic"] = given["bag_topic"]
    if given["camera_waits"] == "true" and node == "camera":
        values["autostart"] = False
    raw = given["image_transport"] == "raw"
    if node == "head" and (given["bag"] or source is None or raw):
        values["image_reliability"] = "reliable" if given["bag"] else "auto"
    # The camera has to decide; a head in its process takes its frames whatever they are.
    if given["image_transport"] and (
        node == "head" or (node == "camera" and given["image_transport"] != "auto")
    ):
        values["image_transport"] = given["image_transport"]
    if given["lambda_1"] and node == "planner":
        values["lambda_1"] = launching.number("lambda_1", given["lambda_1"])
    if given["objective"] and node == "planner":
        values["objective"] = given["objective"]
    return values
