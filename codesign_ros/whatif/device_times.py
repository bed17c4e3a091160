"""Times of a device as a file, so that another machine can plan for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from codesign_ros.bundle import Bundle
from codesign_ros.cost.half_times import Extent, HalfTimes
from codesign_ros.engines.cache import default_cache_dir
from codesign_ros.engines.factory import EngineFactory
from codesign_ros.hardware.jetson import power_mode
from codesign_ros.hardware.thermal import Throttle
from codesign_ros.profiling.profile import profile_cached
from codesign_ros.types.errors import CodesignError, one_line
from codesign_ros.types.forms import Part

PARTS: tuple[Part, ...] = ("head", "tail")


def read_device_times(path: Path, bundle: Bundle) -> tuple[str, dict[Part, HalfTimes]]:
    """Read the times of a bundle's network from a file that ``write_device_times`` wrote.

    Returns:
        What the device is called, and its times by part.

    Raises:
        CodesignError: it cannot be read, is something else, or is of another network.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        device, model_id = str(content["device"]), str(content["model_id"])
        times = {part: HalfTimes.from_json(content[part]) for part in PARTS}
    except OSError as error:
        raise CodesignError(f"cannot read the profile {path}: {error.strerror}") from None
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise CodesignError(
            f"{path} is no profile ({one_line(error)}); make one with 'codesign profile --out FILE'"
        ) from None
    if model_id != bundle.model_id:
        raise CodesignError(
            f"the profile {path} is of network {model_id!r}, the bundle {bundle.name} has "
            f"{bundle.model_id!r}; profile that one with 'codesign profile --bundle BUNDLE'"
        )
    return device, times


def write_device_times(
    path: Path, times: Mapping[Part, HalfTimes], conditions: Mapping[str, str | int]
) -> None:
    """Write what ``measure_device`` returned to a file; folders on the way are made.

    Raises:
        CodesignError: it cannot be written.
    """
    content = {**conditions} | {part: each.to_json() for part, each in times.items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content) + "\n", encoding="utf-8")
    except OSError as error:
        raise CodesignError(f"cannot write the profile {path}: {error.strerror}") from None


def measure_device(
    factory: EngineFactory,
    device: str,
    extent: Extent,
    *,
    fresh: bool = False,
    progress: Callable[[Part, int, int], None] = lambda part, done, total: None,
) -> tuple[dict[Part, HalfTimes], dict[str, str | int]]:
    """Time both parts on this machine, or read from the cache what was timed before.

    Args:
        factory: makes the engines, with the backend and threads that are timed.
        device: what to call this machine.
        extent: how much to time.
        fresh: time it although it is in the cache.
        progress: called with the part, how many of its halves and cuts are done, and of how many.

    Returns:
        The times by part, and what they were measured on and under which conditions.

    Raises:
        CodesignError: a cut does not exist, or the backend does not have a precision.
    """
    bundle = factory.bundle
    last = bundle.last_cut
    for cut in extent.cuts or ():
        if not 0 <= cut <= last:
            raise CodesignError(f"cut {cut} does not exist: {bundle.name} has cuts 0 to {last}")
    throttle = Throttle()  # before measuring: what counts is what comes while it works
    times = {
        part: profile_cached(
            bundle,
            factory,
            part,
            default_cache_dir(),
            extent,
            fresh=fresh,
            progress=partial(progress, part),
        )
        for part in PARTS
    }
    return times, {
        "device": device,
        "engine": factory.backend,
        "threads": factory.threads,
        "model_id": bundle.model_id,
        "power_mode": power_mode(),
        "clocks": throttle.reason(),
    }
