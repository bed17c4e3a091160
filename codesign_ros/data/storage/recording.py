"""The storage files of one bag: a file, or a folder with ``metadata.yaml``."""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from typing import Any

import lz4.frame
import yaml
import zstandard

from codesign_ros.data.storage.channel import Channel, OpenStorage, StorageError, StorageFile
from codesign_ros.data.storage.mcap_file import MCAP_MAGIC, open_mcap
from codesign_ros.data.storage.ros1_file import ROS1_MAGIC, open_ros1
from codesign_ros.data.storage.sqlite_file import SQLITE_MAGIC, open_sqlite
from codesign_ros.data.storage.sqlite_log import LOG_SUFFIX
from codesign_ros.types.errors import CodesignError, one_line
from codesign_ros.types.lfs import is_lfs_pointer

_OPENERS: Mapping[str, OpenStorage] = {
    ".mcap": open_mcap,
    ".db3": open_sqlite,
    ".bag": open_ros1,
}
BAG_SUFFIXES = tuple(_OPENERS)
# What a file is its first bytes say; its name may be one that somebody gave it.
_SUFFIX_OF_MAGIC = {MCAP_MAGIC: ".mcap", SQLITE_MAGIC: ".db3", ROS1_MAGIC: ".bag"}
_METADATA = "metadata.yaml"
# Storage files that were compressed as a whole have this after their own suffix.
_PACKED_SUFFIXES = (".zstd", ".zst", ".lz4")
# `rosbag record` takes this away where it comes to its end.
_UNFINISHED_SUFFIX = ".active"
# What is compressed begins so, and nothing else that we read does.
_ZSTD_MAGIC, _LZ4_MAGIC = b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18"


def storage_suffix(path: Path) -> str | None:
    """Which kind of storage file a name is of (``.mcap``, ``.db3``, ``.bag``); None = of none."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in _PACKED_SUFFIXES:
        suffixes.pop()
    if suffixes[-2:] == [".bag", _UNFINISHED_SUFFIX]:
        suffixes.pop()
    return suffixes[-1] if suffixes and suffixes[-1] in _OPENERS else None


def is_bag(path: Path) -> bool:
    """Whether a path looks like a bag: a storage file, or a directory that has one.

    Raises:
        OSError: the directory cannot be read.
    """
    if path.is_dir():
        return (path / _METADATA).exists() or bool(_storage_files(path))
    return storage_suffix(path) is not None


@dataclass(frozen=True)
class Recording:
    """A bag that is open.

    Attributes:
        path: as it was named.
        files: its storage files, in the order in which they were recorded.
        counts: messages by topic, as ``metadata.yaml`` says; None without one.
        cut: names of the files whose end is missing.
        left_out: names of files of this recording that ``metadata.yaml`` does not name.
    """

    path: Path
    files: Sequence[StorageFile]
    counts: Mapping[str, int] | None
    cut: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def channels(self) -> list[Channel]:
        """What is in all its files."""
        return [channel for file in self.files for channel in file.channels]

    def messages(self, topics: Collection[str]) -> Iterator[tuple[Channel, int, bytes]]:
        """Yield channel, time of recording [ns] and bytes of the messages of some topics.

        Raises:
            Exception: whatever broken bytes lead the libraries to.
        """
        for file in self.files:
            for channel, stamp_ns, data in file.messages(topics):
                yield channel, stamp_ns, _decompressed(data)


@contextmanager
def open_recording(path: Path) -> Iterator[Recording]:
    """Open a bag; whatever goes wrong inside becomes one CodesignError.

    Raises:
        CodesignError: the path is missing, is no bag, or its files cannot be read.
    """
    paths, counts = _files_of(path)
    try:
        with ExitStack() as stack:
            files = [stack.enter_context(_open(file, stack)) for file in paths]
            cut = (file.name for file, opened in zip(paths, files, strict=True) if opened.is_cut)
            left_out = _not_named(path, paths) if path.is_dir() else ()
            yield Recording(path, files, counts, tuple(cut), left_out)
    except CodesignError:
        raise
    except StorageError as error:
        raise CodesignError(f"bag {path}: {error}") from error
    # A parser fed with broken bytes fails in many ways (struct, zstd, assertions); bz2 with an
    # OSError that the system knows nothing of.
    except Exception as error:
        if isinstance(error, OSError) and error.strerror:
            raise CodesignError(f"bag {path} cannot be read: {error.strerror}") from error
        reason = one_line(error) or type(error).__name__
        raise CodesignError(f"bag {path}: it is damaged: {reason}") from error


@contextmanager
def _open(path: Path, stack: ExitStack) -> Iterator[StorageFile]:
    suffix = storage_suffix(path)
    assert suffix is not None
    if is_lfs_pointer(path):
        raise StorageError(
            f"{path.name} was not fetched, it is a pointer of Git LFS: run 'git lfs pull' "
            "where it came from"
        )
    log = _log_of(path)
    if _magic(path) or (log is not None and _magic(log)):
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="codesign_bag_")))
        plain = folder / f"plain{suffix}"
        _unpack(path, plain)
        if log is not None:
            _unpack(log, folder / f"{plain.name}{LOG_SUFFIX}")
        path = plain
    with path.open("rb") as file:
        start = file.read(max(map(len, _SUFFIX_OF_MAGIC)))
    found = (kind for magic, kind in _SUFFIX_OF_MAGIC.items() if start.startswith(magic))
    with _OPENERS[next(found, suffix)](path) as opened:
        yield opened


def _magic(path: Path) -> bytes:
    """The mark of the compressor that packed a file; empty = none did."""
    with path.open("rb") as file:
        start = file.read(4)
    return start if start in (_ZSTD_MAGIC, _LZ4_MAGIC) else b""


def _log_of(database: Path) -> Path | None:
    """What a recorder that was killed left beside a database; None = nothing.

    Either may have been packed since, and the database be named by a link.
    """
    database = database.resolve()
    is_packed = database.suffix.lower() in _PACKED_SUFFIXES
    name = f"{database.stem if is_packed else database.name}{LOG_SUFFIX}"
    log = _named(database.parent, name)
    return log if log.is_file() else None


def _unpack(path: Path, plain: Path) -> None:
    """Decompress a file, or copy one that is not compressed.

    Raises:
        StorageError: it is damaged, or there is no room.
    """
    magic = _magic(path)
    try:
        with path.open("rb") as packed, plain.open("wb") as out:
            if not magic:
                shutil.copyfileobj(packed, out, 1 << 20)
            elif magic == _LZ4_MAGIC:
                with lz4.frame.open(packed, "rb") as reader:
                    shutil.copyfileobj(reader, out, 1 << 20)
            else:
                unpacker = zstandard.ZstdDecompressor().stream_reader(
                    packed, read_across_frames=True
                )
                shutil.copyfileobj(unpacker, out, 1 << 20)
    except (zstandard.ZstdError, RuntimeError, EOFError) as error:
        raise StorageError(f"it is damaged: {path.name}: {one_line(error)}") from None
    except OSError as error:
        raise StorageError(
            f"{path.name} cannot be decompressed into {plain.parent} "
            f"({error.strerror or one_line(error)}); set TMPDIR to a larger disk"
        ) from None


def _decompressed(data: bytes) -> bytes:
    """A message as it was sent; CDR begins with 0, so that a compressor's mark is told from it.

    One that cannot be decompressed stays as it is: no message, which costs one frame.
    """
    try:
        if data.startswith(_ZSTD_MAGIC):
            return zstandard.ZstdDecompressor().decompressobj().decompress(data)
        if data.startswith(_LZ4_MAGIC):
            return bytes(lz4.frame.decompress(data))
    except (zstandard.ZstdError, RuntimeError):
        pass
    return data


def _storage_files(directory: Path) -> list[Path]:
    """Storage files in a folder, ``bag_2`` before ``bag_10``; what is hidden is left alone.

    Those of ROS 1, which has no folders of bags, count where nothing else is there.
    """
    there = [p for p in directory.iterdir() if not p.name.startswith(".")]
    files = [p for p in there if storage_suffix(p) in (".mcap", ".db3")]
    if all(storage_suffix(p) == ".bag" and p.is_file() for p in there):
        files = there
    return sorted(files, key=lambda p: [int(n) if n.isdecimal() else n for n in _parts(p.name)])


def _parts(name: str) -> list[str]:
    return re.split(r"(\d+)", name)


def _files_of(path: Path) -> tuple[list[Path], Mapping[str, int] | None]:
    """The storage files of a bag, and how many messages each topic should have; None = unknown.

    Raises:
        CodesignError: what is plainly missing, or no bag.
    """
    if not path.exists():
        raise CodesignError(f"bag {path} does not exist")
    if not path.is_dir():
        if storage_suffix(path) is None:
            raise CodesignError(f"{path} is not a bag (expected a directory or {BAG_SUFFIXES})")
        return [path], {}
    metadata = path / _METADATA
    if not metadata.exists() or not metadata.stat().st_size:
        files = _files_without_metadata(path)
        # A bag of ROS 1 needs none.
        return files, {} if storage_suffix(files[0]) == ".bag" else None
    names, counts = _described(metadata)
    files = [_named(path, name) for name in names]
    for file in files:
        if not file.exists():
            raise CodesignError(f"bag {path}: metadata.yaml names {file.name}, which is not there")
        if storage_suffix(file) is None:
            raise CodesignError(f"bag {path}: {file.name} is of no storage that is read here")
    return files, counts


def _files_without_metadata(folder: Path) -> list[Path]:
    """The storage files of a bag whose recorder was ended before it wrote ``metadata.yaml``.

    Raises:
        CodesignError: there are none, or those of several recordings.
    """
    there = _storage_files(folder)
    # One that was not packed to its end lies beside the plain file that it is made of.
    packed = [file for file in there if file.suffix.lower() in _PACKED_SUFFIXES]
    files = [file for file in there if file not in packed or file.with_suffix("") not in there]
    if not files:
        raise CodesignError(f"bag {folder} has no metadata.yaml: it is not a bag directory")
    # The recorder numbers the files of one recording from 0 on.
    recordings = set(map(_recording_of, files))
    if len(recordings) > 1:
        raise CodesignError(
            f"bag {folder} has no metadata.yaml: its files are of {len(recordings)} recordings; "
            f"name one of them, as in {files[0]}"
        )
    return files


def _recording_of(file: Path) -> str:
    """What the files of one recording have in common."""
    return re.sub(r"(_\d+)?\.(mcap|db3|bag)(\.\w+)?$", "", file.name.lower())


def _not_named(folder: Path, files: Sequence[Path]) -> tuple[str, ...]:
    """Names of the files that belong to those of a bag, and are not among them.

    What was packed, or unpacked, since lies beside the one that is taken.
    """
    recordings = set(map(_recording_of, files))
    taken = {
        file.with_suffix("") if file.suffix.lower() in _PACKED_SUFFIXES else file for file in files
    }
    return tuple(
        file.name
        for file in _storage_files(folder)
        if file not in files
        and file not in taken
        and file.with_suffix("") not in taken
        and _recording_of(file) in recordings
    )


def _named(folder: Path, name: str) -> Path:
    """Return a file by its name, which may have been packed or unpacked since."""
    file = folder / name
    others = [folder / f"{name}{suffix}" for suffix in _PACKED_SUFFIXES]
    others += [file.with_suffix("")] if file.suffix.lower() in _PACKED_SUFFIXES else []
    return next((each for each in (file, *others) if each.is_file()), file)


def _described(metadata: Path) -> tuple[list[str], dict[str, int]]:
    """Names of files, and messages by topic: all that we need of ``metadata.yaml``.

    Storage and compression are told by the files themselves; QoS is the player's affair.

    Raises:
        CodesignError: it cannot be read, or does not say that.
    """
    wrong = f"bag {metadata.parent}: metadata.yaml is damaged ({{}}); `ros2 bag reindex` renews it"
    try:
        document: Any = yaml.safe_load(metadata.read_text(encoding="utf-8"))
        about = document["rosbag2_bagfile_information"]
        # Older versions name files with their folder. Each is read once, however often it is there.
        names = list(dict.fromkeys(PurePath(name).name for name in about["relative_file_paths"]))
        counts: dict[str, int] = {}
        for topic in about["topics_with_message_count"] or ():
            name = str(topic["topic_metadata"]["name"])
            counts[name] = counts.get(name, 0) + int(topic["message_count"])
        about["message_count"]  # the end of what a whole file has
    except OSError as error:
        raise CodesignError(f"bag {metadata.parent} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise CodesignError(wrong.format(one_line(error))) from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CodesignError(wrong.format(f"{type(error).__name__}: {one_line(error)}")) from None
    if not names:
        raise CodesignError(wrong.format("no file is named"))
    return names, counts
