"""Network to ONNX, once for each structure and merge; imported only when the cache has no copy."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import torch
from torch import nn

from codesign_ros.models.network import Network
from codesign_ros.types.tensors import IMAGE

_OPSET = 17


class _AllCrossings(nn.Module):
    """Returns the output of every segment, so that each becomes a named output of the graph."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        names = self.network.segment_names
        made = self.network.run({IMAGE: image}, 0, len(names), names)
        return tuple(made[name] for name in names)


def export_onnx(network: Network) -> bytes:
    """Return the whole network, batch 1, as an ONNX model.

    Args:
        network: a re-parameterised network in evaluation mode.

    Returns:
        The model, serialised: input ``image``, one output for each segment, named after it.
    """
    (image,) = network.crossing(0)
    with tempfile.TemporaryDirectory() as directory, warnings.catch_warnings():
        file = Path(directory) / "network.onnx"
        # The newer exporter needs another package and takes ten times as long for the same graph.
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        torch.onnx.export(
            _AllCrossings(network).eval(),
            (torch.zeros(image.shape),),
            file,
            input_names=[image.name],
            output_names=list(network.segment_names),
            opset_version=_OPSET,
            dynamo=False,
        )
        return file.read_bytes()
