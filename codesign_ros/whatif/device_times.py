"""Times of a device as a file, so that another machine can plan for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codesign_ros.bundle import Bundle
from codesign_ros.cost.half_times import Extent, StageProfile
from codesign_ros.engines.base import Part
from codesign_ros.engines.cache import default_cache_dir
from codesign_ros.engines.factory import EngineFactory
from codesign_ros.hardware.jetson import power_mode
from codesign_ros.hardware.thermal import Throttle
from codesign_ros.profiling.profile import profile_cached
from codesign_ros.types import CodesignError, one_line

PARTS: tuple[Part, ...] = ("head", "tail")


@dataclass(frozen=True)
class DeviceTimes:
    """What one device measured of one network, as robot and as server.

    Attributes:
        device: name of the device.
        engine: backend that ran the halves.
        threads: threads that worked on one run.
        model_id: content hash of the network's bundle.
        head: times of heads and of encoding.
        tail: times of tails and of decoding.
        power_mode: what a Jetson was set to; empty on other machines, and in older files.
        clocks: why it computed slower than it can, if it did, one line; likewise.
    """

    device: str
    engine: str
    threads: int
    model_id: str
    head: StageProfile
    tail: StageProfile
    power_mode: str = ""
    clocks: str = ""

    @property
    def precisions(self) -> tuple[str, ...]:
        """Precisions that were measured."""
        halves = self.head.halves().keys() | self.tail.halves().keys()
        return tuple(sorted({precision for *_, precision in halves}))

    def to_json(self) -> str:
        """Write as text that ``from_json`` reads."""
        content: dict[str, Any] = {
            "device": self.device,
            "engine": self.engine,
            "threads": self.threads,
            "model_id": self.model_id,
            "precisions": list(self.precisions),
            "power_mode": self.power_mode,
            "clocks": self.clocks,
        }
        for part in PARTS:
            content[part] = json.loads(getattr(self, part).to_json())
        return json.dumps(content)

    @classmethod
    def from_json(cls, text: str) -> DeviceTimes:
        """Read what ``to_json`` wrote.

        Raises:
            ValueError: it is something else.
        """
        try:
            content = json.loads(text)
            names = {key: str(content[key]) for key in ("device", "engine", "model_id")}
            names |= {key: str(content.get(key, "")) for key in ("power_mode", "clocks")}
            threads = int(content["threads"])
            head, tail = (StageProfile.from_json(json.dumps(content[part])) for part in PARTS)
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a device's times: {error}") from None
        return cls(threads=threads, head=head, tail=tail, **names)


def read_device_times(path: Path, bundle: Bundle) -> DeviceTimes:
    """Read the times of a bundle's network from a file that ``write_device_times`` wrote.

    Raises:
        CodesignError: it cannot be read, is something else, or is of another network.
    """
    try:
        times = DeviceTimes.from_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CodesignError(f"cannot read the profile {path}: {error.strerror}") from None
    except ValueError as error:
        raise CodesignError(
            f"{path} is no profile ({one_line(error)}); make one with 'codesign profile --out FILE'"
        ) from None
    if times.model_id != bundle.model_id:
        raise CodesignError(
            f"the profile {path} is of network {times.model_id!r}, the bundle {bundle.name} has "
            f"{bundle.model_id!r}; profile that one with 'codesign profile --bundle BUNDLE'"
        )
    return times


def write_device_times(path: Path, times: DeviceTimes) -> None:
    """Write the times to a file; folders on the way are made.

    Raises:
        CodesignError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(times.to_json() + "\n", encoding="utf-8")
    except OSError as error:
        raise CodesignError(f"cannot write the profile {path}: {error.strerror}") from None


def measure_device(
    factory: EngineFactory,
    device: str,
    extent: Extent,
    *,
    fresh: bool = False,
    progress: Callable[[Part, int, int], None] = lambda part, done, total: None,
) -> DeviceTimes:
    """Time both parts on this machine, or read from the cache what was timed before.

    Args:
        factory: makes the engines, with the backend and threads that are timed.
        device: what to call this machine.
        extent: how much to time.
        fresh: time it although it is in the cache.
        progress: called with the part, how many of its halves and cuts are done, and of how many.

    Raises:
        CodesignError: a cut does not exist, or the backend does not have a precision.
    """
    bundle = factory.bundle
    last = bundle.last_cut
    for cut in extent.cuts or ():
        if not 0 <= cut <= last:
            raise CodesignError(f"cut {cut} does not exist: {bundle.name} has cuts 0 to {last}")

    def profile(part: Part) -> StageProfile:
        return profile_cached(
            bundle,
            factory,
            part,
            default_cache_dir(),
            extent,
            fresh=fresh,
            progress=lambda done, total: progress(part, done, total),
        )

    throttle = Throttle()  # before measuring: what counts is what comes while it works
    return DeviceTimes(
        device=device,
        engine=factory.backend,
        threads=factory.threads,
        model_id=bundle.model_id,
        head=profile("head"),
        tail=profile("tail"),
        clocks=throttle.reason(),
        power_mode=power_mode(),
    )
