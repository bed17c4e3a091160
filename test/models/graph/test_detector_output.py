"""What detectors give: which four numbers a box is, and in which order they come."""

import numpy as np
import pytest
import torch
from torch import nn

from codesign_ros.models.graph.detector_output import recognise
from codesign_ros.models.graph.importing import import_network
from codesign_ros.pixels.boxes import decode_detections
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.tensors import InputSpec

SPEC = InputSpec(64, 96)
IMAGES = np.random.default_rng(0).standard_normal((3, 3, 64, 96)).astype(np.float32)
CLASSES = 3
STRIDE = 8


class Detector(nn.Module):
    """One box of 12 x 20 pixels in each cell, in the form and order that it is told."""

    def __init__(self, boxes="centre", order="plain", classes=CLASSES, logits=False, scale=1.0):
        super().__init__()
        self.conv = nn.Conv2d(3, classes, STRIDE, STRIDE)
        self.boxes, self.order, self.logits, self.scale = boxes, order, logits, scale
        rows, columns = SPEC.height // STRIDE, SPEC.width // STRIDE
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        centre = (torch.stack((x, y)).flatten(1).float() + 0.5) * STRIDE
        self.register_buffer("centre", centre)

    def forward(self, image):
        maps = self.conv(image)
        logits = maps.flatten(2)
        scores = logits if self.logits else logits.sigmoid()
        size = torch.tensor([[12.0], [20.0]]).expand(2, scores.shape[2])
        box = torch.cat((self.centre, size))
        if self.boxes == "corners":
            box = torch.cat((self.centre - size / 2, self.centre + size / 2))
        box = (box[None] + 0 * scores[:, :1]) * self.scale
        output = torch.cat((box, scores), 1)
        if self.order == "transposed":
            return output.transpose(1, 2)
        if self.order == "rows":
            best, label = scores.max(1, keepdim=True)
            return torch.cat((box, best, label.float()), 1).transpose(1, 2)
        if self.order == "several":
            return output, [maps, maps * 2]
        if self.order == "mapping":
            return {"maps": maps, "output0": output}
        return output


def found_boxes(net, recognised):
    """What is decoded from the imported network for the first image."""
    network = import_network(recognised.applied(net.eval()), SPEC).network
    with torch.no_grad():
        output = network(torch.from_numpy(IMAGES[:1]))
    assert output.shape[:2] == (1, 4 + CLASSES)
    names = [str(i) for i in range(CLASSES)]
    # All of them: rows have one class each.
    return decode_detections(
        output.numpy(), names, score_threshold=0.0, iou_threshold=0.99, max_detections=1000,
        form=recognised.boxes,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("boxes", "order", "classes"),
    [
        ("corners", "plain", None),
        ("centre", "plain", None),
        ("centre", "plain", CLASSES),
        ("centre", "transposed", None),
        ("corners", "transposed", CLASSES),
        ("centre", "several", None),
        ("centre", "mapping", None),
        ("corners", "rows", CLASSES),
    ],
)
def test_usual_outputs_give_the_same_boxes(boxes, order, classes):
    torch.manual_seed(0)
    expected_net = Detector("corners")
    torch.manual_seed(0)
    net = Detector(boxes, order)
    recognised = recognise(net, IMAGES, classes, None, trained=True)
    assert recognised.boxes == boxes
    expected = found_boxes(expected_net, recognise(expected_net, IMAGES, None, None, trained=True))
    found = found_boxes(net, recognised)
    if order == "rows":
        best = {}
        for box in expected:  # highest score first
            best.setdefault((box.x_min, box.y_min), box)
        expected = list(best.values())
    assert found
    assert [box.label for box in found] == [box.label for box in expected]
    np.testing.assert_allclose(
        [(b.x_min, b.y_min, b.x_max, b.y_max, b.score) for b in found],
        [(b.x_min, b.y_min, b.x_max, b.y_max, b.score) for b in expected],
        atol=1e-4,
    )


class Apart(nn.Module):
    """Says boxes and scores apart."""

    def __init__(self, transposed):
        super().__init__()
        self.transposed = transposed

    def forward(self, image):
        made = image.mean() + torch.rand(1, 9, 4), torch.rand(1, 9, 3)
        return tuple(each.mT for each in made) if self.transposed else made


@pytest.mark.parametrize(
    ("net", "classes", "said", "text"),
    [
        (Detector("centre"), None, "corners", "take --boxes centre"),
        (Detector("corners", "rows"), None, None, "say with --classes how many"),
        (Detector("corners", "rows"), 2, None, "answers with class 2, of only 2"),
        (Detector("centre"), 80, None, r"gives \(1, 84, anchors\), the network \(1, 7, 96\)"),
        (Detector("centre"), 2, None, "as YOLOv5 and 7 have"),
        (Detector("centre", logits=True), None, None, "not probabilities"),
        (Detector("centre", scale=0.01), None, None, "must be in pixels of the input"),
        (Detector("centre", scale=float("nan")), None, None, "is not finite"),
        (Detector("centre", scale=-1.0), None, None, "say --boxes corners or --boxes centre"),
        (Apart(transposed=False), None, None, r"boxes \(1, 9, 4\) and scores \(1, 9, 3\) are two"),
        (Apart(transposed=True), 3, None, r"boxes \(1, 4, 9\) and scores \(1, 3, 9\) are two"),
        (nn.Conv2d(3, 8, 3), None, None, "needs one output"),
        (nn.Conv2d(4, 8, 3), None, None, "does not accept an image of 64x96"),
    ],
)
def test_what_is_no_detection_is_one_line(net, classes, said, text):
    with pytest.raises(CodesignError, match=text) as raised:
        recognise(net, IMAGES, classes, said, trained=True)
    assert "\n" not in str(raised.value)


def test_what_random_weights_say_is_noted_alone():
    recognised = recognise(Detector("centre", scale=-1.0), IMAGES, None, None, trained=False)
    assert recognised.boxes == "corners"
    assert "random weights do not tell" in recognised.notes[-1]
    recognised = recognise(Detector("centre", logits=True), IMAGES, None, None, trained=False)
    assert any("not probabilities" in note for note in recognised.notes)
    assert recognise(Detector("corners"), IMAGES, CLASSES, "corners", trained=True).notes == (
        "boxes: corners (x_min, y_min, x_max, y_max), as --boxes says",
    )


@pytest.mark.parametrize(
    ("order", "classes", "said"),
    [
        ("plain", None, "classes: 3, as many as there are numbers behind a box; --classes is not"),
        ("transposed", None, "like this (1, 96, 7), with a score for any object before those of 2"),
        ("plain", CLASSES, None),
        ("transposed", CLASSES, None),
    ],
)
def test_classes_that_nobody_counted_are_said(order, classes, said):
    notes = recognise(Detector("centre", order), IMAGES, classes, None, trained=True).notes
    about = [note for note in notes if note.startswith("classes: ")]
    assert len(about) == (said is not None)
    assert all(said in note for note in about)
    assert any("YOLOv5" in note for note in about) == (order == "transposed" and classes is None)


def test_one_number_behind_a_box_is_a_class():
    notes = recognise(Detector("centre", "transposed", 1), IMAGES, None, None, trained=True).notes
    assert not any("YOLOv5" in note for note in notes)
