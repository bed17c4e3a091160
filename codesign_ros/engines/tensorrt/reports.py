"""What TensorRT tells while it works: errors, and how far a build is.

TensorRT hands errors to a logger and then returns None or False, so an error's text is found here.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from codesign_ros.types.errors import CodesignError, one_line

_logger = logging.getLogger(__name__)

_OUT_OF_MEMORY = ("outofmemory", "out of memory", "could not allocate", "requested size was")
_SMALL_WORKSPACE = ("workspace", "could not find any implementation")

Progress = Callable[[float | None, str], None]
"""Told how far something is, 0..1 or None where that is not known, and what is going on."""


def failure(what: str, errors: list[str]) -> CodesignError:
    """Return the error for something TensorRT did not do, from what it logged meanwhile."""
    if not errors:
        return CodesignError(f"{what}: TensorRT gives no reason")
    everything = " ".join(errors).lower()
    # The first one is the cause; those after it say what that led to.
    why = one_line(errors[0])
    if any(sign in everything for sign in _OUT_OF_MEMORY):
        return CodesignError(
            f"{what}: out of memory; close other programs on the GPU, or set a smaller "
            f"tensorrt.workspace_mib ({why})"
        )
    if any(sign in everything for sign in _SMALL_WORKSPACE):
        return CodesignError(
            f"{what}: the workspace may be too small; set a larger tensorrt.workspace_mib ({why})"
        )
    return CodesignError(f"{what}: {why}")


def unreadable(parser: Any, piece: bytes, errors: list[str]) -> CodesignError:
    """Return the error for a piece that TensorRT's ONNX parser did not take.

    Args:
        parser: the parser, after it failed.
        piece: what it was given.
        errors: what TensorRT logged meanwhile.
    """
    if parser.num_errors == 0:
        return failure("TensorRT cannot read the piece of ONNX", errors)
    error = parser.get_error(0)
    if error.node() < 0:
        return failure("TensorRT cannot read the piece of ONNX", [error.desc()])
    if hasattr(error, "node_operator"):
        operator, name = error.node_operator(), error.node_name()
    else:  # TensorRT 8 tells the number of the node alone
        import onnx

        node = onnx.load_model_from_string(piece).graph.node[error.node()]
        operator, name = node.op_type, node.name
    # Of what it does not know at all, TensorRT says no more than "false".
    why = f" ({one_line(error.desc())})" if " " in error.desc() else ""
    return CodesignError(
        f"TensorRT does not take operator {operator} (node '{name}'){why}; "
        "use another backend for this network"
    )


def new_log(trt: Any) -> Any:
    """Return a TensorRT logger that keeps errors until ``take`` is called, which hands them out.

    Warnings go to Python's log, at its lowest level: there are many, and most are of no use.
    """

    class Log(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self._errors: list[str] = []
            self._lock = threading.Lock()

        def log(self, severity: Any, msg: str) -> None:
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                with self._lock:
                    self._errors.append(msg)
            elif severity == trt.ILogger.WARNING:
                _logger.debug("TensorRT: %s", one_line(msg))

        def take(self) -> list[str]:
            with self._lock:
                errors, self._errors = self._errors, []
            return errors

    return Log()


@dataclass
class _Phase:
    """A phase, and which part of the whole it stands for."""

    name: str
    steps: int
    begin: float
    end: float
    done: int = 0

    def at(self, done: int) -> float:
        return self.begin + (self.end - self.begin) * min(done / self.steps, 1.0)


class Phases:
    """Turns TensorRT's nested phases into one fraction that never falls.

    A phase within a phase counts for half of what is left of the outer one's step: how many more
    will follow in that step is not told.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._open: list[_Phase] = []  # from the outermost in
        self._fraction = 0.0
        # TensorRT may call from several threads.
        self._lock = threading.Lock()

    def start(self, name: str, steps: int) -> None:
        """Enter a phase of so many steps."""
        with self._lock:
            end = 1.0
            if self._open:
                outer = self._open[-1]
                end = (self._fraction + max(outer.at(outer.done + 1), self._fraction)) / 2
            self._open.append(_Phase(name, max(steps, 1), self._fraction, end))
            self._progress(self._fraction, name)

    def step(self, name: str, step: int) -> None:
        """Note that step number ``step`` (from 0) of a phase is done."""
        with self._lock:
            phase = self._phase(name)
            phase.done = step + 1
            self._fraction = max(self._fraction, phase.at(phase.done))
            self._progress(self._fraction, name)

    def finish(self, name: str) -> None:
        """Leave a phase."""
        with self._lock:
            self._open.remove(self._phase(name))

    def _phase(self, name: str) -> _Phase:
        return next(phase for phase in reversed(self._open) if phase.name == name)


def new_monitor(trt: Any, progress: Progress) -> Any:
    """Return a TensorRT progress monitor that tells ``progress``."""
    phases = Phases(progress)

    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            phases.start(phase_name, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            phases.step(phase_name, step)
            return True  # go on

        def phase_finish(self, phase_name: str) -> None:
            phases.finish(phase_name)

    return Monitor()
