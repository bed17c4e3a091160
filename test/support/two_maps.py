"""A tiny imported network of which two maps of different size cross some cuts, as P3 and P4 do."""

from dataclasses import replace
from pathlib import Path

from codesign_ros.bundle import Bundle, write_bundle
from support.tiny import CLASSES, TINY_ACCURACY, TINY_INPUT, tiny_frames

# What crosses: behind segment 2 one map; behind 3, 4 and 5 two, of which one has half the size.
ONE, TWO, LATER = 2, 3, 4

# Of those of the tiny network the rows of cuts that this one has.
_ACCURACY = replace(
    TINY_ACCURACY, rows=tuple(row for row in TINY_ACCURACY.rows if row.cut in (None, 0, 1))
)


def write_two_maps_bundle(path: Path) -> Bundle:
    import torch
    import torch.nn.functional as F
    from torch import nn

    from codesign_ros.models.graph.importing import ARCHITECTURE, import_network
    from support.cut_checks import trained

    class TwoMaps(nn.Module):
        def __init__(self):
            super().__init__()
            sizes = {"stem": (3, 8, 2), "fine": (8, 8, 2), "coarse": (8, 12, 2)}
            sizes |= {"deep": (12, 12, 1), "joined": (20, 8, 1), "last": (8, 8, 1)}
            for name, (made_of, channels, stride) in sizes.items():
                conv = nn.Conv2d(made_of, channels, 3, stride, 1, bias=False)
                self.add_module(name, nn.Sequential(conv, nn.BatchNorm2d(channels), nn.SiLU()))
            self.answer = nn.Linear(20, len(CLASSES))

        def forward(self, x):
            fine = self.fine(self.stem(x))
            deep = self.deep(self.coarse(fine))
            joined = self.joined(torch.cat([fine, F.interpolate(deep, scale_factor=2.0)], 1))
            last = self.last(joined)
            return self.answer(torch.cat([last.mean((2, 3)), deep.mean((2, 3))], 1))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = trained(TwoMaps())
    network, graph = import_network(module, TINY_INPUT)
    return write_bundle(
        path,
        network,
        name="two maps",
        architecture=ARCHITECTURE,
        architecture_args=graph,
        classes=CLASSES,
        accuracy=_ACCURACY,
        calibration_frames=tiny_frames(4),
    )
