"""The tail of a network with a neck, where it has weights of its own.

Behind a neck the segments take what a decoder made, which lacks what few bytes cannot carry.
Matsubara et al., "BottleFit" (WoWMoM 2022), train them for that, after encoder and decoder; here
all are trained together. Only parameters change: BatchNorm's statistics stay those of the network,
so that its structures (``models.reparam``) are made of such a tail as of any other.
"""

from __future__ import annotations

import copy

import numpy as np
from torch import nn

from codesign_ros.models.network import Network


def tail_of(network: Network, enter: int) -> Network:
    """Copy a network whose segments up to ``enter`` hold nothing and only hand on.

    It is for running what is behind ``enter``, and names weights as the network does.
    """
    tail = copy.deepcopy(network)
    for number in range(enter):
        tail.segments[number] = nn.Identity()
    return tail


def tail_weights(tail: Network) -> dict[str, np.ndarray]:
    """Copy the parameters of what ``tail_of`` made, by their names in the network.

    Returns:
        Float16, which halves a file and is finer than what training leaves undecided, but for
        parameters that it cannot hold: those are as they are.
    """
    # By all names: of a parameter that two modules share, each name is one of the network's.
    parameters = tail.named_parameters(remove_duplicate=False)
    return {name: _halved(p.detach().cpu().numpy()) for name, p in parameters}


def _halved(weights: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        half = weights.astype(np.float16)
    return half if np.isfinite(half).all() else weights.copy()
