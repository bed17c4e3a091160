"""The network's real answers, each computed once, whichever policies ask for it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from codesign_ros.bundle import Bundle
from codesign_ros.data.frames import SourceFrame
from codesign_ros.engines.factory import DEFAULT_BACKEND, open_backend
from codesign_ros.evaluation.replay import ReplayedFrame, Runner
from codesign_ros.runtime.stages.engine_keys import head_key, tail_key
from codesign_ros.types.plan import Plan


class Answers:
    """Runs frames through the real halves and codecs, and keeps what is asked for again.

    Args:
        runner: runs them.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._frames: dict[int, SourceFrame] = {}
        self._made: dict[int, dict[Any, ReplayedFrame]] = {}

    @classmethod
    @contextlib.contextmanager
    def opened(cls, bundle: Bundle, backend: str = DEFAULT_BACKEND) -> Iterator[Answers]:
        """Open the engines of a bundle on one thread, so that answers are the same every time."""
        runner = Runner(bundle, open_backend(bundle, backend, threads=1))
        with contextlib.closing(runner):
            yield cls(runner)

    def hold(self, number: int, frame: SourceFrame) -> None:
        """Take in a frame."""
        self._frames[number], self._made[number] = frame, {}

    def release_before(self, number: int) -> None:
        """Forget the frames before one, of which nobody asks any more."""
        for old in [each for each in self._frames if each < number]:
            del self._frames[old], self._made[old]

    def of(self, number: int, plan: Plan, codec: str) -> ReplayedFrame:
        """The answer for a frame under a plan, written on the wire with a codec.

        Raises:
            CodesignError: as ``Runner.run``.
        """
        plan = replace(plan, codec=codec, levels=())
        key = head_key(plan), tail_key(plan), codec
        made = self._made[number]
        if key not in made:
            made[key] = self._runner.run(self._frames[number], plan)
        return made[key]
