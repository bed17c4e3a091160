"""Start the nodes of split inference: all on one machine, or the robot's and the server's apart.

    ros2 launch codesign_ros split_inference.launch.py
    ros2 launch codesign_ros split_inference.launch.py role:=robot robot:=/miner1
    ros2 launch codesign_ros split_inference.launch.py role:=server robot:=/miner1
    ros2 launch codesign_ros split_inference.launch.py role:=server robots:=miner1,miner2
    ros2 launch codesign_ros split_inference.launch.py role:=server robots:=... server:=edge1
    ros2 launch codesign_ros split_inference.launch.py role:=tail robots:=... server:=edge2

The nodes are lifecycle nodes that configure and activate themselves (parameter ``autostart``).
"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

NODES = {"robot": ("camera", "head"), "server": ("planner", "tail"), "tail": ("tail",)}
PLANNER_NAMESPACE = "/codesign"


def generate_launch_description() -> LaunchDescription:
    share = Path(get_package_share_directory("codesign_ros"))
    return LaunchDescription(
        [
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
                "empty = the source in params",
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
                description="latency or throughput; empty = as in params",
            ),
            OpaqueFunction(function=start_nodes),
        ]
    )


def start_nodes(context: LaunchContext) -> list[Node]:
    """Make the nodes of the role, once the arguments are known."""
    given = {
        name: LaunchConfiguration(name).perform(context)
        for name in (
            "role", "robot", "together", "robots", "server", "bundle", "bag", "params",
            "lambda_1", "objective",
        )
    }  # fmt: skip
    names = NODES.get(given["role"]) or ("camera", "head", "planner", "tail")
    together = [name for name in names if given["together"] == "true" and name in NODES["robot"]]
    names = [name for name in names if name not in together]
    return [robot(given)] * bool(together) + [
        edge_server(given)
        if name == "tail" and given["robots"]
        else Node(
            package="codesign_ros",
            executable=f"{name}_node",
            name=name,
            namespace=namespace_of(name, given),
            parameters=[given["params"], overrides(name, given)],
            output="screen",
        )
        for name in names
    ]


def namespace_of(node: str, given: dict[str, str]) -> str:
    """Namespace of a node; a tail of several lies in one of its server's name in the robot's."""
    if node == "planner":
        return PLANNER_NAMESPACE
    if node == "tail" and given["server"]:
        return f"{given['robot'].rstrip('/')}/{given['server']}"
    return given["robot"]


def robot(given: dict[str, str]) -> Node:
    """Make camera and head as one process; parameters without a node's name reach both."""
    return Node(
        package="codesign_ros",
        executable="robot_node",
        namespace=given["robot"],
        parameters=[given["params"], overrides("camera", given), overrides("head", given)],
        output="screen",
    )


def edge_server(given: dict[str, str]) -> Node:
    """Make the edge server; parameters without a node's name reach its tails as well."""
    robots = [name.strip() for name in given["robots"].split(",")]
    return Node(
        package="codesign_ros",
        executable="edge_server",
        parameters=[given["params"], {"robots": robots}, overrides("tail", given)],
        output="screen",
    )


def overrides(node: str, given: dict[str, str]) -> dict[str, object]:
    """Parameters of a node that launch arguments set, over those in the file."""
    values: dict[str, object] = {}
    if given["bundle"] and node != "camera":
        values["bundle"] = str(Path(given["bundle"]).resolve())
    if given["server"] and node == "tail":
        values["server"] = given["server"]
    if given["bag"] and node == "camera":
        values["source"] = str(Path(given["bag"]).resolve())
    if given["bag"] and node == "head":
        values["image_reliability"] = "reliable"
    if given["lambda_1"] and node == "planner":
        values["lambda_1"] = float(given["lambda_1"])
    if given["objective"] and node == "planner":
        values["objective"] = given["objective"]
    return values
