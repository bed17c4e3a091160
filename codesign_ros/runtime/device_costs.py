"""The cost tables of one robot and its server, from what the two announced."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from codesign_ros.bundle import Bundle
from codesign_ros.cost.measured import MeasuredStages
from codesign_ros.cost.model import analytic_tables, measured_tables
from codesign_ros.cost.profile import NetworkProfile
from codesign_ros.cost.roofline import RooflineMode
from codesign_ros.cost.tables import Axes, CostTables
from codesign_ros.runtime.values import Device
from codesign_ros.types import CodesignError, DeviceSpec


class DeviceCosts:
    """Makes cost tables in any of the planner's modes.

    Args:
        bundle: the network that head and tail share.
        devices: peaks of known devices by name, for the modes ``paper`` and ``roofline``.
        network_profile: gives FLOPs and bytes of the network; called once, when a mode needs it.
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

    def network_profile(self) -> NetworkProfile:
        """FLOPs and bytes of the network; the first call may take seconds."""
        if self._network_profile is None:
            self._network_profile = self._make_network_profile()
        return self._network_profile

    def tables(self, head: Device, tail: Device | None, mode: str, axes: Axes) -> CostTables:
        """Tables of a head and the tail that may serve it.

        Raises:
            CodesignError: a device has not measured itself, or has no peaks.
        """
        codec_bytes = head.profile.codec_bytes if head.profile else {}
        if mode == "measured":
            return measured_tables(
                len(self._bundle.segments),
                _measured(head),
                [_measured(tail)] if tail else [],
                codec_bytes,
                axes,
                self._bundle.accuracy,
                head.frame_bytes,
            )
        return analytic_tables(
            self.network_profile(),
            self._spec(head),
            [self._spec(tail)] if tail else [],
            RooflineMode(mode),
            axes,
            self._bundle.accuracy,
            codec_bytes,
        )

    def _spec(self, device: Device) -> DeviceSpec:
        if device.peak_flops > 0 and device.memory_bandwidth > 0:
            peaks = {"fp32": device.peak_flops}
            return DeviceSpec(device.node, peaks, device.memory_bandwidth)
        if device.device in self._devices:
            return self._devices[device.device]
        known = sorted({spec.name for spec in self._devices.values()})
        raise CodesignError(
            f"the peaks of {device.node} are not known (device {device.device!r}): set its "
            f"parameter 'device' to one of {', '.join(known)}, or plan in mode measured"
        )


def _measured(device: Device) -> MeasuredStages:
    if device.profile is None:
        raise CodesignError(
            f"{device.node} has not measured itself; set its parameter 'profile_s' above 0, or "
            "plan in another mode"
        )
    return device.profile.stages()
