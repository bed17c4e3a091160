"""Networks of torchvision and timm and of one's own: the same answers at every cut."""

import numpy as np
import onnxruntime
import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from codesign_ros.bundle import Bundle, write_bundle
from codesign_ros.cost.accuracy import AccuracyTable
from codesign_ros.cost.profile import profile_network
from codesign_ros.engines.onnx_model.export import export_onnx
from codesign_ros.engines.onnx_model.pieces import PieceCutter
from codesign_ros.models.graph.importing import import_network
from codesign_ros.models.reparam import reparameterize
from codesign_ros.models.zoo import build
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import BRANCH_STRUCTURES, Merge, Structure
from codesign_ros.types.tensors import InputSpec
from support.cut_checks import check_every_cut, difference, trained

INPUT = InputSpec(64, 64)
NOTHING_MEASURED = AccuracyTable("none", 0.0, "nothing was measured", ())
# Segments by hand: convolutions that are not part of squeeze-and-excitation, and the classifier.
NETWORKS = {
    "resnet50": (53 + 1, 2),
    "googlenet": (None, 4),
    "mobilenet_v2": (52 + 1, 2),
    "mobilenet_v3_small": (None, 2),
    "efficientnet_b0": (None, 2),
}
# Their structures are those of the other ones.
ONLY_IN_ALL = ("googlenet", "mobilenet_v2", "efficientnet_b0")


def torchvision_network(name):
    torch.manual_seed(0)
    args = {"init_weights": False} if name == "googlenet" else {}
    return trained(torchvision.models.get_model(name, weights=None, **args))


def image_of(spec, seed=2):
    shape = (1, 3, spec.height, spec.width)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def outputs_of(module, network, image):
    """The module's own answer under the names that the network gives to its outputs."""
    with torch.no_grad():
        answer = module(image.clone())
    answer = answer if isinstance(answer, tuple) else (answer,)
    return dict(zip(network.output_names, answer, strict=True))


def answer_of(network, image):
    """The network's answer, by name."""
    with torch.no_grad():
        answer = network(image.clone())
    answer = answer if isinstance(answer, tuple) else (answer,)
    return dict(zip(network.output_names, answer, strict=True))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.test_all] if name in ONLY_IN_ALL else [])
        for name in NETWORKS
    ],
)
def test_torchvision_networks_are_the_same_at_every_cut(name):
    module, image = torchvision_network(name), image_of(INPUT)
    network, args = import_network(module, INPUT)
    segments, crossing = NETWORKS[name]
    expected = outputs_of(module, network, image)
    assert check_every_cut(network, image, expected) >= crossing
    if segments is not None:
        assert len(network.segment_names) == segments
    # The description alone makes a network that takes the same weights.
    again = build("graph", args, INPUT)
    again.load_state_dict(network.state_dict())
    assert difference(answer_of(again.eval(), image), expected) < 1e-5
    # Rounding grows through so many layers; a single convolution is held to 1e-5 elsewhere.
    for structure in (Structure.S3, Structure.S3_SS_S1):
        merged = reparameterize(network, structure, Merge.FOLD)
        assert not any("running_mean" in key for key in merged.state_dict())
        assert difference(answer_of(merged, image), expected) < 1e-4
    assert profile_network(network).flops(0, len(network.segment_names), Structure.S3) > 0


@pytest.mark.parametrize("name", ["repvgg_a0", "convnext_atto"])
def test_timm_networks_are_the_same_at_every_cut(name):
    torch.manual_seed(0)
    module, image = trained(timm.create_model(name)), image_of(INPUT)
    network, _ = import_network(module, INPUT)
    expected = outputs_of(module, network, image)
    check_every_cut(network, image, expected)
    for structure in (Structure.S3, Structure.S3_SS_S1):
        merged = reparameterize(network, structure, Merge.FOLD)
        assert difference(answer_of(merged, image), expected) < 1e-4


def test_a_repvgg_of_timm_is_a_repvgg():
    torch.manual_seed(0)
    module = trained(timm.create_model("repvgg_a0"))
    network, _ = import_network(module, INPUT)
    image = image_of(INPUT)
    # Every block is a segment, and the classifier is one.
    assert len(network.segment_names) == 22 + 1
    for structure in (Structure.S3, Structure.S3_SS):
        for part in module.modules():
            if hasattr(part, "conv_kxk") and not structure.keeps_1x1:
                nn.init.zeros_(part.conv_1x1.bn.weight)
                nn.init.zeros_(part.conv_1x1.bn.bias)
                part.conv_1x1.bn.running_mean.zero_()
            if getattr(part, "identity", None) is not None and not structure.keeps_identity:
                nn.init.zeros_(part.identity.weight)
                nn.init.zeros_(part.identity.bias)
        pruned = reparameterize(network, structure, Merge.PRUNE)
        assert difference(answer_of(pruned, image), outputs_of(module, network, image)) < 1e-4
        module = trained(module)


class Own(nn.Module):
    """Skips, operations in place, a constant, an input that is changed, and two outputs."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8))
        self.deep = nn.Conv2d(8, 8, 3, padding="same", groups=2)
        self.wide = nn.Conv2d(8, 8, (1, 5), padding=(0, 2))
        self.squeeze = nn.Linear(8, 8)
        self.drop = nn.Dropout(0.5)
        self.register_buffer("offsets", torch.linspace(-1, 1, 8), persistent=False)
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        x.sub_(0.1)
        x = F.relu(self.stem(x), inplace=True)
        y = self.drop(self.deep(x))
        y += x
        a, b = y.chunk(2, 1)
        y = torch.cat([b, a], 1)
        y[:, 0] *= 2
        y = y * torch.sigmoid(self.squeeze(y.mean((2, 3))))[:, :, None, None]
        z = self.wide(F.interpolate(F.max_pool2d(y, 2), size=y.shape[-2:]))
        z = z + self.offsets.view(1, -1, 1, 1) + torch.ones_like(z)
        return self.head(torch.cat([y, z], 1).mean((2, 3))), z


@pytest.fixture(scope="module")
def own():
    torch.manual_seed(0)
    module = trained(Own(), 32)
    return module, import_network(module, InputSpec(32, 48))


def test_a_network_of_ones_own_with_several_outputs(own):
    module, (network, _) = own
    image = image_of(network.input_spec)
    expected = outputs_of(module, network, image)
    assert len(expected) == 2
    assert check_every_cut(network, image, expected) >= 2
    for structure in BRANCH_STRUCTURES:
        folded = reparameterize(network, structure, Merge.FOLD)
        assert difference(answer_of(folded, image), expected) < 1e-5


def test_weights_keep_their_names(own):
    module, (network, _) = own
    names = {key.partition(".weights.")[2] for key in network.state_dict()}
    assert {"stem.0.weight", "deep.bias", "wide.weight", "head.weight"} <= names
    assert "stem.1.num_batches_tracked" not in names
    key = next(key for key in network.state_dict() if key.endswith("wide.weight"))
    assert torch.equal(network.state_dict()[key], module.wide.weight)


def test_the_module_is_left_as_it_was():
    module = trained(Own(), 32).train()
    module.stem[1].eval()
    before = {key: tensor.clone() for key, tensor in module.state_dict().items()}
    import_network(module, InputSpec(32, 48))
    assert module.training
    assert not module.stem[1].training
    assert all(torch.equal(before[key], tensor) for key, tensor in module.state_dict().items())


@pytest.mark.parametrize("structure", [Structure.S3, Structure.S3_SS_S1])
def test_pieces_of_the_exported_network(own, structure):
    module, (network, _) = own
    image = image_of(network.input_spec)
    expected = outputs_of(module, network, image)
    cutter = PieceCutter(export_onnx(reparameterize(network, structure, Merge.FOLD)), for_cpu=True)
    last = len(network.segment_names)

    def run(start, stop, tensors):
        piece = cutter.piece(network.crossing(start), network.crossing(stop))
        session = onnxruntime.InferenceSession(piece, providers=["CPUExecutionProvider"])
        names = [spec.name for spec in network.crossing(stop)]
        return dict(zip(names, session.run(names, tensors), strict=True))

    assert max(len(network.crossing(cut)) for cut in range(1, last)) > 1
    for cut in range(1, last):
        made = run(cut, last, run(0, cut, {"image": image.numpy()}))
        for name, tensor in expected.items():
            np.testing.assert_allclose(made[name], tensor.numpy(), atol=1e-4)


def test_the_bundle_needs_none_of_the_code(own, tmp_path):
    module, (network, args) = own
    bundle = write_bundle(
        tmp_path / "own.bundle",
        network,
        name="own",
        architecture="graph",
        architecture_args=args,
        classes=(),
        accuracy=NOTHING_MEASURED,
        calibration_frames=np.zeros((1, 32, 48, 3), np.uint8),
        task="features",
    )
    image = image_of(network.input_spec)
    opened = Bundle.open(bundle.path).network()
    expected = outputs_of(module, network, image)
    assert difference(answer_of(opened, image), expected) < 1e-5
    # Another operation in its description is not run.
    file = bundle.path / "model.yaml"
    file.write_text(file.read_text().replace("sigmoid.default", "from_file.default"))
    with pytest.raises(CodesignError, match=r"operation 'from_file\.default' is not one") as error:
        Bundle.open(bundle.path).network()
    assert "\n" not in str(error.value)


def test_cuts_are_where_they_are_worth_something():
    class PreActivation(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
            self.norm = nn.BatchNorm2d(8)
            self.squeeze, self.excite = nn.Conv2d(8, 2, 1), nn.Conv2d(2, 8, 1)
            self.up = nn.Conv2d(8, 8, 3, padding=1)
            self.fc = nn.Linear(8, 3)

        def forward(self, x):
            x = self.a(x)
            x = x + self.b(F.relu(self.norm(x)))
            x = x * torch.sigmoid(self.excite(F.relu(self.squeeze(x.mean((2, 3), keepdim=True)))))
            x = F.max_pool2d(F.relu(x), 2)
            x = self.up(F.interpolate(x, scale_factor=2))
            return self.fc(F.relu(x).mean((2, 3)))

    network, _ = import_network(PreActivation(), InputSpec(32, 32))
    # Not before an activation or pooling, not inside the squeeze, not behind the enlargement.
    assert network.segment_names == ("a", "b", "excite", "up", "fc")
    assert [len(network.crossing(cut)) for cut in range(6)] == [1] * 6
    assert network.crossing(3)[0].shape == (1, 8, 16, 16)
    assert network.crossing(4)[0].shape == (1, 8)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["conv", "point", "depth", "add", "cat", "pool", "half", "scale"]),
        st.integers(0, 9),
        st.integers(0, 9),
    ),
    min_size=2,
    max_size=8,
)


class Random(nn.Module):
    """Maps of 4 channels, each made of earlier ones."""

    def __init__(self, steps):
        super().__init__()
        self.steps = steps
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.parts = nn.ModuleList(self.part(kind) for kind, _, _ in steps)

    @staticmethod
    def part(kind):
        convs = {
            "conv": lambda: nn.Conv2d(4, 4, 3, padding=1, bias=False),
            "point": lambda: nn.Conv2d(4, 4, 1),
            "depth": lambda: nn.Conv2d(4, 4, 5, padding=2, groups=4),
            "cat": lambda: nn.Conv2d(8, 4, 1, bias=False),
        }
        if kind not in convs:
            return nn.Identity()
        return nn.Sequential(convs[kind](), nn.BatchNorm2d(4), nn.LeakyReLU(0.1, inplace=True))

    def forward(self, x):
        maps = [self.stem(x)]
        for (kind, i, j), part in zip(self.steps, self.parts, strict=True):
            a, b = maps[i % len(maps)], maps[j % len(maps)]
            if kind in ("conv", "point", "depth"):
                maps.append(part(a))
            elif kind == "cat":
                maps.append(part(torch.cat([a, b], 1)))
            elif kind == "add":
                maps.append(a + b)
            elif kind == "pool":
                maps.append(F.avg_pool2d(a, 3, 1, 1))
            elif kind == "half":
                maps.append(torch.cat(a.split(2, 1)[::-1], 1))
            else:
                y = b.clone()
                y *= torch.sigmoid(a.mean((2, 3), keepdim=True))
                maps.append(y)
        return maps[-1] + 0.5 * maps[len(maps) // 2]


@given(STEPS, st.integers(0, 1000))
@settings(max_examples=8, deadline=None)
def test_random_networks_are_the_same_at_every_cut(steps, seed):
    torch.manual_seed(seed)
    module = trained(Random(steps), 8, seed)
    network, _ = import_network(module, InputSpec(8, 8))
    image = image_of(network.input_spec, seed)
    expected = outputs_of(module, network, image)
    check_every_cut(network, image, expected)
    for structure in BRANCH_STRUCTURES:
        folded = reparameterize(network, structure, Merge.FOLD)
        assert difference(answer_of(folded, image), expected) < 1e-5


class Fails(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.kind = kind
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x):
        y = self.conv(x)
        if self.kind == "branch":
            if y.sum() > 0:
                y = -y
        elif self.kind == "size":
            return torch.nonzero(y > 0)
        elif self.kind == "numpy":
            return torch.from_numpy(y.numpy())
        elif self.kind == "operation":
            return torch.fft.fft2(y).real
        elif self.kind == "random":
            return y + torch.rand(1)
        elif self.kind == "counts":
            self.count += 1
        elif self.kind == "constant":
            return torch.ones(3)
        elif self.kind == "size of the input":
            return F.linear(y.flatten(1), torch.ones(2, 3))
        return y


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("branch", r"depends on the numbers in a tensor \(.*test_importing.py:\d+: if y.sum"),
        ("size", r"size of what aten.nonzero.default makes depends.*test_importing.py"),
        ("numpy", r"cannot be traced: RuntimeError.*test_importing.py:\d+"),
        ("operation", r"uses aten.fft_fft2.default, which is not supported.*test_importing.py:\d+"),
        ("random", r"is random: aten.rand"),
        ("counts", r"changes its buffer 'count'"),
        ("constant", r"output 0 does not depend on the image"),
        ("size of the input", r"does not accept an image of 16x16: RuntimeError.*shapes"),
    ],
)
def test_a_network_that_cannot_be_cut_is_one_line(kind, text, capfd):
    with pytest.raises(CodesignError, match=text) as error:
        import_network(Fails(kind), InputSpec(16, 16))
    assert "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")


def test_a_detector_with_control_flow_is_one_line():
    module = torchvision.models.detection.fasterrcnn_mobilenet_v3_large_320_fpn(
        weights=None, weights_backbone=None
    )
    with pytest.raises(CodesignError, match=r"depends on the numbers in a tensor \(.*boxes\.py:"):
        import_network(module, INPUT)
