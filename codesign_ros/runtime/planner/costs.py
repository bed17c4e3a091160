"""The cost tables of one robot and its server, from what the two announced."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from codesign_ros.bundle import Bundle
from codesign_ros.cost.half_times import HalfTimes
from codesign_ros.cost.model import analytic_tables, measured_tables
from codesign_ros.cost.profile import NetworkProfile, profile_network
from codesign_ros.cost.roofline import RooflineMode
from codesign_ros.cost.tables import Axes, CostTables
from codesign_ros.runtime.device import Device
from codesign_ros.types.devices import DeviceSpec
from codesign_ros.types.errors import CodesignError


class DeviceCosts:
    """Makes cost tables in any of the planner's modes.

    Args:
        bundle: the network that head and tail share.
        devices: peaks of known devices by name, for the modes ``paper`` and ``roofline``.
        network_profile: gives FLOPs and bytes of the network; called once, when a mode needs it or
            a device says how much memory it has.
    """

    def __init__(
        self,
        bundle: Bundle,
        devices: Mapping[str, DeviceSpec],
        network_profile: Callable[[], NetworkProfile],
    ) -> None:
        self._bundle = bundle
        self._devices = devices
        self._make_network_profile = network_profile
        self._network_profile: NetworkProfile | None = None
        self._with_necks: dict[int, NetworkProfile] = {}
        self._counting = threading.Lock()

    def network_profile(self) -> NetworkProfile:
        """FLOPs and bytes of the network; the first call may take seconds. Thread safe."""
        with self._counting:
            if self._network_profile is None:
                self._network_profile = self._make_network_profile()
            return self._network_profile

    def _neck_profiles(self) -> dict[int, NetworkProfile]:
        """FLOPs and bytes of the network with each of its necks, by cut; seconds at first."""
        with self._counting:
            for neck in self._bundle.necks:
                if neck.cut not in self._with_necks:
                    network = self._bundle.network_with_neck(neck.cut)
                    self._with_necks[neck.cut] = profile_network(network)
            return self._with_necks

    def get_ready(self, mode: str, devices: Iterable[Device], counted: bool = False) -> None:
        """Do what takes seconds before ``tables`` is called for some of these devices."""
        if mode in {known.value for known in RooflineMode}:
            self.network_profile()
            self._neck_profiles()
        elif counted or any(device.memory_bytes > 0 for device in devices):
            self._memory_needs()

    def tables(
        self, head: Device, tail: Device | None, mode: str, axes: Axes, counted: bool = False
    ) -> CostTables:
        """Tables of a head and the tail that may serve it.

        Args:
            head: the robot's device.
            tail: the server's; None = there is none.
            mode: the cost model.
            axes: what may be chosen.
            counted: with the operations of every segment, which some policies look at.

        Raises:
            CodesignError: a device has not measured itself, or has no peaks.
        """
        if mode == "measured":
            limited = any(device.memory_bytes > 0 for device in (head, tail) if device)
            network, notes = self._memory_needs() if limited or counted else (None, ())
            tables = measured_tables(
                len(self._bundle.segments),
                _measured(head),
                [_measured(tail)] if tail else [],
                axes,
                self._bundle.accuracy,
                head.frame_bytes,
                network,
            )
            return replace(tables, notes=(*tables.notes, *notes))
        return analytic_tables(
            self.network_profile(),
            self._need_spec(head),
            [self._need_spec(tail)] if tail else [],
            RooflineMode(mode),
            axes,
            self._bundle.accuracy,
            head.profile.codec_bytes if head.profile else {},
            necks=self._neck_profiles(),
            payload_spread=head.profile.codec_spread if head.profile else {},
        )

    def _memory_needs(self) -> tuple[NetworkProfile | None, tuple[str, ...]]:
        """What tells how much memory halves need, or a line on why nothing does."""
        try:
            return self.network_profile(), ()
        except ImportError as error:
            return None, (f"what memory the halves need is not known on this machine: {error}",)

    def spec(self, device: Device) -> DeviceSpec | None:
        """A device's peaks: announced, or those of the catalogue; None = not known."""
        if device.peak_flops > 0 and device.memory_bandwidth > 0:
            peaks = {"fp32": device.peak_flops}
            return DeviceSpec(device.node, peaks, device.memory_bandwidth)
        return self._devices.get(device.device)

    def _need_spec(self, device: Device) -> DeviceSpec:
        spec = self.spec(device)
        if spec is not None:
            return spec
        known = sorted({spec.name for spec in self._devices.values()})
        raise CodesignError(
            f"the peaks of {device.node} are not known (device {device.device!r}): set its "
            f"parameter 'device' to one of {', '.join(known)}, or plan in mode measured"
        )


def _measured(device: Device) -> HalfTimes:
    if device.profile is None:
        raise CodesignError(
            f"{device.node} has not measured itself; set its parameter 'profile_s' above 0, or "
            "plan in another mode"
        )
    return device.profile
