"""Writes bundles, and necks into them; each is read back before it is done."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.numpy

from codesign_ros.bundle.description import (
    MODEL,
    NECK_VERSION,
    PLAIN_VERSION,
    VERSION,
    BundleError,
    as_yaml,
    plain,
    read_description,
)
from codesign_ros.bundle.opened import (
    ACCURACY,
    CALIBRATION,
    PARTS,
    WEIGHTS,
    Bundle,
    crossings_of,
)
from codesign_ros.cost.accuracy import AccuracyTable
from codesign_ros.neck_file import NeckInfo, check_tables, described, neck_bytes
from codesign_ros.types.boxes import CORNERS
from codesign_ros.types.codec_names import neck_level
from codesign_ros.wire.neck.tables import CodeTables

if TYPE_CHECKING:
    from codesign_ros.models.neck import Neck
    from codesign_ros.models.network import Network


def write_bundle(
    path: Path | str,
    network: Network,
    *,
    name: str,
    architecture: str,
    architecture_args: Mapping[str, Any],
    classes: tuple[str, ...],
    accuracy: AccuracyTable,
    calibration_frames: np.ndarray,
    task: str = "classification",
    boxes: str = CORNERS,
) -> Bundle:
    """Write a bundle, over the one that is there if any, and open it.

    Args:
        path: the directory; it is made if it is not there.
        network: trained, with all its branches, as ``zoo.build`` makes it.
        name: name of the model.
        architecture: name for ``zoo.build``.
        architecture_args: arguments for ``zoo.build``; numbers, strings and lists.
        classes: names of the classes.
        accuracy: what was measured.
        calibration_frames: uint8 (n, H, W, 3), RGB, letterboxed, n >= 1.
        task: one of ``TASKS``.
        boxes: one of ``BOX_FORMS``, of a detector.

    Raises:
        BundleError: ``path`` holds something that is not a bundle, cannot be written, or what was
            written cannot be read back.
    """
    from codesign_ros.models.network import weights_of

    path = Path(path)
    check_place(path)
    weights = safetensors.numpy.save(weights_of(network))
    document = {
        "version": PLAIN_VERSION if boxes == CORNERS else NECK_VERSION,
        "name": name,
        "task": task,
        "architecture": architecture,
        "architecture_args": dict(architecture_args),
        "classes": list(classes),
        "input": plain(asdict(network.input_spec)),
        "segments": list(network.segment_names),
        "crossings": [[plain(asdict(spec)) for spec in cut] for cut in crossings_of(network)],
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        **({} if boxes == CORNERS else {"boxes": boxes}),
    }
    try:
        path.mkdir(parents=True, exist_ok=True)
        (path / WEIGHTS).write_bytes(weights)
        (path / ACCURACY).write_text(accuracy.to_json(), encoding="utf-8")
        np.savez_compressed(path / CALIBRATION, frames=calibration_frames)
        # Last: with an older or no description beside them, new weights do not pass for a bundle.
        (path / MODEL).write_text(as_yaml(document), encoding="utf-8")
    except OSError as error:
        raise BundleError(f"cannot write bundle {path}: {error.strerror}") from error
    bundle = Bundle.open(path)
    bundle.network()
    bundle.calibration_frames()
    return bundle


def write_neck(
    path: Path | str,
    bundle: Bundle,
    neck: NeckInfo,
    module: Neck,
    tables: CodeTables,
    tail: Mapping[str, np.ndarray] | None = None,
) -> Bundle:
    """Write a bundle that has one more neck, or another at its cut, and open it.

    Args:
        path: the directory; it may be that of ``bundle``.
        bundle: what gets the neck.
        neck: the neck; its hash, and whether it has a tail of its own, are worked out here.
        module: its encoder and decoder.
        tables: its gains and frequencies.
        tail: parameters of the segments behind it, by their names in the network, see
            ``models.own_tail``; None = those of the network.

    Raises:
        BundleError: ``path`` holds something that is not a bundle, cannot be written, or what was
            written cannot be read back.
        CodesignError: the tables are not those of the neck.
    """
    from codesign_ros.models.network import weights_of

    path = Path(path)
    check_place(path)
    check_tables(tables, neck)
    content = neck_bytes(weights_of(module), tables, tail or {})
    sha256 = hashlib.sha256(content).hexdigest()
    neck = replace(neck, sha256=sha256, own_tail=tail is not None)
    others = [each for each in bundle.necks if each.cut != neck.cut]
    necks = (*others, neck)
    description = read_description(bundle.path)
    description["version"] = VERSION if any(each.own_tail for each in necks) else NECK_VERSION
    description["necks"] = [described(each) for each in necks]
    kept = [*PARTS, *(each.file for each in others)]
    try:
        path.mkdir(parents=True, exist_ok=True)
        if path.resolve() != bundle.path.resolve():
            for part in kept:
                if part != MODEL:
                    shutil.copyfile(bundle.path / part, path / part)
        (path / neck.file).write_bytes(content)
        # Last, as in write_bundle.
        (path / MODEL).write_text(as_yaml(description), encoding="utf-8")
    except OSError as error:
        raise BundleError(f"cannot write bundle {path}: {error.strerror}") from error
    written = Bundle.open(path)
    written.network(neck.cut)
    written.neck_module(neck.cut)
    written.neck_tables(neck.cut)
    # What was measured of another neck at this cut is not this one's.
    if any(each.cut == neck.cut and each.sha256 != neck.sha256 for each in bundle.necks):
        table = written.accuracy
        rows = [row for row in table.rows if row.cut != neck.cut or neck_level(row.codec) is None]
        written.replace_accuracy(replace(table, rows=tuple(rows)))
        written = Bundle.open(path)
    return written


def holds_bundle(path: Path) -> bool:
    """Whether something that calls itself a bundle is there."""
    return (path / MODEL).exists()


def check_place(path: Path) -> None:
    """Refuse a place at which ``write_bundle`` would write over something else.

    Raises:
        BundleError: ``path`` holds something that is not a bundle.
    """
    if path.exists() and not path.is_dir():
        raise BundleError(f"{path} is in the way: a bundle is a directory")
    if path.exists() and any(path.iterdir()) and not holds_bundle(path):
        raise BundleError(f"{path} is a directory with other things; name a new one for the bundle")
