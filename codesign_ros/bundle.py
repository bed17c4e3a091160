"""A model bundle: a directory with all that planner and engines need to know of one network.

::

    NAME.bundle/
      model.yaml           what the network is, and the SHA-256 of its weights
      weights.safetensors  branch weights before any folding, so every structure can be made
      accuracy.json        measured accuracy by structure, merge, precision and codec
      calibration.npz      ``frames``: uint8 (n, H, W, 3), RGB, letterboxed
      neck_CUT.safetensors a neck (``models.neck``) for each cut that has one
      onnx/                may be there: exported networks, for machines without PyTorch

Opening one imports no torch; ``Bundle.network`` does.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors
import safetensors.numpy
import yaml

from codesign_ros.cost.accuracy import AccuracyTable
from codesign_ros.neck_file import (
    NeckInfo,
    check_file,
    check_tables,
    described,
    neck_bytes,
    parse_necks,
    read_tables,
    read_weights,
)
from codesign_ros.types import (
    BOX_FORMS,
    CORNERS,
    LFS_POINTER,
    NECK_CODECS,
    CodesignError,
    InputSpec,
    TensorSpec,
    neck_level,
    one_line,
)
from codesign_ros.wire.neck.tables import CodeTables

if TYPE_CHECKING:
    from codesign_ros.models.neck import Neck
    from codesign_ros.models.network import Network

VERSION = 2
"""The newest layout of a bundle that this package reads."""

_PLAIN = 1
"""The layout of a bundle with neither necks nor ``boxes``, which older packages read too."""

TASKS = ("classification", "detection", "features")
"""What the network's output means.

Classification: logits, one for each class. Detection: (1, 4 + C, anchors) with the four numbers of
a box in pixels of the network's input, in the form that ``boxes`` says, then the C classes'
probabilities. Features: nothing that this package knows; answers carry no label.
"""

_MODEL = "model.yaml"
_WEIGHTS = "weights.safetensors"
_ACCURACY = "accuracy.json"
_CALIBRATION = "calibration.npz"
_PARTS = (_MODEL, _WEIGHTS, _ACCURACY, _CALIBRATION)
_EXPORTED = "onnx"


class BundleError(CodesignError):
    """A bundle that cannot be used; one line says which and why."""


@dataclass(frozen=True)
class Bundle:
    """An opened bundle; make one with ``Bundle.open`` or ``write_bundle``.

    Attributes:
        path: the directory.
        name: name of the model.
        version: layout of the bundle.
        task: one of ``TASKS``.
        architecture: name in ``codesign_ros.models.zoo``.
        architecture_args: the arguments of that architecture.
        classes: names of the classes, in the order of the network's outputs; may be
            empty with ``features``.
        input: how a frame becomes the network's input.
        segments: names of the N segments.
        crossings: for each cut 0..N the tensors that cross there. Cut 0 has the frame as it is on
            the wire: ``image``, uint8 (H, W, 3).
        model_id: hash of architecture, arguments, classes, input, weights and necks (16 hex
            digits).
        accuracy: what was measured of this model.
        necks: what may cross a cut instead of its tensors, by cut.
        boxes: what the numbers of a detector's boxes are, one of ``BOX_FORMS``.
    """

    path: Path
    name: str
    version: int
    task: str
    architecture: str
    architecture_args: Mapping[str, Any]
    classes: tuple[str, ...]
    input: InputSpec
    segments: tuple[str, ...]
    crossings: tuple[tuple[TensorSpec, ...], ...]
    model_id: str
    accuracy: AccuracyTable
    necks: tuple[NeckInfo, ...] = ()
    boxes: str = CORNERS

    @property
    def exported(self) -> Path:
        """The folder with exported networks that travel with the bundle; it need not be there.

        A cache by the names of ``engines.onnx_model.backend``, which nothing of a machine is in.
        """
        return self.path / _EXPORTED

    @property
    def last_cut(self) -> int:
        """Cut N, the number of segments: everything on the robot."""
        return len(self.segments)

    @classmethod
    def open(cls, path: Path | str) -> Bundle:
        """Read and check a bundle; weights and calibration frames are read when asked for.

        Raises:
            BundleError: the directory or a part is missing, damaged, from a newer version of the
                package, or the weights are not those that ``model.yaml`` was written with.
        """
        path = Path(os.path.expanduser(path))
        try:
            return cls._open(path)
        except OSError as error:
            raise BundleError(f"bundle {path} cannot be read: {error.strerror}") from error

    @classmethod
    def _open(cls, path: Path) -> Bundle:
        if not path.exists():
            raise BundleError(f"there is no bundle at {path}")
        if not path.is_dir():
            raise BundleError(f"{path} is not a bundle: a bundle is a directory with {_MODEL}")
        for part in _PARTS:
            if not (path / part).is_file():
                raise BundleError(f"bundle {path} has no {part}")
            if _is_lfs_pointer(path / part):
                raise BundleError(
                    f"bundle {path}: {part} was not fetched, it is a pointer of Git LFS: run "
                    "'git lfs pull' where it came from"
                )
        description = _read_description(path)
        try:
            fields = _parse_description(description)
            model_id = _model_id(description)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise BundleError(f"bundle {path}: {_MODEL} is not sound: {_say(error)}") from error
        _check_weights(path / _WEIGHTS, str(description["weights_sha256"]))
        try:
            for neck in fields["necks"]:
                check_file(path, neck)
        except CodesignError as error:
            raise BundleError(f"bundle {path}: {error}") from error
        try:
            accuracy = AccuracyTable.from_json((path / _ACCURACY).read_text(encoding="utf-8"))
        except (CodesignError, UnicodeDecodeError) as error:
            raise BundleError(f"bundle {path}: {_ACCURACY}: {one_line(error)}") from error
        return cls(
            path=path,
            version=description["version"],
            model_id=model_id,
            accuracy=accuracy,
            **fields,
        )

    def network(self) -> Network:
        """Build the trained network, in evaluation mode, with all its branches.

        Raises:
            BundleError: the architecture is not known, or the weights do not fit it.
        """
        from codesign_ros.models.network import load_weights
        from codesign_ros.models.zoo import build

        try:
            network = build(self.architecture, self.architecture_args, self.input)
            load_weights(network, safetensors.numpy.load_file(self.path / _WEIGHTS))
        except (CodesignError, TypeError, ValueError, RuntimeError) as error:
            # torch's own complaints are about arguments that make no network.
            raise BundleError(f"bundle {self.path}: {one_line(error)}") from error
        if _crossings(network) != self.crossings:
            raise BundleError(
                f"bundle {self.path}: segments or crossings in {_MODEL} are not those of "
                f"architecture '{self.architecture}'; write the bundle again"
            )
        return network.eval()

    def neck(self, cut: int) -> NeckInfo:
        """Return the neck at a cut.

        Raises:
            BundleError: there is none.
        """
        for neck in self.necks:
            if neck.cut == cut:
                return neck
        has = ", ".join(str(neck.cut) for neck in self.necks) or "none"
        raise BundleError(f"bundle {self.path} has no neck at cut {cut} (it has: {has})")

    def neck_tables(self, cut: int) -> CodeTables:
        """Read gains and frequencies of the neck at a cut; imports no torch.

        Raises:
            BundleError: there is none, or its file is damaged.
        """
        try:
            return read_tables(self.path, self.neck(cut))
        except CodesignError as error:
            raise _of_bundle(self.path, error) from error

    def neck_module(self, cut: int) -> Neck:
        """Build the encoder and the decoder at a cut, in evaluation mode.

        Raises:
            BundleError: there is none, or its file is damaged or not what ``model.yaml`` states.
        """
        from codesign_ros.models.neck import Neck, form_of
        from codesign_ros.models.network import load_weights

        info = self.neck(cut)
        (source,), (target,) = self.crossings[info.cut], self.crossings[info.enter]
        try:
            neck = Neck(source.shape[1:], target.shape[1:], form_of(info.form))
            if neck.latent != info.shape:
                raise CodesignError(f"{info.file}: its latent is {neck.latent}, not {info.shape}")
            load_weights(neck, read_weights(self.path, info))
        except CodesignError as error:
            raise _of_bundle(self.path, error) from error
        return neck.eval()

    @property
    def neck_codecs(self) -> tuple[str, ...]:
        """The codecs of all its necks; which of them a cut has depends on its neck."""
        return NECK_CODECS[: max((neck.levels for neck in self.necks), default=0)]

    def network_with_neck(self, cut: int) -> Network:
        """Build the trained network with the neck at a cut, see ``models.neck.with_neck``.

        Raises:
            BundleError: as ``network`` and ``neck_module``.
        """
        from codesign_ros.models.neck import with_neck

        return with_neck(self.network(), cut, self.neck(cut).enter, self.neck_module(cut))

    def calibration_frames(self) -> np.ndarray:
        """Read the calibration frames.

        Returns:
            uint8 (n, H, W, 3), RGB, letterboxed, n >= 1.

        Raises:
            BundleError: the file is damaged or holds something else.
        """
        file = self.path / _CALIBRATION
        try:
            with zipfile.ZipFile(file) as archive, archive.open("frames.npy") as array:
                frames = np.lib.format.read_array(array, allow_pickle=False)
        except (
            OSError, ValueError, KeyError, EOFError, SyntaxError, tokenize.TokenError,
            zipfile.BadZipFile, zlib.error,
        ) as error:  # fmt: skip
            # numpy reads an array's header as Python's literals, with Python's own errors.
            raise BundleError(
                f"bundle {self.path}: {_CALIBRATION} cannot be read: {one_line(error)}"
            ) from error
        size = (self.input.height, self.input.width, 3)
        if frames.dtype != np.uint8 or frames.shape[1:] != size or len(frames) == 0:
            raise BundleError(
                f"bundle {self.path}: {_CALIBRATION} holds {frames.dtype} {frames.shape}, "
                f"not uint8 (n, {', '.join(map(str, size))})"
            )
        return frames

    def replace_accuracy(self, table: AccuracyTable) -> None:
        """Put another accuracy table in the place of the bundle's, at once.

        Raises:
            BundleError: the file cannot be written.
        """
        file = self.path / _ACCURACY
        new = file.with_name(file.name + ".new")
        try:
            new.write_text(table.to_json(), encoding="utf-8")
            os.replace(new, file)
        except OSError as error:
            raise BundleError(f"cannot write {file}: {error.strerror}") from error


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
        "version": _PLAIN if boxes == CORNERS else VERSION,
        "name": name,
        "task": task,
        "architecture": architecture,
        "architecture_args": dict(architecture_args),
        "classes": list(classes),
        "input": _plain(asdict(network.input_spec)),
        "segments": list(network.segment_names),
        "crossings": [[_plain(asdict(spec)) for spec in cut] for cut in _crossings(network)],
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        **({} if boxes == CORNERS else {"boxes": boxes}),
    }
    try:
        path.mkdir(parents=True, exist_ok=True)
        (path / _WEIGHTS).write_bytes(weights)
        (path / _ACCURACY).write_text(accuracy.to_json(), encoding="utf-8")
        np.savez_compressed(path / _CALIBRATION, frames=calibration_frames)
        # Last: with an older or no description beside them, new weights do not pass for a bundle.
        (path / _MODEL).write_text(_yaml(document), encoding="utf-8")
    except OSError as error:
        raise BundleError(f"cannot write bundle {path}: {error.strerror}") from error
    bundle = Bundle.open(path)
    bundle.network()
    bundle.calibration_frames()
    return bundle


def write_neck(
    path: Path | str, bundle: Bundle, neck: NeckInfo, module: Neck, tables: CodeTables
) -> Bundle:
    """Write a bundle that has one more neck, or another at its cut, and open it.

    Args:
        path: the directory; it may be that of ``bundle``.
        bundle: what gets the neck.
        neck: the neck; its hash is worked out here.
        module: its encoder and decoder.
        tables: its gains and frequencies.

    Raises:
        BundleError: ``path`` holds something that is not a bundle, cannot be written, or what was
            written cannot be read back.
        CodesignError: the tables are not those of the neck.
    """
    from codesign_ros.models.network import weights_of

    path = Path(path)
    check_place(path)
    check_tables(tables, neck)
    content = neck_bytes(weights_of(module), tables)
    neck = replace(neck, sha256=hashlib.sha256(content).hexdigest())
    others = [each for each in bundle.necks if each.cut != neck.cut]
    description = _read_description(bundle.path)
    description["version"] = VERSION
    description["necks"] = [described(each) for each in (*others, neck)]
    kept = [*_PARTS, *(each.file for each in others)]
    try:
        path.mkdir(parents=True, exist_ok=True)
        if path.resolve() != bundle.path.resolve():
            for part in kept:
                if part != _MODEL:
                    shutil.copyfile(bundle.path / part, path / part)
        (path / neck.file).write_bytes(content)
        # Last, as in write_bundle.
        (path / _MODEL).write_text(_yaml(description), encoding="utf-8")
    except OSError as error:
        raise BundleError(f"cannot write bundle {path}: {error.strerror}") from error
    written = Bundle.open(path)
    written.neck_module(neck.cut)
    written.neck_tables(neck.cut)
    # What was measured of another neck at this cut is not this one's.
    if any(each.cut == neck.cut and each.sha256 != neck.sha256 for each in bundle.necks):
        table = written.accuracy
        rows = [row for row in table.rows if row.cut != neck.cut or neck_level(row.codec) is None]
        written.replace_accuracy(replace(table, rows=tuple(rows)))
        written = Bundle.open(path)
    return written


def check_place(path: Path) -> None:
    """Refuse a place at which ``write_bundle`` would write over something else.

    Raises:
        BundleError: ``path`` holds something that is not a bundle.
    """
    if path.exists() and not path.is_dir():
        raise BundleError(f"{path} is in the way: a bundle is a directory")
    if path.exists() and any(path.iterdir()) and not (path / _MODEL).exists():
        raise BundleError(f"{path} is a directory with other things; name a new one for the bundle")


def _crossings(network: Network) -> tuple[tuple[TensorSpec, ...], ...]:
    """Crossings of all cuts, cut 0 as it is on the wire."""
    spec = network.input_spec
    frame = TensorSpec("image", (spec.height, spec.width, 3), "uint8")
    cuts = range(1, len(network.segment_names) + 1)
    return ((frame,), *(network.crossing(cut) for cut in cuts))


def _read_description(path: Path) -> dict[str, Any]:
    """Read ``model.yaml`` as far as its version."""
    try:
        description = yaml.safe_load((path / _MODEL).read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError) as error:
        raise BundleError(f"bundle {path}: {_MODEL} is not YAML: {one_line(error)}") from error
    version = description.get("version") if isinstance(description, dict) else None
    if type(version) is not int or version < 1:
        raise BundleError(f"bundle {path}: {_MODEL} does not state its version")
    if version > VERSION:
        raise BundleError(
            f"bundle {path} has version {version}, this package reads up to {VERSION}: "
            "update codesign_ros"
        )
    return description


def _parse_description(description: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of ``Bundle`` that ``model.yaml`` states.

    Raises:
        KeyError: a field is missing.
        TypeError, ValueError, OverflowError: a field is not what it should be.
    """
    if description["task"] not in TASKS:
        raise ValueError(f"task '{description['task']}' is not known ({', '.join(TASKS)})")
    if not isinstance(description["architecture_args"], dict):
        raise TypeError("architecture_args is not a mapping")
    segments = _names(description["segments"], "segments")
    none = description["task"] == "features" and description["classes"] == []
    classes = () if none else _names(description["classes"], "classes")
    input_spec = description["input"]
    mean, std = (tuple(map(float, input_spec[key])) for key in ("mean", "std"))
    if len(mean) != 3 or len(std) != 3 or not all(map(math.isfinite, mean + std)) or min(std) <= 0:
        raise ValueError("mean and std need three numbers each, finite, and std above 0")
    crossings = tuple(
        tuple(
            TensorSpec(str(spec["name"]), tuple(map(int, spec["shape"])), str(spec["dtype"]))
            for spec in cut
        )
        for cut in description["crossings"]
    )
    if len(crossings) != len(segments) + 1:
        raise ValueError(f"{len(segments)} segments need {len(segments) + 1} crossings")
    _check_output(description["task"], classes, crossings[-1])
    return {
        "name": str(description["name"]),
        "task": description["task"],
        "architecture": str(description["architecture"]),
        "architecture_args": description["architecture_args"],
        "classes": classes,
        "input": InputSpec(int(input_spec["height"]), int(input_spec["width"]), mean, std),
        "segments": segments,
        "crossings": crossings,
        "necks": parse_necks(_necks_of(description), crossings),
        "boxes": _boxes_of(description),
    }


def _check_output(task: str, classes: tuple[str, ...], outputs: tuple[TensorSpec, ...]) -> None:
    """Raise ValueError where the network's output is not what the task and the classes need."""
    shapes = ", ".join(str(spec.shape) for spec in outputs)
    expected = {
        "classification": [(1, len(classes))],
        "detection": [(1, 4 + len(classes), spec.shape[-1]) for spec in outputs[:1]],
        "features": [spec.shape for spec in outputs],
    }
    if [spec.shape for spec in outputs] != expected[task]:
        raise ValueError(f"the output {shapes} does not fit {task} of {len(classes)} classes")


def _names(value: Any, key: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(v, str) for v in value):
        raise TypeError(f"{key} is not a list of names")
    return tuple(value)


def _is_lfs_pointer(file: Path) -> bool:
    """Whether Git LFS left a line about a file in its place."""
    with file.open("rb") as stream:
        return stream.read(len(LFS_POINTER)) == LFS_POINTER


def _check_weights(file: Path, sha256: str) -> None:
    """Check that the file is whole and is the one that ``model.yaml`` was written with."""
    try:
        with safetensors.safe_open(file, "numpy"):
            pass
    except safetensors.SafetensorError as error:
        raise BundleError(
            f"bundle {file.parent}: {file.name} is cut off or damaged: {one_line(error)}"
        ) from error
    if hashlib.sha256(file.read_bytes()).hexdigest() != sha256:
        raise BundleError(
            f"bundle {file.parent}: {file.name} is not the file that {_MODEL} was written with "
            "(damaged, or from another bundle)"
        )


def _necks_of(description: dict[str, Any]) -> Any:
    """What ``model.yaml`` says of necks; the first layout knows none."""
    return description.get("necks", []) if description["version"] > _PLAIN else []


def _boxes_of(description: dict[str, Any]) -> str:
    """What ``model.yaml`` says of a detector's boxes; the first layout knows corners alone."""
    form = description.get("boxes", CORNERS) if description["version"] > _PLAIN else CORNERS
    if form not in BOX_FORMS:
        raise ValueError(f"boxes '{form}' are not known ({', '.join(BOX_FORMS)})")
    return str(form)


def _model_id(description: dict[str, Any]) -> str:
    keys = ("architecture", "architecture_args", "classes", "input", "weights_sha256")
    hashed = {key: description[key] for key in keys}
    if (form := _boxes_of(description)) != CORNERS:
        hashed["boxes"] = form
    if necks := _necks_of(description):
        hashed["necks"] = sorted(necks, key=lambda neck: neck["cut"])
    content = json.dumps(hashed, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    """Tuples as lists: safe YAML has no tuples."""
    return {key: list(v) if isinstance(v, tuple) else v for key, v in fields.items()}


def _yaml(document: dict[str, Any]) -> str:
    return yaml.safe_dump(document, sort_keys=False, default_flow_style=None, width=100)


def _of_bundle(path: Path, error: CodesignError) -> BundleError:
    """Say of which bundle an error is, where it does not."""
    return error if isinstance(error, BundleError) else BundleError(f"bundle {path}: {error}")


def _say(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else one_line(error)
