"""The thread on which all callbacks of a process run, and on which its entities come and go.

rclpy has two kinds of executors. The events executor (Jazzy from rclpy 7.1.4, Kilted, and later)
is told by the middleware what has come; the others build a wait set of all entities anew each time
they wake. With either, callbacks run on one thread here, so each must return at once (``workers``
takes what does not). That spares the wait-set kind what its pool of threads does wrong: until rclpy
10.0.4 (Humble, Jazzy and Kilted have no release with the repair, rclpy pull request 1547) it hands
a task that has not started yet to the pool again and again, without waiting.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future as Answer
from typing import Any, Protocol, TypeVar

from rclpy.context import Context
from rclpy.executors import Executor, ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.task import Future

_T = TypeVar("_T")

# Without a limit the events executor of some builds (the wheels of Kilted among them) never sleeps:
# it waits until the end of time, which their clock has passed [s].
_SPIN_S = 60.0


class LoopedNode(Protocol):
    """A node that is told of the loop which runs it."""

    loop: Loop | None


def make_executor(context: Context | None = None) -> Executor:
    """Make the best executor that this rclpy has.

    The first releases of the events executor take the handlers of SIGINT and SIGTERM as it is made;
    whoever has own ones installs them after.
    """
    try:
        from rclpy.experimental.events_executor import EventsExecutor
    except ImportError:
        return SingleThreadedExecutor(context=context)
    return EventsExecutor(context=context)


class Loop:
    """Runs an executor on a thread of its own.

    Args:
        executor: the executor; this is its only user.
        context: the executor's context.
        on_end: told, on the thread, when it ends although nobody stopped it: the error, or None
            where the context was shut down.
    """

    def __init__(
        self, executor: Executor, context: Context, on_end: Callable[[Exception | None], None]
    ) -> None:
        self._executor = executor
        self._context = context
        self._on_end = on_end
        self._end: Future[None] = Future()
        self._changing = threading.Lock()
        self._spinning = False
        self._jobs: deque[Callable[[], None]] = deque()
        self._thread = threading.Thread(target=self._run, name="ros", daemon=True)

    def start(self, nodes: Sequence[Any]) -> None:
        """Begin to run the callbacks of nodes.

        Args:
            nodes: rclpy's nodes which are ``LoopedNode`` too.
        """
        for node in nodes:
            node.loop = self
            self._executor.add_node(node)
        self._spinning = True
        self._thread.start()

    def call(self, work: Callable[[], _T]) -> _T:
        """Have something done on the thread, between two callbacks, and wait for what it returns.

        Entities come and go there: an executor meets one that is destroyed beside it otherwise
        (rclpy issues 1206 and 1644). Before the start and after the end it is done at once.
        """
        if threading.current_thread() is self._thread:
            return work()
        answer: Answer[_T] = Answer()

        def job() -> None:
            try:
                answer.set_result(work())
            except Exception as error:
                answer.set_exception(error)

        with self._changing:
            running = self._spinning
            if running:
                self._jobs.append(job)
        if not running:
            return work()
        self._executor.create_task(self._work_off)
        return answer.result()

    def stop(self, nodes: Sequence[Node], timeout_s: float) -> None:
        """Let the callback that runs end, and run no more; what waits in ``call`` is done."""
        if self._thread.is_alive():
            self._end.set_result(None)
            self._thread.join(timeout_s)
        for node in nodes:
            self._executor.remove_node(node)
        self._executor.shutdown(timeout_sec=timeout_s)

    def _run(self) -> None:
        error: Exception | None = None
        try:
            while self._context.ok() and not self._end.done():
                self._executor.spin_until_future_complete(self._end, _SPIN_S)
        except ExternalShutdownException:
            pass
        except Exception as caught:
            error = caught
        with self._changing:
            self._spinning = False
        self._work_off()
        if not self._end.done():
            self._on_end(error)

    def _work_off(self) -> None:
        while self._jobs:
            self._jobs.popleft()()
