"""New bags of ROS 2."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from rosbags.rosbag2 import StoragePlugin, Writer

from codesign_ros.types.errors import CodesignError


class NewBag(Writer):
    """The writer of a bag that is not there yet; rosbags' own takes no folder that is there.

    An empty one is no bag, and may be somebody's working directory or where a disk is mounted: it
    is kept, and written to.

    Args:
        folder: where.
        storage: as which kind of file.

    Raises:
        CodesignError: there is something already, or it cannot be looked at.
    """

    def __init__(self, folder: Path, storage: StoragePlugin) -> None:
        try:
            self._was_there = folder.is_dir()
            if folder.exists() and not (self._was_there and not any(folder.iterdir())):
                raise CodesignError(
                    f"{folder} exists already; choose another name or remove it first"
                )
        except OSError as error:
            raise CodesignError(f"cannot write bag {folder}: {error.strerror}") from None
        path = Path(os.path.realpath(folder))  # its file has the name of the folder: "." has none
        # Of an empty folder's content it finds nothing that could be there already.
        super().__init__(path / "metadata.yaml", version=9, storage_plugin=storage)
        self.path, self.metapath = path, path / "metadata.yaml"

    def open(self) -> None:
        """Make the folder, where it is not there, and the file in it.

        Raises:
            OSError: it cannot be made.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        self.storage = self.STORAGE_PLUGINS[self.storage_plugin](self.path, self.compression_mode)

    def discard(self) -> None:
        """Take away what was written, as far as that can be done."""
        if not self._was_there:
            shutil.rmtree(self.path, ignore_errors=True)
            return
        with contextlib.suppress(OSError):
            for file in self.path.iterdir():
                file.unlink()
