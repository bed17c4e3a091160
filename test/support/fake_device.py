"""A head or a tail that builds engines ahead, as far as a planner can tell; it runs no network."""

import contextlib
import threading
from dataclasses import replace

from codesign_ros.msg import DeviceProfile, Heartbeat
from codesign_ros.nodes.interface import qos
from codesign_ros.nodes.interface.device_messages import device_to_msg, heartbeat_to_msg
from codesign_ros.nodes.interface.messages import plan_from_msg
from codesign_ros.nodes.observer import Observer
from codesign_ros.srv import CommitPlan, PreparePlan

HEARTBEAT_PERIOD_S = 0.2


class FakeDevice:
    """Announces itself, sends heartbeats and does as the planner says.

    Args:
        device: what it announces at first.
        domain: DDS domain.

    Attributes:
        device: what it announces, and what its heartbeats bring.
        orders: plans whose engines it was asked to build.
        prepared, committed: epochs.
        preparing: set once it has a plan to prepare.
        may_prepare: it does not answer until this is set.
        refusal: why it builds nothing; empty = it does.
    """

    def __init__(self, device, domain):
        self.device = device
        self.orders, self.prepared, self.committed = [], [], []
        self.preparing, self.may_prepare = threading.Event(), threading.Event()
        self.may_prepare.set()
        self.refusal = ""
        self._observer = Observer(device.robot, domain)
        node = self._observer.node
        self._devices = node.create_publisher(DeviceProfile, "/codesign/devices", qos.state())
        self._heartbeats = node.create_publisher(Heartbeat, "/codesign/heartbeat", qos.heartbeat())
        node.create_service(PreparePlan, f"{device.node}/prepare_plan", self._prepare)
        node.create_service(CommitPlan, f"{device.node}/commit_plan", self._commit)
        self._stopping = threading.Event()
        self._beating = threading.Thread(target=self._beat)
        self._beating.start()
        self.announce()

    def announce(self, **changes):
        self.device = replace(self.device, **changes)
        self._devices.publish(device_to_msg(self.device, self._now()))

    def built(self, forms, is_built=True):
        """Announce engines as built, or as such that cannot be."""
        engines = {**(self.device.engines or {}), **dict.fromkeys(forms, is_built)}
        self.announce(engines=engines)

    def close(self):
        self.may_prepare.set()
        self._stopping.set()
        self._beating.join()
        self.announce(state="finalized")
        self._observer.close()

    def _now(self):
        return self._observer.node.get_clock().now().to_msg()

    def _beat(self):
        # On its own thread: a node that prepares a plan sends them too.
        while not self._stopping.wait(HEARTBEAT_PERIOD_S):
            self._heartbeats.publish(heartbeat_to_msg(self.device, self._now()))

    def _prepare(self, request, response):
        plan = plan_from_msg(request.plan)
        if request.build_only:
            self.orders.append(plan)
            response.ok, response.message = not self.refusal, self.refusal
            return response
        self.preparing.set()
        self.may_prepare.wait()
        self.prepared.append(plan.epoch)
        response.ok = True
        return response

    def _commit(self, request, response):
        self.committed.append(request.epoch)
        self.device = replace(self.device, epoch=request.epoch)
        response.ok = True
        return response


@contextlib.contextmanager
def fake_devices(domain, *devices):
    """Fake devices while the block runs."""
    with contextlib.ExitStack() as exit_stack:
        yield [
            exit_stack.enter_context(contextlib.closing(FakeDevice(device, domain)))
            for device in devices
        ]
