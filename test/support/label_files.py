"""Small labelled data sets in the layouts that the package reads, written by the tests."""

import json
import struct
from pathlib import Path

import cv2
import numpy as np
import yaml
from hypothesis import strategies as st

from codesign_ros.types.boxes import Box

HEIGHT, WIDTH = 48, 64
CLASSES = ("head", "helmet")


def picture(path: Path, height: int = HEIGHT, width: int = WIDTH, seed: int = 0) -> Path:
    """A JPEG or PNG that is different in every corner."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    assert cv2.imwrite(str(path), cv2.resize(coarse, (width, height)))
    return path


def with_orientation(path: Path, orientation: int) -> Path:
    """Put an EXIF orientation into a JPEG."""
    data = path.read_bytes()
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)
    tiff = b"MM\0*" + struct.pack(">IH", 8, 1) + entry + struct.pack(">I", 0)
    exif = b"Exif\0\0" + tiff
    path.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:])
    return path


def voc_xml(file_name: str, boxes, size=(HEIGHT, WIDTH), difficult: object = 0) -> str:
    objects = "".join(
        f"<object><name>{b.label}</name><difficult>{difficult}</difficult><bndbox>"
        f"<xmin>{b.x_min!r}</xmin><ymin>{b.y_min!r}</ymin><xmax>{b.x_max!r}</xmax>"
        f"<ymax>{b.y_max!r}</ymax></bndbox></object>"
        for b in boxes
    )
    stated = ""
    if size is not None:
        stated = f"<size><width>{size[1]}</width><height>{size[0]}</height></size>"
    return f"<annotation><filename>{file_name}</filename>{stated}{objects}</annotation>"


def yolo_text(boxes, classes=CLASSES, height=HEIGHT, width=WIDTH) -> str:
    return "".join(
        f"{classes.index(b.label)} {(b.x_min + b.x_max) / 2 / width!r}"
        f" {(b.y_min + b.y_max) / 2 / height!r} {(b.x_max - b.x_min) / width!r}"
        f" {(b.y_max - b.y_min) / height!r}\n"
        for b in boxes
    )


def coco_document(files, classes=CLASSES, height=HEIGHT, width=WIDTH) -> dict:
    """``files``: pairs of a file name and its boxes. Ids are neither small nor in order."""
    category = {name: 90 - 3 * index for index, name in enumerate(reversed(classes))}
    annotations = [
        {
            "id": 1000 + 10 * image + number,
            "image_id": 700 - image,
            "category_id": category[b.label],
            "bbox": [b.x_min, b.y_min, b.x_max - b.x_min, b.y_max - b.y_min],
            "iscrowd": 0,
        }
        for image, (_, boxes) in enumerate(files)
        for number, b in enumerate(boxes)
    ]
    return {
        "images": [
            {"id": 700 - i, "file_name": name, "height": height, "width": width}
            for i, (name, _) in enumerate(files)
        ],
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for name, number in category.items()],
    }


def write_voc(root: Path, files) -> Path:
    """Annotations/ and JPEGImages/ for pairs of a stem and its boxes."""
    (root / "Annotations").mkdir(parents=True)
    for seed, (stem, boxes) in enumerate(files):
        picture(root / "JPEGImages" / f"{stem}.jpg", seed=seed)
        (root / "Annotations" / f"{stem}.xml").write_text(voc_xml(f"{stem}.jpg", boxes))
    return root


def write_yolo(root: Path, files, split: str = "", names=CLASSES) -> Path:
    """images/[split/] and labels/[split/], and classes.txt."""
    labels = root / "labels" / split
    labels.mkdir(parents=True)
    for seed, (stem, boxes) in enumerate(files):
        picture(root / "images" / split / f"{stem}.png", seed=seed)
        (labels / f"{stem}.txt").write_text(yolo_text(boxes, names))
    (root / "classes.txt").write_text("\n".join(names) + "\n")
    return root


def write_coco(root: Path, files, split: str = "train2017", names=CLASSES) -> Path:
    """annotations/instances_SPLIT.json and SPLIT/."""
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    for seed, (name, _) in enumerate(files):
        picture(root / split / name, seed=seed)
    document = coco_document(files, names)
    (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(document))
    return root


def write_data_yaml(root: Path, **content) -> Path:
    file = root / "data.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


@st.composite
def boxes_inside(draw):
    """A few different boxes inside a picture, as floats."""
    found = []
    for _ in range(draw(st.integers(1, 4))):
        x_min = draw(st.floats(0, WIDTH - 1))
        y_min = draw(st.floats(0, HEIGHT - 1))
        x_max = draw(st.floats(x_min + 0.5, WIDTH))
        y_max = draw(st.floats(y_min + 0.5, HEIGHT))
        found.append(Box(draw(st.sampled_from(CLASSES)), x_min, y_min, x_max, y_max))
    return tuple(dict.fromkeys(found))


def assert_same_boxes(found, expected, tolerance_px: float) -> None:
    assert [b.label for b in found] == [b.label for b in expected]
    for a, b in zip(found, expected, strict=True):
        difference = np.subtract(
            (a.x_min, a.y_min, a.x_max, a.y_max), (b.x_min, b.y_min, b.x_max, b.y_max)
        )
        assert np.abs(difference).max() <= tolerance_px
