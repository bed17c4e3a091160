"""Class activation on networks whose answer can be worked out by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from codesign_ros.explain.class_activation import (
    class_activation,
    class_score,
    map_cuts,
    on_frame,
    share_inside,
)
from codesign_ros.models.network import Network
from codesign_ros.pixels.letterbox import Letterbox, letterbox
from codesign_ros.types.boxes import Box
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.tensors import InputSpec

SPEC = InputSpec(16, 24)


def conv(kernel, stride, padding):
    """One channel that hands on the red channel's pixel in the middle of the kernel."""
    layer = nn.Conv2d(3, 1, kernel, stride, padding, bias=False)
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[0, 0, kernel // 2, kernel // 2] = 1
    return layer


def classifier(weights, *first):
    """Three colour planes, averaged, with given weights (classes, 3)."""
    head = nn.Linear(len(weights[0]), len(weights), bias=False)
    with torch.no_grad():
        head.weight.copy_(torch.tensor(weights))
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Network([*first, ("pool", pool), ("logits", head)], SPEC).eval()


def picture(seed=0):
    return np.random.default_rng(seed).random((1, 3, SPEC.height, SPEC.width), np.float32)


def test_average_and_linear_layer():
    """For them the map is the weighted sum of the channels, and adds up to the logit."""
    weights = [[1.0, -2.0, 0.5], [0.0, 1.0, 0.0]]
    network = classifier(weights, ("same", nn.Identity()))
    image = picture()
    places = SPEC.height * SPEC.width
    for label in (0, 1):
        result = class_activation(network, image, cut=1, class_index=label, detection=False)
        share = np.tensordot(np.float32(weights[label]), image[0], 1) / places
        assert result.heat == pytest.approx(np.maximum(share, 0), abs=1e-7)
        assert result.score == pytest.approx(share.sum(), abs=1e-6)


class Boxes(nn.Module):
    """A detector's output: an anchor for each place, logits from the map and nothing else."""

    def forward(self, x):
        logits = x.flatten(2)
        return torch.cat([logits.new_zeros(1, 4, logits.shape[2]), logits.sigmoid()], 1)


def test_detector_counts_every_anchor_by_its_probability():
    """d(-log(1 - p)) / d logit = p, so the map is logit times p where the logit is positive."""
    network = Network([("map", nn.Conv2d(3, 2, 1)), ("boxes", Boxes())], SPEC).eval()
    image = 6 * picture(1) - 3
    with torch.no_grad():
        logits = network.segments[0](torch.from_numpy(image))[0].double().numpy()
    for label in (0, 1):
        result = class_activation(network, image, cut=1, class_index=label, detection=True)
        p = 1 / (1 + np.exp(-logits[label]))
        assert result.heat == pytest.approx(np.maximum(logits[label] * p, 0), abs=1e-4)
        assert result.score == pytest.approx(-np.log(1 - p).sum(), rel=1e-4)


def test_an_anchor_that_is_sure_counts_and_does_not_overflow():
    output = torch.tensor([[[0.0], [0], [0], [0], [1.0]]])
    score = class_score(output, 0, detection=True)
    assert 10 < score.item() < 20


def test_several_maps_share_one_score():
    """Two maps that both cross: the heat of both is in the picture, each at its own stride."""

    class Sum(nn.Module):
        def forward(self, fine, coarse):
            return torch.stack([fine.sum() + coarse.sum()]).reshape(1, 1)

    network = Network(
        [
            ("fine", conv(3, 2, 1), ("image",)),
            ("coarse", nn.AvgPool2d(3, 2, 1, count_include_pad=False), ("fine",)),
            ("logits", Sum(), ("fine", "coarse")),
        ],
        SPEC,
    ).eval()
    assert map_cuts(network) == [1, 2]
    image = np.zeros((1, 3, 16, 24), np.float32)
    image[0, 0, 8, 12] = 1
    result = class_activation(network, image, cut=2, class_index=0, detection=False)
    maps = network.run({"image": torch.from_numpy(image)}, 0, 2, ["fine", "coarse"])
    assert result.score == pytest.approx(sum(m.sum().item() for m in maps.values()), rel=1e-5)
    assert result.heat.sum() == pytest.approx(result.score, rel=1e-3)
    assert np.unravel_index(result.heat.argmax(), result.heat.shape) == (8, 12)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "peak"),
    [
        (3, 2, 1, (6, 10)),  # place (3, 5) looks at pixel (6, 10) and those around it
        (1, 2, 0, (6, 10)),
        (5, 4, 2, (8, 12)),
        (2, 2, 0, (6.5, 10.5)),  # the middle of four pixels
        (4, 4, 0, (9.5, 13.5)),
    ],
)
def test_heat_lies_where_the_kernel_looked(kernel, stride, padding, peak):
    network = classifier([[1.0]], ("map", conv(kernel, stride, padding)))
    image = np.zeros((1, 3, 16, 24), np.float32)
    image[0, 0, int(np.floor(peak[0])), int(np.floor(peak[1]))] = 1
    if padding == 0 and kernel > 1:
        image[0, 0, int(peak[0]) : int(peak[0]) + 2, int(peak[1]) : int(peak[1]) + 2] = 1
    heat = class_activation(network, image, cut=1, class_index=0, detection=False).heat
    rows, columns = np.mgrid[: heat.shape[0], : heat.shape[1]]
    centre = [(heat * at).sum() / heat.sum() for at in (rows, columns)]
    assert centre == pytest.approx(peak, abs=1e-3)


def test_a_network_that_writes_into_its_input_is_explained_all_the_same():
    network = classifier([[1.0, 1, 1]], ("same", nn.Conv2d(3, 3, 1)), ("relu", nn.ReLU(True)))
    image = picture(2)
    in_place = class_activation(network, image, cut=1, class_index=0, detection=False)
    network.segments[1] = nn.ReLU()
    plain = class_activation(network, image, cut=1, class_index=0, detection=False)
    assert (in_place.heat == plain.heat).all()


def test_weights_that_are_no_numbers():
    network = classifier([[float("nan"), 1.0, 1]], ("same", nn.Identity()))
    with pytest.raises(CodesignError, match="not finite"):
        class_activation(network, picture(), cut=1, class_index=0, detection=False)


@given(height=st.integers(8, 300), width=st.integers(8, 300))
@settings(max_examples=40, deadline=None)
def test_heat_comes_back_to_where_the_frame_was(height, width):
    """A ramp that goes into the network's input and back is the ramp, at any aspect ratio."""
    spec = InputSpec(64, 96)
    for across in (False, True):
        length = width if across else height
        ramp = np.linspace(0, 255, length).astype(np.uint8)
        frame = np.broadcast_to(ramp[None] if across else ramp[:, None], (height, width))
        sent = letterbox(np.repeat(frame[..., None], 3, 2), spec)[..., 0].astype(np.float32)
        back = on_frame(sent, Letterbox.of(height, width, spec), height, width)
        assert back.shape == (height, width)
        # Two pixels of the input, and the rounding of grey values.
        cells = Letterbox.of(height, width, spec)
        step = 255 / max(1, (cells.width if across else cells.height))
        assert np.abs(back - frame).max() <= 2 * step + 3


@pytest.mark.parametrize(("height", "width"), [(64, 96), (128, 192), (300, 100), (40, 200)])
def test_share_inside_boxes(height, width):
    """Against counting pixels of the frame."""
    spec = InputSpec(64, 96)
    place = Letterbox.of(height, width, spec)
    even = np.ones((64, 96), np.float32)
    boxes = [
        Box("a", 0.25 * width, 0.25 * height, 0.75 * width, 0.75 * height),
        Box("a", 0.5 * width, 0.5 * height, 2 * width, 2 * height),
    ]
    x, y = np.meshgrid((np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height)
    covered = ((x > 0.25) & (x < 0.75) & (y > 0.25) & (y < 0.75)) | ((x > 0.5) & (y > 0.5))
    assert share_inside(even, place, boxes) == pytest.approx(covered.mean(), abs=0.06)
    assert share_inside(even, place, []) == 0
    assert share_inside(0 * even, place, boxes) is None
    border = even.copy()
    border[place.top : place.top + place.height, place.left : place.left + place.width] = 0
    assert share_inside(border, place, boxes) is None, "the letterbox's border does not count"
