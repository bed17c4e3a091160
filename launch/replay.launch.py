"""Play a recording once through camera, head, tail and planner, sum up what came of it, and end.

    ros2 launch codesign_ros replay.launch.py bag:=/data/shift_7
    ... bag:=/data/shift_7 record:=/data/shift_7_said json:=shift_7.json
    ... bag:=/data/shift_7 pacing:=stamps

All nodes run on this machine, started by split_inference.launch.py. The launch ends with the
recording: with status 0, or with 1 and the reason where a node failed or results stayed away.
"""

import sys
from pathlib import Path

from ament_index_python.packages import get_package_prefix, get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
    Shutdown,
)
from launch.event_handlers import OnProcessExit, OnProcessIO
from launch.events.process import ProcessExited, ProcessIO
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration

from codesign_ros import launching

# Those of split_inference.launch.py that are given to it as they are.
PASSED_ON = ("bag", "bag_topic", "robot", "bundle", "params", "lambda_1", "objective")


def generate_launch_description() -> LaunchDescription:
    share = Path(get_package_share_directory("codesign_ros"))
    arguments = [
        DeclareLaunchArgument(
            "bag",
            description="recording to play, every frame of which must arrive; a bag, a video or a "
            "folder of images",
        ),
        DeclareLaunchArgument(
            "bag_topic",
            default_value="",
            description="image topic of a bag that has several; empty = as in params",
        ),
        DeclareLaunchArgument(
            "record",
            default_value="",
            description="bag to write, for codesign replay-tail and replay-planner: embeddings, "
            "answers, results, plans, announcements, heartbeats and ground truth; empty = none",
        ),
        DeclareLaunchArgument(
            "json",
            default_value="",
            description="file to write what came of it to; empty = it is only printed",
        ),
        DeclareLaunchArgument(
            "pacing",
            default_value="window",
            choices=["window", "stamps", "rate"],
            description="window: as fast as results come, nothing is lost; stamps: as recorded; "
            "rate: at the camera's rate_hz",
        ),
        DeclareLaunchArgument(
            "robot", default_value="/robot", description="namespace of camera, head and tail"
        ),
        DeclareLaunchArgument(
            "bundle",
            default_value="",
            description="model bundle; empty = as in params, else the one of the package",
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
    return LaunchDescription([*arguments, OpaqueFunction(function=start, args=[names])])


def start(context: LaunchContext, names: list[str]) -> list[Action]:
    """Start the nodes and what follows them, once the arguments are known."""
    if any(Path(word).name == Path(__file__).name for word in sys.argv):
        launching.check_names(sys.argv[1:], names)
    given = {name: LaunchConfiguration(name).perform(context).strip() for name in names}
    share = Path(get_package_share_directory("codesign_ros"))
    nodes = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(share / "launch" / "split_inference.launch.py")),
        launch_arguments=[*((name, given[name]) for name in PASSED_ON), ("camera_waits", "true")],
    )
    program = Path(get_package_prefix("codesign_ros")) / "lib" / "codesign_ros" / "codesign"
    words = [str(program), "follow", "--play", given["pacing"]]
    words += ["--robot", launching.namespace("robot", given["robot"])]
    if given["bundle"]:
        words += ["--bundle", launching.existing("bundle", given["bundle"])]
    for name in ("record", "json"):
        if given[name]:
            words += [f"--{name}", str(Path(given[name]).expanduser())]
    follow = ExecuteProcess(cmd=words, name="follow", output="screen")
    return [*end_of(follow), nodes, follow]


def end_of(follow: ExecuteProcess) -> list[Action]:
    """Have its end be that of the launch, with its reason where it failed."""
    said = [""]

    def remember(event: ProcessIO) -> None:
        for line in event.text.decode(errors="replace").splitlines():
            if line.startswith("error: "):
                said[0] = line

    def ended(event: ProcessExited, context: LaunchContext) -> list[Action] | None:
        if context.is_shutdown:
            return None
        if event.returncode == 0:
            return [Shutdown(reason="the recording is at its end")]
        # Raised, so that `ros2 launch` ends with status 1 and this line.
        raise launching.LaunchError(
            launching.why_ended(event.process_name, event.returncode, said[0])
        )

    return [
        RegisterEventHandler(OnProcessIO(target_action=follow, on_stderr=remember)),
        RegisterEventHandler(OnProcessExit(target_action=follow, on_exit=ended)),
    ]
