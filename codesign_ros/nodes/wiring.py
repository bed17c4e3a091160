"""The one way in which nodes make publishers, subscriptions, services, clients and timers."""

from __future__ import annotations

import functools
import threading
import traceback
from collections.abc import Callable
from typing import Any, TypeVar

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from rclpy.client import Client
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription

from codesign_ros.nodes.interface import qos
from codesign_ros.types import CodesignError, one_line, unexpected

_T = TypeVar("_T")


class WiredNode(Node):
    """A node; the parameters ``qos_overrides.*`` change the quality of service of all its topics.

    What its callbacks raise is handled alike. A CodesignError costs the message or the request that
    it is about: the log says so in one line, or whoever asked is told. Anything else is a defect:
    its traceback is logged, and whoever asked is told, or the node fails where nobody did.

    Args:
        name: default node name.
        options: as for rclpy's node.
    """

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(name, **options)
        # Why the node cannot go on, or why its last transition failed.
        self.failure: str | None = None
        # Publishers and subscriptions in order, with their topics' names as they were given.
        self._endpoints: list[tuple[str, Any]] = []
        self._clients_by_name: dict[str, Client] = {}
        self._wiring = threading.Lock()
        # Callbacks of one group wait for each other, those of rclpy's own group for transitions,
        # which take seconds: they must hold up no signs of life. Each subscription has its own
        # group, and an answer waits for nobody.
        self._timers_group = MutuallyExclusiveCallbackGroup()
        self._services_group = MutuallyExclusiveCallbackGroup()
        self._answers_group = ReentrantCallbackGroup()

    def fail(self, reason: str) -> None:
        """Note that the node cannot go on; for mistakes that show only after the start."""
        self.failure = reason

    def defect(self, error: Exception) -> str:
        """Log the traceback of the unforeseen error that is being handled; returns its one line."""
        self.get_logger().error(traceback.format_exc())
        return unexpected(error)

    def advertise(self, kind: Any, topic: str, profile: QoSProfile) -> Publisher:
        """Create a publisher.

        Raises:
            CodesignError: one of the overrides has a value that cannot be used.
        """
        return self._connect(self.create_publisher, kind, topic, profile)

    def listen(
        self,
        kind: Any,
        topic: str,
        callback: Callable[[Any], None],
        profile: QoSProfile,
        on_lost: Callable[[], None] | None = None,
    ) -> Subscription:
        """Create a subscription; ``on_lost`` is called when DDS has lost a sender.

        Raises:
            CodesignError: one of the overrides has a value that cannot be used.
        """
        return self._connect(
            self.create_subscription,
            kind,
            topic,
            profile,
            callback=self._guarded(callback, f"ignored a message on {topic}"),
            callback_group=MutuallyExclusiveCallbackGroup(),
            event_callbacks=qos.when_lost(self._guarded(on_lost, topic)) if on_lost else None,
        )

    def serve(self, kind: Any, name: str, answer: Callable[[Any, Any], None]) -> None:
        """Create a service; ``answer`` fills in a response, which is not ok if that raises."""

        def respond(request: Any, response: Any) -> Any:
            try:
                answer(request, response)
                response.ok = True
            except CodesignError as error:
                response.message = str(error)
            except Exception as error:
                response.message = self.defect(error)
            return response

        self.create_service(kind, name, respond, callback_group=self._services_group)

    def client(self, kind: Any, name: str) -> Client:
        """Return the client of a service, which is made once."""
        with self._wiring:
            known = self._clients_by_name
            if name not in known:
                known[name] = self.create_client(kind, name, callback_group=self._answers_group)
            return known[name]

    def every(self, period_s: float, callback: Callable[[], None]) -> None:
        """Create a timer."""
        guarded = self._guarded(callback, f"task of every {period_s} s")
        self.create_timer(period_s, guarded, self._timers_group)

    def listeners(self) -> dict[str, int]:
        """How many listen to each topic of this node."""
        with self._wiring:
            return {
                topic: endpoint.get_subscription_count()
                for topic, endpoint in self._endpoints
                if isinstance(endpoint, Publisher)
            }

    def disconnect(self, lasting: int) -> None:
        """Destroy publishers and subscriptions except for the oldest ``lasting``."""
        with self._wiring:
            for _, endpoint in self._endpoints[lasting:]:
                if isinstance(endpoint, Publisher):
                    self.destroy_publisher(endpoint)
                else:
                    self.destroy_subscription(endpoint)
            del self._endpoints[lasting:]

    def _connect(
        self, create: Callable[..., _T], kind: Any, topic: str, profile: QoSProfile, **options: Any
    ) -> _T:
        options["qos_overriding_options"] = qos.overridable(profile)
        try:
            endpoint = create(kind, topic, qos_profile=profile, **options)
        except Exception as error:
            # rclpy has an exception class for each kind of mistake, some of them private.
            why = f"topic {topic}, parameters qos_overrides.*: {one_line(error)}"
            raise CodesignError(why) from None
        with self._wiring:
            self._endpoints.append((topic, endpoint))
        return endpoint

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
