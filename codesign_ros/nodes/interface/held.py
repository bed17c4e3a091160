"""Values that hold from the next transition on, looked at when they are set: a mistake shows then.

Quickly, for whoever sets one waits: whether it is there, not whether it is sound.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from codesign_ros.bundle import BundleError
from codesign_ros.cost.catalogue import find_device, load_devices
from codesign_ros.data.gstreamer import check_no_address, is_gstreamer
from codesign_ros.resources import resource_path
from codesign_ros.types.errors import CodesignError

THIS_MACHINE = "this-machine"

_GENERATED = ("mine", "scenes")


def check_bundle(values: Mapping[str, Any]) -> None:
    """Refuse a ``bundle`` that is no bundle's directory.

    Raises:
        BundleError: it is none.
    """
    name = values.get("bundle")
    if name and not os.path.isfile(os.path.join(os.path.expanduser(name), "model.yaml")):
        raise BundleError(f"there is no bundle at {name}")


def check_device(values: Mapping[str, Any]) -> None:
    """Refuse a ``device`` that config/devices.yaml does not have.

    Raises:
        CodesignError: there is no such device.
    """
    name = values.get("device", THIS_MACHINE)
    if name != THIS_MACHINE:
        find_device(load_devices(resource_path("config") / "devices.yaml"), name)


def check_source(values: Mapping[str, Any]) -> None:
    """Refuse a ``source`` of frames that is a path where nothing is.

    Raises:
        CodesignError: nothing is there.
    """
    source = values.get("source")
    if source is None or is_gstreamer(source) or source.partition(":")[0] in _GENERATED:
        return
    check_no_address(source)
    if not os.path.exists(os.path.expanduser(source)):
        raise CodesignError(f"source {source} does not exist")
