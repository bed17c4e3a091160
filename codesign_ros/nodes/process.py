"""Nodes as a process: autostart, the end by signal or by failure, clean shutdown."""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import queue
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from pathlib import Path

import rclpy
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args

from codesign_ros.nodes.base import CodesignNode
from codesign_ros.nodes.interface import transport
from codesign_ros.nodes.loop import Loop, make_executor
from codesign_ros.nodes.wiring import PATIENCE_S
from codesign_ros.resources import resource_path
from codesign_ros.types.errors import CodesignError, escaped, one_line, unexpected

ENDS_WITH_INPUT = "CODESIGN_ENDS_WITH_INPUT"
"""Environment variable: where it is set, the process ends as its standard input does. So whoever
starts it with a pipe takes it along, however that one ends."""
# How soon the end of a node by ``fail`` is seen, and that of the input [s].
_POLL_S = 0.2
# What the end of a process may take at all, many times what it does [s].
_MOST_END_S = 30.0
# How long the end of a process waits until others have been told of it [s].
_GOODBYE_S = 1.5


class _RosLog(logging.Handler):
    """Hands what modules without ROS log to ROS, in the name of a node."""

    def __init__(self, node: CodesignNode) -> None:
        super().__init__()
        self._log = node.get_logger()

    def emit(self, record: logging.LogRecord) -> None:
        """Log at the same severity; rclpy wants a place in the code for each."""
        text = self.format(record)
        if record.levelno >= logging.ERROR:
            self._log.error(text)
        elif record.levelno >= logging.WARNING:
            self._log.warning(text)
        else:
            self._log.info(text)


class Interruption:
    """That the process is to end: told by a handler of signals or by a thread, awaited by another.

    No Event: a handler runs between any two steps of the thread that it interrupts. Where that one
    is inside ``Event.wait`` and holds the Event's lock, ``Event.set`` would wait for it for ever.
    ``SimpleQueue.put`` may run inside ``SimpleQueue.get`` (it is reentrant, says its reference).

    Args:
        pipe: file descriptor to which nobody writes; its end tells it too.
    """

    def __init__(self, pipe: int | None = None) -> None:
        self._queue: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._is_told = False
        self._pipes = [] if pipe is None else [pipe]

    def tell(self) -> None:
        """Have the thread go on that waits, or that will."""
        self._queue.put(None)

    def wait(self, timeout_s: float) -> bool:
        """Wait until it is told; whether it was, within the time or before."""
        if not self._is_told:
            with contextlib.suppress(queue.Empty):
                self._queue.get(timeout=timeout_s)
                self._is_told = True
            if select.select(self._pipes, [], [], 0.0)[0]:
                self._is_told = True
        return self._is_told


def run(make_node: Callable[[], CodesignNode]) -> int:
    """Run one node as a process; see ``run_together``."""
    return run_together(lambda: [make_node()])


def run_together(make_nodes: Callable[[], Sequence[CodesignNode]], *, as_one: bool = False) -> int:
    """Run nodes as one process until SIGINT, SIGTERM, or until every one ended by ``fail``.

    Or until the end of standard input, where ``ENDS_WITH_INPUT`` says so.

    A node that cannot start says so in one line; the others go on, and it may be configured again.

    Args:
        make_nodes: makes them, at least one; may raise CodesignError.
        as_one: none is of use without the others: where one fails, all end.

    Returns:
        The exit status: 0, or 1 after such a failure, whose lines went to standard error.
    """
    quorum = any if as_one else all
    try:
        _check_arguments(sys.argv)
        transport.check_domain(os.environ)
        transport.prepare(os.environ, resource_path("config") / "fastdds.xml")
        # Our own handlers: rclpy's end the context at once, and then nobody could be told goodbye.
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    except Exception as error:
        # Ours; or arguments or a parameter file that ROS cannot read, whose classes are private.
        unknown = isinstance(error, rclpy_implementation.UnknownROSArgsError)
        why = "ROS does not know these words behind --ros-args: " if unknown else ""
        print(f"error: {why}{one_line(error)}", file=sys.stderr)
        return 1
    interruption = Interruption(0 if ENDS_WITH_INPUT in os.environ else None)
    named: set[int] = set()
    broken: list[Exception] = []

    def on_end(error: Exception | None) -> None:
        broken.extend([error] if error else [])
        interruption.tell()

    loop = Loop(make_executor(), rclpy.get_default_context(), on_end)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: interruption.tell())
    try:
        nodes = make_nodes()
    except CodesignError as error:
        print(f"error: {escaped(error)}", file=sys.stderr)
        rclpy.shutdown()
        return 1
    log, ros_log = logging.getLogger("codesign_ros"), _RosLog(nodes[0])
    log.setLevel(logging.INFO)
    log.addHandler(ros_log)
    loop.start(nodes)
    for node in nodes:
        node.is_made = True
        node.chores.start()
    _start(nodes, interruption, as_one=as_one)
    while not quorum(node.done.is_set() for node in nodes) and not interruption.wait(_POLL_S):
        _name_threads(named)
    # Whatever hangs from here on, in foreign code too: the process ends, and says where it was.
    faulthandler.dump_traceback_later(_MOST_END_S, exit=True)
    for node in nodes if broken else ():
        node.fail(unexpected(broken[0]))
    ended = [node for node in nodes if node.done.is_set() and node.failure]
    failed = bool(ended) if as_one else len(ended) == len(nodes)
    for node in ended if failed else ():
        name = f"{node.get_fully_qualified_name()}: " if len(nodes) > 1 else ""
        print(f"error: {name}{escaped(node.failure or '')}", file=sys.stderr)
    _say_goodbye(nodes)
    # First the callbacks end, then the nodes: a callback must not meet destroyed entities.
    loop.stop(nodes, PATIENCE_S)
    log.removeHandler(ros_log)
    for node in nodes:
        node.destroy_node()
    if not any(node.is_left for node in nodes):  # it would be at a loss without DDS
        rclpy.shutdown()
    for number in (signal.SIGINT, signal.SIGTERM):
        # As Python ends it would let one more end the process in the middle of that.
        signal.signal(number, signal.SIG_IGN)
    faulthandler.cancel_dump_traceback_later()
    status = 1 if failed else 0
    if any(thread.daemon for thread in threading.enumerate()):
        # One that builds an engine is left alone. As Python ends it would stop it somewhere in
        # foreign code, which then aborts the process.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status


def _check_arguments(arguments: Sequence[str]) -> None:
    """Refuse words that are none of ROS's, which would do nothing without a word.

    Raises:
        CodesignError: there is one.
    """
    try:
        others = remove_ros_args(list(arguments))[1:]
    except Exception:  # rclpy says the same again, and why, when it is started
        return
    others += [word for word in _outside_ros_args(arguments[1:]) if ":=" in word]
    if others:
        raise CodesignError(
            f"argument {others[0]} is not known: give parameters as --ros-args -p NAME:=VALUE"
        )


def _outside_ros_args(words: Sequence[str]) -> Iterator[str]:
    """Yield the words that are not between --ros-args and --: rcl takes NAME:=VALUE of these too.

    As another name for something, which a parameter without its -p is not meant to be.
    """
    inside = False
    for word in words:
        if word in ("--ros-args", "--"):
            inside = word == "--ros-args"
        elif not inside:
            yield word


def _say_goodbye(nodes: Sequence[CodesignNode]) -> None:
    """Deactivate, all at once, those that others rely on; one that takes too long is left to it."""
    relied_on = [node for node in nodes if node.is_relied_on and node.state_label == "active"]
    wait([node.change(node.trigger_deactivate) for node in relied_on], _GOODBYE_S)


def _name_threads(named: set[int]) -> None:
    """Tell Linux the names of new threads, as Python does from 3.14 on; `top -H` shows them."""
    for thread in threading.enumerate():
        number = thread.native_id
        if number is not None and number not in named and thread is not threading.main_thread():
            named.add(number)
            with contextlib.suppress(OSError):  # it has ended meanwhile
                Path(f"/proc/self/task/{number}/comm").write_text(thread.name[:15])


def _start(
    nodes: Sequence[CodesignNode], interruption: Interruption, *, as_one: bool = False
) -> None:
    """Configure and activate those that start by themselves; if none can go on, each ends.

    All are configured before the first is active: from then on it has to give signs of life. Where
    a manager made a transition first, ours is refused; that is no failure. An interruption ends
    the wait for what takes minutes, as to build engines does.
    """

    def succeeds(change: Future[TransitionCallbackReturn]) -> bool:
        while not interruption.wait(0.0):
            if wait([change], _POLL_S).done:
                return change.result() is TransitionCallbackReturn.SUCCESS
        return False

    starting = [node for node in nodes if node.params["autostart"]]
    for node in starting:
        node.starting = True
    configured = [node for node in starting if succeeds(node.change(node.trigger_configure))]
    started = [node for node in configured if succeeds(node.change(node.trigger_activate))]
    failed = [node for node in starting if node not in started and node.failure]
    for node in starting:
        node.starting = False
    for node in failed:
        if as_one or len(failed) == len(nodes):
            node.done.set()
        else:
            node.get_logger().error(f"{node.get_fully_qualified_name()}: {node.failure}")
