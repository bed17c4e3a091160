"""Services that answer later: the executor takes the request, a worker does what it asks for.

rclpy answers as soon as a service's callback returns; a callback that is a coroutine may return
later, but not in all releases (the events executor before rclpy 7.1.11 and 9.1.2 cannot), and the
executors with a wait set poll it without pause. Here the callback returns at once, in place of the
response what was asked, and the service sends the response once a worker has made it. All releases
from Humble on call the two as they are called here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.service import Service

from codesign_ros.nodes.workers import Worker


class NotMeantError(Exception):
    """Raised by a service that was not meant: another node of the same name answers."""


def defer(service: Service, worker: Worker, on_error: Callable[[Exception], None]) -> None:
    """Have a service's callback run on a worker, and the answer sent from there.

    Args:
        service: the service, before its node is run by an executor.
        worker: runs the callback.
        on_error: told what the callback raised but for ``NotMeantError``; whoever asked then gets
            no answer, nor where the service is destroyed meanwhile.
    """
    answer, send = service.callback, service.send_response

    def accept(request: Any, response: Any) -> Callable[[], Any]:
        return lambda: answer(request, response)

    def reply(ask: Callable[[], Any], header: Any) -> None:
        def work() -> None:
            try:
                send(ask(), header)
            except (rclpy_implementation.InvalidHandle, NotMeantError):
                return  # the node ends, or another answers
            except Exception as error:
                on_error(error)

        worker.submit(work)

    service.callback = accept
    service.send_response = reply  # type: ignore[assignment,method-assign]
