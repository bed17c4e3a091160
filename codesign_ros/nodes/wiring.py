"""The one way in which nodes make publishers, subscriptions, services, clients and timers."""

from __future__ import annotations

import contextlib
import functools
import traceback
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from rclpy.client import Client
from rclpy.exceptions import ParameterException
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from rclpy.service import Service
from rclpy.subscription import Subscription

from codesign_ros.nodes.border.reading import check_request, layout_of, read
from codesign_ros.nodes.border.refusals import Refusals
from codesign_ros.nodes.deferral import NotMeantError, defer
from codesign_ros.nodes.interface import qos
from codesign_ros.nodes.loop import Loop
from codesign_ros.nodes.workers import Chores, Worker
from codesign_ros.types.errors import CodesignError, one_line, unexpected

_T = TypeVar("_T")

# How long the end of a node waits for what its threads are doing; a signal ends a process within
# three seconds [s].
PATIENCE_S = 1.0


class WiredNode(Node):
    """A node; the parameters ``qos_overrides.*`` change the quality of service of all its topics.

    Callbacks of subscriptions run on the executor's thread and return at once. What services do
    runs on one thread of the node, what it does periodically on another.

    Messages of this package are looked at before they are read (``border``).

    What its callbacks raise is handled alike. A CodesignError costs the message or the request that
    it is about: it is counted, and the log says so in one line for each sender, or whoever asked is
    told. Anything else is a defect: its traceback is logged, and whoever asked is told, or the node
    fails where nobody did.

    Args:
        name: default node name.
        options: as for rclpy's node.
    """

    def __init__(self, name: str, **options: Any) -> None:
        try:
            super().__init__(name, **options)
        except ParameterException as error:  # of use_sim_time, which rclpy itself declares
            raise CodesignError(one_line(error)) from None
        # Why the node cannot go on, or why its last transition failed.
        self.failure: str | None = None
        # What runs the callbacks; None as long as nothing does, or an executor of somebody else.
        self.loop: Loop | None = None
        self.chores = Chores(f"{name}-chores")
        self.refusals = Refusals()
        # Publishers and subscriptions in order, with their topics' names as they were given.
        self._endpoints: list[tuple[str, Any]] = []
        # Those that ``disconnect`` leaves alone.
        self._lasting_ids: set[int] = set()
        self._clients_by_name: dict[str, Client] = {}
        self._requests = Worker(f"{name}-services")

    def fail(self, reason: str) -> None:
        """Note that the node cannot go on; for mistakes that show only after the start."""
        self.failure = reason

    def defect(self, error: Exception) -> str:
        """Log the traceback of the unforeseen error that is being handled; returns its one line."""
        self.get_logger().error(traceback.format_exc())
        return unexpected(error)

    def advertise(
        self, kind: Any, topic: str, profile: QoSProfile, lasts: bool = False
    ) -> Publisher:
        """Create a publisher; ``lasts``: not for ``disconnect`` to destroy.

        Raises:
            CodesignError: one of the overrides has a value that cannot be used.
        """
        return self._connect(self.create_publisher, kind, topic, profile, lasts=lasts)

    def listen(
        self,
        kind: Any,
        topic: str,
        callback: Callable[[Any], None],
        profile: QoSProfile,
        on_missed: Callable[[int], None] | None = None,
        adapts: bool = False,
        admits: Callable[[bytes], bool] | None = None,
        lasts: bool = False,
    ) -> Subscription:
        """Create a subscription.

        None listens to DDS's events of liveliness: where many senders come at once, taking such an
        event and noting the next one lock each other out in rmw_fastrtps (Kilted), and the process
        hangs with Python's lock in its hands.

        Args:
            kind: of message.
            topic: its name.
            callback: takes a message.
            profile: its quality of service.
            on_missed: called when DDS has lost messages, with how many; not of every middleware.
                For topics of few senders.
            adapts: its reliability follows the senders' and cannot be overridden.
            admits: whether a message is to be read, by its bytes; of this package's messages.
            lasts: not for ``disconnect`` to destroy.

        Raises:
            CodesignError: one of the overrides has a value that cannot be used.
        """
        missed = self._guarded(on_missed, topic) if on_missed else None
        return self._connect(
            self._subscribe,
            kind,
            topic,
            profile,
            callback=self._receiver(kind, topic, callback, admits),
            raw=layout_of(kind) is not None,
            missed=missed,
            adapts=adapts,
            lasts=lasts,
        )

    def serve(self, kind: Any, name: str, answer: Callable[[Any, Any], None]) -> None:
        """Create a service; ``answer`` fills in a response, which is not ok if that raises.

        It may take its time: it runs on the node's thread for services, one after another. Where it
        raises ``NotMeantError`` nobody is told anything.

        Args:
            kind: of service, whose response has a message and ``ok``, in those of std_srvs
                ``success``.
            name: its name.
            answer: given the request, fills in the response.
        """
        done = "success" if hasattr(kind.Response, "success") else "ok"

        def respond(request: Any, response: Any) -> Any:
            try:
                check_request(request)
                answer(request, response)
                setattr(response, done, True)
            except CodesignError as error:
                response.message = str(error)
            except NotMeantError:
                raise
            except Exception as error:
                response.message = self.defect(error)
            return response

        self.on_loop(lambda: self.defer(self.create_service(kind, name, respond), self._requests))

    def defer(self, service: Service, worker: Worker) -> None:
        """Have what a service does run on a worker."""
        defer(service, worker, lambda error: self.fail(self.defect(error)))

    def client(self, kind: Any, name: str) -> Client:
        """Return the client of a service, which is made once."""

        def find() -> Client:
            known = self._clients_by_name
            if name not in known:
                known[name] = self.create_client(kind, name)
            return known[name]

        return self._clients_by_name.get(name) or self.on_loop(find)

    def every(self, period_s: float, callback: Callable[[], None]) -> None:
        """Have something done periodically, on the node's thread for that."""
        self.chores.add(period_s, self._guarded(callback, f"task of every {period_s} s"))

    def listeners(self) -> dict[str, int]:
        """How many listen to each topic of this node."""
        counts = {}
        for topic, endpoint in list(self._endpoints):
            if isinstance(endpoint, Publisher):
                with contextlib.suppress(rclpy_implementation.InvalidHandle):  # just destroyed
                    counts[topic] = endpoint.get_subscription_count()
        return counts

    def topics(self) -> set[str]:
        """Full names of the topics of this node."""
        with contextlib.suppress(rclpy_implementation.InvalidHandle):  # just destroyed
            return {endpoint.topic_name for _, endpoint in list(self._endpoints)}
        return set()

    def keep(self) -> None:
        """Have all publishers and subscriptions that there are outlive ``disconnect``."""
        self._lasting_ids.update(id(endpoint) for _, endpoint in list(self._endpoints))

    def disconnect(self) -> None:
        """Destroy publishers and subscriptions but those that were kept or made to last."""
        made = [endpoint for _, endpoint in list(self._endpoints)]
        self.withdraw([endpoint for endpoint in made if id(endpoint) not in self._lasting_ids])

    def withdraw(self, leaving: Sequence[Publisher | Subscription]) -> None:
        """Destroy publishers and subscriptions."""
        events: list[Any] = []

        def silence() -> None:
            # Events first, and the executor told: it looks once more at those that it knows, and
            # would find their publisher or subscription gone (rclpy issue 1644).
            for endpoint in leaving:
                events.extend(endpoint.event_handlers)
                endpoint.event_handlers = []
            for event in events:
                self.remove_waitable(event)

        def destroy() -> None:
            for event in events:
                event.destroy()
            for endpoint in leaving:
                if isinstance(endpoint, Publisher):
                    self.destroy_publisher(endpoint)
                else:
                    self.destroy_subscription(endpoint)
            gone = {id(endpoint) for endpoint in leaving}
            self._endpoints[:] = [each for each in self._endpoints if id(each[1]) not in gone]
            self._lasting_ids -= gone

        self.on_loop(silence)
        self.on_loop(destroy)

    def on_loop(self, work: Callable[[], _T]) -> _T:
        """Have entities made or destroyed where the executor does not look at them meanwhile."""
        return work() if self.loop is None else self.loop.call(work)

    def destroy_node(self) -> None:
        """Let go of everything."""
        self.chores.stop(PATIENCE_S)
        self._requests.close(PATIENCE_S)
        super().destroy_node()

    def _subscribe(
        self, kind: Any, topic: str, *, missed: Callable[[int], None] | None, **options: Any
    ) -> Subscription:
        if missed is not None:
            # A middleware need not count what it lost.
            with contextlib.suppress(qos.UnsupportedEventTypeError):
                events = qos.when_missed(missed)
                return self.create_subscription(kind, topic, event_callbacks=events, **options)
        return self.create_subscription(kind, topic, **options)

    def _connect(
        self,
        create: Callable[..., _T],
        kind: Any,
        topic: str,
        profile: QoSProfile,
        adapts: bool = False,
        lasts: bool = False,
        **options: Any,
    ) -> _T:
        options["qos_overriding_options"] = qos.overridable(profile, adapts)
        try:
            endpoint = self.on_loop(lambda: create(kind, topic, qos_profile=profile, **options))
        except Exception as error:
            # rclpy has an exception class for each kind of mistake, some of them private.
            why = f"topic {topic}, parameters qos_overrides.*: {one_line(error)}"
            raise CodesignError(why) from None
        if lasts:
            self._lasting_ids.add(id(endpoint))
        self._endpoints.append((topic, endpoint))
        return endpoint

    def _receiver(
        self,
        kind: Any,
        topic: str,
        callback: Callable[[Any], None],
        admits: Callable[[bytes], bool] | None,
    ) -> Callable[[Any], None]:
        """What takes messages from the middleware, as bytes where they are this package's."""
        is_raw = layout_of(kind) is not None

        def receive(data: Any) -> None:
            if admits is not None and not admits(data):
                return
            msg = None
            try:
                msg = read(kind, data) if is_raw else data
                callback(msg)
            except CodesignError as error:
                self.refused(topic, msg, one_line(error))
            except Exception as error:
                self.fail(self.defect(error))

        return receive

    def refused(self, topic: str, msg: Any, why: str) -> None:
        """Count a message that was refused, and log the first of each sender.

        Args:
            topic: where it came.
            msg: the message; None where it could not be read.
            why: one line.
        """
        if self.refusals.note(topic, msg, why):
            self.get_logger().warning(f"ignored a message on {topic}: {why}")

    def _guarded(self, callback: Callable[..., None], what: str) -> Callable[..., None]:
        # rclpy looks at the signature for what to call it with.
        @functools.wraps(callback)
        def guarded(*args: Any) -> None:
            try:
                callback(*args)
            except CodesignError as error:
                self.get_logger().warning(f"{what}: {error}")
            except Exception as error:
                self.fail(self.defect(error))

        return guarded
