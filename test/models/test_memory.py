"""Memory of weights and activations against counts by hand."""

from torch import nn

from codesign_ros.models.graph.importing import import_network
from codesign_ros.models.memory import peak_live_bytes, weight_bytes
from codesign_ros.models.zoo.repvgg import repvgg
from codesign_ros.types.tensors import InputSpec

PIXELS = 8 * 16
IMAGE = 3 * PIXELS * 4


class Skip(nn.Module):
    """Four convolutions; the first one's result is added to the third one's."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 10, 3, padding=1)
        self.third = nn.Conv2d(10, 4, 3, padding=1)
        self.last = nn.Conv2d(4, 2, 1)

    def forward(self, image):
        kept = self.first(image)
        return self.last(self.third(self.second(kept)) + kept)


class Pooled(nn.Module):
    """A pooling that also finds the places of its maxima, and a view of its result."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.relu = nn.ReLU()
        self.pool = nn.MaxPool2d(2)

    def forward(self, image):
        return self.pool(self.relu(self.conv(image))).flatten(1)


def peaks(module):
    network = import_network(module, InputSpec(8, 16)).network
    return dict(zip(network.segment_names, peak_live_bytes(network), strict=True))


def test_what_a_later_segment_takes_lives_on():
    found = peaks(Skip())
    four, ten, two = (channels * PIXELS * 4 for channels in (4, 10, 2))
    assert found == {
        "first": IMAGE + four,
        # What is kept for the sum is alive through the second and the third convolution.
        "second": four + ten,
        "third": four + ten + four,
        "last": four + two,
    }


def test_weights():
    network = import_network(Skip(), InputSpec(8, 16)).network
    elements = (4 * 3 * 9 + 4, 10 * 4 * 9 + 10, 4 * 10 * 9 + 4, 2 * 4 + 2)
    assert weight_bytes(network) == tuple(4 * n for n in elements)


def test_views_and_places_take_nothing():
    four = 4 * PIXELS * 4
    # The fullest moment is the ReLU's, not that of the pooling, whose result is a quarter.
    assert peaks(Pooled()) == {"conv": four + four}


def test_a_whole_network_takes_no_memory_to_measure():
    # Its largest activations take 3 GB; nothing of it is computed.
    network = repvgg("A0", 10, InputSpec(4096, 4096))
    assert max(peak_live_bytes(network)) >= 48 * 2048 * 2048 * 4
