"""What a head or a tail runs its network with: backend or fallback, profile, background builds."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rclpy.impl.rcutils_logger import RcutilsLogger

from codesign_ros.cost.half_times import Extent, HalfTimes
from codesign_ros.engines.base import EngineKey
from codesign_ros.engines.cache import default_cache_dir
from codesign_ros.engines.factory import EngineFactory
from codesign_ros.nodes.interface.engine_params import NO_FALLBACK, backend_settings
from codesign_ros.nodes.interface.params import Params
from codesign_ros.profiling.built import build_whole
from codesign_ros.profiling.profile import profile_cached, profile_more
from codesign_ros.resources import default_bundle
from codesign_ros.runtime.engines.build_queue import BackgroundBuilds
from codesign_ros.runtime.engines.share import EngineShare, Share
from codesign_ros.runtime.stages.engine_keys import half_key
from codesign_ros.runtime.stages.plan_check import check_plan
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import HalfForm, Part
from codesign_ros.types.plan import Plan

_PROGRESS_PERIOD_S = 10.0


class DeviceEngines:
    """Opens a node's bundle and backend, measures them, and builds more engines when asked to.

    Args:
        part: which half the node runs.
        params: the node's parameters.
        shared: of the process; gives bundle, factory and pool.
        log: the node's logger.
        announce: called, on any thread, when engines or profile have changed.

    Attributes:
        share: bundle, factory and pool while it is open, else None.
        profile: what was measured; None = nothing.
        fallback: why another backend runs than the one asked for, one line; empty = it does not.
    """

    def __init__(
        self,
        part: Part,
        params: Params,
        shared: EngineShare,
        log: RcutilsLogger,
        announce: Callable[[], None],
    ) -> None:
        self.share: Share | None = None
        self.profile: HalfTimes | None = None
        self.fallback = ""
        self._part: Part = part
        self._params = params
        self._shared = shared
        self._log = log
        self._announce = announce
        self._builds: BackgroundBuilds | None = None
        self._first_build = ""
        # Why a backend is not to be tried again, by its name.
        self._lost: dict[str, str] = {}

    def open(self) -> None:
        """Open bundle and backend, build the whole network where that takes long, and measure.

        Raises:
            CodesignError: the bundle cannot be read, or neither the backend nor an allowed fallback
                can be used.
        """
        backend, fallback = self._params["backend"], self._params["engine_fallback"]
        self.fallback = ""
        try:
            if backend in self._lost:
                raise CodesignError(self._lost[backend])
            self._open(backend)
        except CodesignError as error:
            if fallback in (NO_FALLBACK, backend):
                raise
            self._open(fallback)
            self.fallback = f"running on {fallback}, not on {backend}: {error}"
            self._log.warning(self.fallback)

    def newly_lost(self) -> str:
        """Say once why what runs here can run no more, one line; empty = it can.

        ``open`` takes the fallback from then on, where one is allowed.
        """
        why = self.share.factory.lost if self.share else ""
        if not why or self.backend in self._lost:
            return ""
        self._lost[self.backend] = why
        return why

    @property
    def has_fallback(self) -> bool:
        """Whether ``open`` may take another backend than the one that is in use."""
        return self._params["engine_fallback"] not in (NO_FALLBACK, self.backend)

    def close(self) -> None:
        """Let go of everything; a build under way is given up."""
        builds, self._builds = self._builds, None
        if builds is not None:
            builds.close()
        share, self.share = self.share, None
        self.profile = None
        self.fallback = ""
        if share is not None:
            self._shared.release(share)

    @property
    def backend(self) -> str:
        """The backend that is in use; empty while none is."""
        return self.share.factory.backend if self.share else ""

    def forms(self) -> Mapping[HalfForm, bool] | None:
        """Which engines are built and which cannot be; None = any is there within a second."""
        return self.share.factory.engines(self._part) if self.share else None

    def values(self) -> dict[str, Any]:
        """For /diagnostics: backend, GPU, and the build under way."""
        if self.share is None:
            return {"building": self._first_build} if self._first_build else {}
        gpu = self.share.factory.gpu
        return {
            "backend": self.backend,
            **({"gpu": gpu.identity} if gpu else {}),
            **({"building": self._builds.status or "nothing"} if self._builds else {}),
        }

    def order(self, plan: Plan) -> str:
        """Have this node's half of a plan built in the background; returns what was done.

        Raises:
            CodesignError: the node is not configured, or its network has no such half.
        """
        if self.share is None:
            raise CodesignError("the node is not configured, so it builds no engines")
        check_plan(plan, self.share.bundle)
        if self._builds is None:
            return f"{self.backend} needs no engines built ahead"
        key = half_key(plan, self._part, self.share.bundle.last_cut)
        if key is None:
            return f"the {self._part} of cut {plan.cut} is empty"
        self._builds.order(key)
        return "building"

    def _open(self, backend: str) -> None:
        bundle = Path(os.path.expanduser(self._params["bundle"] or default_bundle()))
        settings = backend_settings(backend, self._params)
        share = self._shared.acquire(bundle, backend, self._params["threads"], settings)
        try:
            share.factory.require_device()
            for precision in self._params["precisions"]:
                share.factory.check_precision(precision)
            self._build_whole(share.factory)
            if self._params["profile_s"] > 0:
                self.profile = profile_cached(
                    share.bundle,
                    share.factory,
                    self._part,
                    default_cache_dir(),
                    self._extent(),
                    progress=self._timing(),
                )
        except BaseException:
            self._shared.release(share)
            raise
        self.share = share
        if share.factory.keeps_files:
            self._builds = BackgroundBuilds(share.factory.prepare_aside, self._on_built)

    def _timing(self) -> Callable[[int, int], None]:
        """What tells the log how far the profile is, which takes a minute at the first start."""
        say = self._now_and_then(-math.inf)
        what = f"timing {self._part}s on this machine, once for all starts"

        def show(done: int, total: int) -> None:
            if done < total:
                say(f"{what}: {done} of {total}")

        return show

    def _now_and_then(self, said_s: float) -> Callable[[str], None]:
        """What logs a text unless one was logged a moment ago, at first at ``said_s`` [s]."""

        def say(text: str) -> None:
            nonlocal said_s
            if time.monotonic() - said_s >= _PROGRESS_PERIOD_S:
                said_s = time.monotonic()
                self._log.info(text)

        return say

    def _build_whole(self, factory: EngineFactory) -> None:
        """Build the whole network, with signs of progress; what comes after finds it built."""
        say = self._now_and_then(time.monotonic())

        def show(fraction: float | None, text: str) -> None:
            share = "" if fraction is None else f" {100 * fraction:.0f} %"
            self._first_build = f"the whole network:{share} {text}"
            say(f"building {self._first_build}")

        if factory.builds_ahead:
            try:
                build_whole(factory, self._part, self._extent(), show)
            finally:
                self._first_build = ""

    def _extent(self) -> Extent:
        precisions = tuple(self._params["precisions"])
        return Extent(precisions=precisions, budget_s=self._params["profile_s"])

    def _on_built(self, key: EngineKey, why: str | None) -> None:
        what = f"{key.part} cut {key.cut} {key.structure.value} {key.precision}"
        share, profile = self.share, self.profile
        if why is not None:
            self._log.warning(f"{what} cannot be built: {why}")
        elif share is not None:
            self._log.info(f"built {what}")
            if not share.factory.builds_ahead:
                return  # it said that it had this one already, as it has any within a second
            if profile is not None:
                self._time_built(share, profile)
        self._announce()

    def _time_built(self, share: Share, profile: HalfTimes) -> None:
        try:
            self.profile = profile_more(
                share.bundle,
                share.factory,
                self._part,
                default_cache_dir(),
                self._extent(),
                profile,
            )
        except CodesignError as error:
            self._log.warning(f"the new engine could not be timed: {error}")
