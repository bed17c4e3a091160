"""Starting a training from another network's weights."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch

from codesign_ros.bundle import Bundle
from codesign_ros.models.network import Network
from codesign_ros.types.errors import CodesignError

# The last convolutions of a detector's head's class branches: one row for each class.
_CLASS_ROWS = re.compile(r"\.head\.classes\.\d+\.4\.(weight|bias)$")


def start_from(
    bundle: Bundle, network: Network, architecture: str, classes: Sequence[str]
) -> tuple[int, int]:
    """Copy weights into ``network`` wherever name and shape are the same.

    What a detector's head has learnt of a class goes to the class of the same name.

    Args:
        bundle: the other network.
        network: is changed in place.
        architecture: what it was made as.
        classes: its classes.

    Returns:
        How many of its tensors were set, and how many it has.

    Raises:
        CodesignError: the bundle is another network.
    """
    if bundle.architecture != architecture:
        raise CodesignError(
            f"bundle {bundle.path} is a {bundle.architecture}; a detector starts from a "
            f"{architecture}"
        )
    old = bundle.network().state_dict()
    own = network.state_dict()
    fitting: dict[str, torch.Tensor] = {}
    for name, tensor in own.items():
        if name not in old:
            continue
        if _CLASS_ROWS.search(name) and old[name].shape[1:] == tensor.shape[1:]:
            rows = tensor.clone()
            for index, label in enumerate(classes):
                if label in bundle.classes:
                    rows[index] = old[name][bundle.classes.index(label)]
            fitting[name] = rows
        elif old[name].shape == tensor.shape:
            fitting[name] = old[name]
    network.load_state_dict(fitting, strict=False)
    return len(fitting), len(own)
