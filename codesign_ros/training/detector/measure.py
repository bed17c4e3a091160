"""Precision of a detector while and after it is trained, with torch and in its training form."""

from __future__ import annotations

import torch
from rich.progress import Progress
from rich.table import Table

from codesign_ros.evaluation.average_precision import DetectionMetrics, measure
from codesign_ros.models.network import Network
from codesign_ros.pixels.boxes import ALL_SCORES, decode_detections, to_frame
from codesign_ros.pixels.letterbox import letterbox
from codesign_ros.training.detector.data import TrainingData, truths_of
from codesign_ros.training.tensors import to_input
from codesign_ros.types.boxes import Box


@torch.no_grad()
def measure_detector(
    network: Network, data: TrainingData, frames: int, progress: Progress | None = None
) -> DetectionMetrics:
    """Measure a network, as it is, on the first pictures to measure on.

    Args:
        network: in evaluation mode, on any device.
        data: its ``val`` is measured on.
        frames: at most so many.
        progress: where to show a bar.
    """
    count = min(frames, len(data.val))
    task = progress.add_task("measuring", total=count) if progress is not None else None
    device = next(network.parameters()).device
    spec = network.input_spec
    found: list[list[Box]] = []
    for index in range(count):
        picture = data.val.image(index)
        x = to_input(letterbox(picture, spec)[None], spec).to(device)
        output = network(x.to(memory_format=torch.channels_last))
        assert isinstance(output, torch.Tensor)
        boxes = decode_detections(
            output.cpu().numpy(), data.classes, score_threshold=ALL_SCORES.score_threshold
        )
        height, width = picture.shape[:2]
        found.append(to_frame(boxes, height, width, spec))
        if progress is not None and task is not None:
            progress.advance(task)
    return measure(truths_of(data.val, data.classes, count), found, data.classes)


def metrics_table(metrics: DetectionMetrics, title: str) -> Table:
    """Precision by class and by size."""
    table = Table("what", "value", title=f"Measured on {title}")
    for name, value in metrics.map50.items():
        table.add_row(f"mAP@0.5 {name}", "no such object" if value is None else f"{value:.1%}")
    for name, value in metrics.coco.items():
        table.add_row(f"COCO {name}", "no such object" if value is None else f"{value:.1%}")
    return table
