"""A bundle that is opened, checked and read; imports no torch but for what makes modules."""

from __future__ import annotations

import hashlib
import os
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors
import safetensors.numpy

from codesign_ros.bundle.description import (
    MODEL,
    BundleError,
    model_id_of,
    parse_description,
    read_description,
)
from codesign_ros.cost.accuracy import AccuracyTable
from codesign_ros.neck_file import NeckInfo, check_file, read_tables, read_tail, read_weights
from codesign_ros.types.boxes import CORNERS
from codesign_ros.types.codec_names import NECK_CODECS
from codesign_ros.types.errors import CodesignError, one_line
from codesign_ros.types.lfs import is_lfs_pointer
from codesign_ros.types.tensors import InputSpec, TensorSpec
from codesign_ros.wire.neck.tables import CodeTables

if TYPE_CHECKING:
    from codesign_ros.models.neck import Neck
    from codesign_ros.models.network import Network

WEIGHTS = "weights.safetensors"
ACCURACY = "accuracy.json"
CALIBRATION = "calibration.npz"
PARTS = (MODEL, WEIGHTS, ACCURACY, CALIBRATION)
_EXPORTED = "onnx"


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
            raise BundleError(f"{path} is not a bundle: a bundle is a directory with {MODEL}")
        for part in PARTS:
            if not (path / part).is_file():
                raise BundleError(f"bundle {path} has no {part}")
            if is_lfs_pointer(path / part):
                raise BundleError(
                    f"bundle {path}: {part} was not fetched, it is a pointer of Git LFS: run "
                    "'git lfs pull' where it came from"
                )
        description = read_description(path)
        try:
            fields = parse_description(description)
            model_id = model_id_of(description)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise BundleError(f"bundle {path}: {MODEL} is not sound: {_say(error)}") from error
        _check_weights(path / WEIGHTS, str(description["weights_sha256"]))
        try:
            for neck in fields["necks"]:
                check_file(path, neck)
        except CodesignError as error:
            raise BundleError(f"bundle {path}: {error}") from error
        try:
            accuracy = AccuracyTable.from_json((path / ACCURACY).read_text(encoding="utf-8"))
        except (CodesignError, UnicodeDecodeError) as error:
            raise BundleError(f"bundle {path}: {ACCURACY}: {one_line(error)}") from error
        return cls(
            path=path,
            version=description["version"],
            model_id=model_id,
            accuracy=accuracy,
            **fields,
        )

    def network(self, neck: int | None = None) -> Network:
        """Build the trained network, in evaluation mode, with all its branches.

        Args:
            neck: a neck's cut: the segments behind it have the weights that this neck brings, if
                it brings any. Encoder and decoder are not in the network.

        Raises:
            BundleError: the architecture is not known, the weights do not fit it, there is no such
                neck or it is damaged.
        """
        from codesign_ros.models.network import load_weights
        from codesign_ros.models.zoo import build

        info = None if neck is None else self.neck(neck)
        try:
            network = build(self.architecture, self.architecture_args, self.input)
            weights = safetensors.numpy.load_file(self.path / WEIGHTS)
            if info is not None:
                weights |= read_tail(self.path, info)
            load_weights(network, weights)
        except (CodesignError, TypeError, ValueError, RuntimeError) as error:
            # torch's own complaints are about arguments that make no network.
            raise BundleError(f"bundle {self.path}: {one_line(error)}") from error
        if crossings_of(network) != self.crossings:
            raise BundleError(
                f"bundle {self.path}: segments or crossings in {MODEL} are not those of "
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
        sources, targets = (
            [spec.shape[1:] for spec in self.crossings[cut]] for cut in (info.cut, info.enter)
        )
        try:
            neck = Neck(sources, targets, form_of(info.form))
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

        return with_neck(self.network(cut), cut, self.neck(cut).enter, self.neck_module(cut))

    def calibration_frames(self) -> np.ndarray:
        """Read the calibration frames.

        Returns:
            uint8 (n, H, W, 3), RGB, letterboxed, n >= 1.

        Raises:
            BundleError: the file is damaged or holds something else.
        """
        file = self.path / CALIBRATION
        try:
            with zipfile.ZipFile(file) as archive, archive.open("frames.npy") as array:
                frames = np.lib.format.read_array(array, allow_pickle=False)
        except (
            OSError, ValueError, KeyError, EOFError, SyntaxError, tokenize.TokenError,
            zipfile.BadZipFile, zlib.error,
        ) as error:  # fmt: skip
            # numpy reads an array's header as Python's literals, with Python's own errors.
            raise BundleError(
                f"bundle {self.path}: {CALIBRATION} cannot be read: {one_line(error)}"
            ) from error
        size = (self.input.height, self.input.width, 3)
        if frames.dtype != np.uint8 or frames.shape[1:] != size or len(frames) == 0:
            raise BundleError(
                f"bundle {self.path}: {CALIBRATION} holds {frames.dtype} {frames.shape}, "
                f"not uint8 (n, {', '.join(map(str, size))})"
            )
        return frames

    def replace_accuracy(self, table: AccuracyTable) -> None:
        """Put another accuracy table in the place of the bundle's, at once.

        Raises:
            BundleError: the file cannot be written.
        """
        file = self.path / ACCURACY
        new = file.with_name(file.name + ".new")
        try:
            new.write_text(table.to_json(), encoding="utf-8")
            os.replace(new, file)
        except OSError as error:
            raise BundleError(f"cannot write {file}: {error.strerror}") from error


def crossings_of(network: Network) -> tuple[tuple[TensorSpec, ...], ...]:
    """Crossings of all cuts, cut 0 as it is on the wire."""
    spec = network.input_spec
    frame = TensorSpec("image", (spec.height, spec.width, 3), "uint8")
    cuts = range(1, len(network.segment_names) + 1)
    return ((frame,), *(network.crossing(cut) for cut in cuts))


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
            f"bundle {file.parent}: {file.name} is not the file that {MODEL} was written with "
            "(damaged, or from another bundle)"
        )


def _of_bundle(path: Path, error: CodesignError) -> BundleError:
    """Say of which bundle an error is, where it does not."""
    return error if isinstance(error, BundleError) else BundleError(f"bundle {path}: {error}")


def _say(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else one_line(error)
