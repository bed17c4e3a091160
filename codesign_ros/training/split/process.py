"""Head and tail as two processes of this machine, and what they report put together."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

import safetensors.torch
import torch

from codesign_ros.training.split.job import SplitJob, SplitStep, Tensors, Trained
from codesign_ros.training.split.link import ROLES, PeerError, SplitLink
from codesign_ros.training.split.training import train_half
from codesign_ros.types.errors import CodesignError

TIMEOUT_S = 60.0
# The last is imported by torch itself as soon as a network is made, which takes 2 s.
_PRELOADED = ["torch", "torch.distributed", "torch._dynamo"]
# After one side has failed, what the other has to say follows within this time, if at all [s].
_GRACE_S = 2.0


def train_split(
    job: SplitJob,
    *,
    record: bool = False,
    timeout_s: float = TIMEOUT_S,
    threads: int = 1,
    on_start: Callable[[dict[str, int]], None] = lambda _pids: None,
    on_step: Callable[[SplitStep], None] = lambda _step: None,
) -> Trained:
    """Train head and tail in two new processes.

    They exchange tensors over a socket of their own. To this process each reports its steps, and at
    the end leaves its half of the weights in a temporary directory, as safetensors.

    Args:
        job: what to train; its callables must be importable.
        record: keep the gradients of each step; they are as large as the weights.
        timeout_s: how long one side waits for the other [s].
        threads: processor cores of each side.
        on_start: told the process ids, by role.
        on_step: told after each step, as the tail sees it.

    Returns:
        Both halves, put together; the steps are the tail's, which knows the loss.

    Raises:
        CodesignError: as ``train_half``, or a side was killed.
    """
    # Both processes are forked from a clean one that has imported torch once. This one is not
    # forked: it may have threads, which would be missing in the copy.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    with tempfile.TemporaryDirectory(prefix="codesign_split_") as folder:
        sides: list[_SideProcess] = []
        try:
            for role in ROLES:
                reports, there = context.Pipe(duplex=False)
                process = context.Process(
                    target=_side_main,
                    args=(role, job, Path(folder), record, timeout_s, threads, there),
                    daemon=True,
                )
                process.start()
                there.close()
                sides.append(_SideProcess(role, process, reports))
            on_start({side.role: side.process.pid or 0 for side in sides})
            _follow(sides, on_step)
        finally:
            for side in sides:
                side.process.kill()
                side.process.join()
                side.reports.close()
        steps = sides[ROLES.index("tail")].steps
        return _put_together(Path(folder), steps, job.steps if record else 0)


@dataclass
class _SideProcess:
    """A process and what came from it so far."""

    role: str
    process: BaseProcess
    reports: Connection
    steps: list[SplitStep] = field(default_factory=list)
    error: CodesignError | None = None
    ended: bool = False

    def read(self) -> SplitStep | None:
        """Take one report, and return it if it is a step."""
        try:
            report: SplitStep | CodesignError = self.reports.recv()
        except EOFError:
            self._note_end()
            return None
        if isinstance(report, CodesignError):
            self.error = report
            return None
        self.steps.append(report)
        return report

    def _note_end(self) -> None:
        self.ended = True
        self.process.join()
        code = self.process.exitcode
        if self.error is None and code:
            cause = f"signal {-code}" if code < 0 else f"exit status {code}"
            self.error = CodesignError(
                f"the {self.role}'s process ended with {cause} after {len(self.steps)} steps"
            )


def _follow(sides: list[_SideProcess], on_step: Callable[[SplitStep], None]) -> None:
    """Take reports until both sides have ended.

    Raises:
        CodesignError: a side failed. That the other one went away is the consequence of its
            trouble, so it is said only if nothing else is.
    """
    while running := [side for side in sides if not side.ended]:
        failed = any(side.error is not None for side in sides)
        # Without a limit otherwise: each side limits its waiting for the other.
        ready = wait([side.reports for side in running], _GRACE_S if failed else None)
        if not ready:
            break
        for side in running:
            if side.reports in ready and (step := side.read()) and side.role == "tail":
                on_step(step)
    errors = [side.error for side in sides if side.error is not None]
    for error in sorted(errors, key=lambda error: isinstance(error, PeerError)):
        raise error


def _side_main(
    role: str,
    job: SplitJob,
    folder: Path,
    record: bool,
    timeout_s: float,
    threads: int,
    reports: Connection,
) -> None:
    """Train one half; runs in a process of its own."""
    # A Ctrl-C at the terminal is the parent's: it ends both sides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # gloo would listen on the interface that the machine's name stands for.
    loopbacks = [name for _, name in socket.if_nameindex() if name.startswith("lo")]
    if loopbacks:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", loopbacks[0])
    torch.set_num_threads(threads)
    try:
        with closing(SplitLink(role, f"file://{folder / 'rendezvous'}", timeout_s)) as link:
            trained = train_half(job, link, record=record, on_step=reports.send)
    except CodesignError as error:
        reports.send(error)
        return
    safetensors.torch.save_file(
        {
            f"{part}/{name}": tensor.contiguous()
            for part, tensors in _parts(trained)
            for name, tensor in tensors.items()
        },
        folder / role,
    )


def _parts(trained: Trained) -> list[tuple[str, Tensors]]:
    steps = [(str(step), gradients) for step, gradients in enumerate(trained.gradients)]
    return [("parameters", trained.parameters), ("buffers", trained.buffers), *steps]


def _put_together(folder: Path, steps: list[SplitStep], recorded: int) -> Trained:
    trained = Trained(steps=steps, gradients=[{} for _ in range(recorded)])
    parts = dict(_parts(trained))
    for role in ROLES:
        for key, tensor in safetensors.torch.load_file(folder / role).items():
            part, _, name = key.partition("/")
            parts[part][name] = tensor
    return trained
