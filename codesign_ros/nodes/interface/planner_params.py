"""The planner's parameters, and the settings that they make."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from codesign_ros.cost.catalogue import find_link, load_links
from codesign_ros.cost.model import MODES
from codesign_ros.nodes.interface.params import Param
from codesign_ros.planning.objective import Objective, parse_objective
from codesign_ros.resources import resource_path
from codesign_ros.runtime.planner.settings import SHARED, PlannerSettings
from codesign_ros.types.codec_names import H264_CODECS, NECK_CODECS
from codesign_ros.types.forms import PRECISIONS, Merge, Structure
from codesign_ros.wire.codecs import FRAME_CODECS, TENSOR_CODECS

_DEFAULT = PlannerSettings()
SOLVE_PARAMS = (
    Param(
        "policy",
        _DEFAULT.policy,
        "who chooses the plan: ours, a peer by its name in `codesign plan`, or cut:N for the best "
        "plan that cuts after segment N; to compare them on real nodes",
    ),
    Param("mode", _DEFAULT.mode, "cost model", choices=MODES),
    Param(
        "objective",
        _DEFAULT.objective.value,
        "time that counts in Eq. 11: of one frame, or between two results of the pipeline",
        choices=tuple(objective.value for objective in Objective),
    ),
    Param(
        "lambda_1",
        _DEFAULT.lambda_1,
        "weight of the accuracy loss in Eq. 11 [s per unit of accuracy]: 1.0 accepts 10 ms more "
        "for 0.01 of accuracy",
        low=0.0,
        high=1e6,
    ),
    Param(
        "structures",
        [structure.value for structure in _DEFAULT.structures],
        "structures that head and tail may have",
        choices=tuple(structure.value for structure in Structure),
    ),
    Param(
        "merges",
        [merge.value for merge in _DEFAULT.merges],
        "what may happen to branches that do not stay",
        choices=tuple(merge.value for merge in Merge),
    ),
    Param(
        "codecs",
        list(_DEFAULT.codecs),
        "codecs for tensors (cuts 1 to N-1); neck.* count at the cuts where the bundle has a neck",
        choices=(*TENSOR_CODECS, *NECK_CODECS),
    ),
    Param(
        "frame_codecs",
        list(_DEFAULT.frame_codecs),
        "codecs for the frame (cut 0); jpeg: the camera's own where its size fits; h264.* count "
        "where head and tail have PyAV and the bundle's accuracy table has them",
        choices=(*FRAME_CODECS, *H264_CODECS),
    ),
    Param(
        "precisions",
        list(_DEFAULT.precisions),
        "numeric precisions that both halves may have; those that head and tail have timed, see "
        "their parameter precisions",
        choices=PRECISIONS,
    ),
    Param(
        "accuracy_floor",
        _DEFAULT.accuracy_floor,
        "least accuracy of a plan, 0 to 1, in the metric that the bundle was measured by; 0 = any",
        low=0.0,
        high=1.0,
    ),
    Param(
        "deadline_s",
        _DEFAULT.deadline_s,
        "most time that a plan may take for one frame [s]; 0 = any",
        low=0.0,
        high=3600.0,
    ),
    Param(
        "late_share",
        _DEFAULT.late_share,
        "share of the frames that may take longer than latency says and miss the deadline, by how "
        "far link and devices vary as measured and by the states of link; 0 = the mean time counts",
        low=0.0,
        high=0.5,
    ),
    Param(
        "frame_rate_hz",
        _DEFAULT.frame_rate_hz,
        "frames a second that a plan must keep [1/s]; 0 = any",
        low=0.0,
        high=1000.0,
    ),
    Param(
        "window",
        _DEFAULT.window,
        "frames in flight, which limit the pace to so many a round trip; 0 = no limit",
        low=0,
        high=1000,
    ),
    Param(
        "link",
        "",
        "a link of config/links.yaml whose states and burst the robots' links have; its rate is "
        "the measured one all the same; empty = none",
    ),
    Param(
        "shared",
        _DEFAULT.shared,
        "what several robots share: plans then reckon with each robot's share of it, by the fleet "
        "solver",
        choices=SHARED,
    ),
    Param(
        "uplink_limit_bytes_per_s",
        _DEFAULT.uplink_limit_bytes_per_s,
        "most bytes a second that a plan may send, with frames at the pace of its slowest stage "
        "[bytes/s]; 0 = any",
        low=0.0,
        high=1e12,
    ),
    Param(
        "link_bps",
        _DEFAULT.link_bps,
        "rate of the uplink to assume until the head has measured it [bit/s]",
        low=1.0,
        high=1e12,
    ),
    Param(
        "correct",
        _DEFAULT.correct,
        "multiply predicted times by what running frames showed of each device and of the link; "
        "never in mode paper",
    ),
    Param(
        "switch_gain",
        _DEFAULT.switch_gain,
        "after news of a rate or a time, keep the plan in force unless another is better by this "
        "share of its objective at least, and by more than noise and the change's cost; an engine "
        "is built for as much, too",
        low=0.0,
        high=1.0,
    ),
    Param(
        "build_timeout_s",
        _DEFAULT.build_timeout_s,
        "devices that build engines ahead: ask again for one that was not built in so long, and "
        "give up a plan that they do not get ready [s]",
        low=1.0,
        high=86_400.0,
    ),
    Param(
        "debounce_s",
        _DEFAULT.debounce_s,
        "wait so long for more news before solving [s]",
        low=0.0,
        high=10.0,
    ),
)
PARAMS = (
    Param(
        "bundle",
        "",
        "directory of the model bundle; empty = the one that comes with the package",
        held_from="configure",
    ),
    Param(
        "silence_limit_s",
        5.0,
        "a device that is silent for so long is gone; heartbeats come twice a second [s]",
        low=1.0,
        high=600.0,
        held_from="configure",
    ),
    *SOLVE_PARAMS,
)


def settings_from(values: Mapping[str, Any]) -> PlannerSettings:
    """Make settings of the values of ``SOLVE_PARAMS``.

    Raises:
        CodesignError: a value makes no sense, or there is no such link.
    """
    link = None
    if values["link"]:
        link = find_link(load_links(resource_path("config") / "links.yaml"), values["link"])
    converted = {
        "link": link,
        "objective": parse_objective(values["objective"]),
        "structures": tuple(map(Structure, values["structures"])),
        "merges": tuple(map(Merge, values["merges"])),
        **{name: tuple(values[name]) for name in ("codecs", "frame_codecs", "precisions")},
    }
    return PlannerSettings(**{**values, **converted})
