"""How a process of nodes uses Fast DDS: by settings of the package's, unless the user has own ones.

Other middlewares ignore what is set here.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from pathlib import Path

# Where Fast DDS reads profiles: version 3, which warns of the older name, and version 2.
PROFILES = "FASTDDS_DEFAULT_PROFILES_FILE"
OLDER_PROFILES = "FASTRTPS_DEFAULT_PROFILES_FILE"
WITH_OLDER_NAME = ("humble", "jazzy")
# Any of them says that the user has decided how Fast DDS is to be used.
DECIDED = (PROFILES, OLDER_PROFILES, "FASTDDS_BUILTIN_TRANSPORTS")


def prepare(environment: MutableMapping[str, str], profiles: Path) -> None:
    """Set what Fast DDS reads when the first participant is made.

    Args:
        environment: of the process; changed.
        profiles: the package's profiles.
    """
    if any(name in environment for name in DECIDED):
        return
    older = environment.get("ROS_DISTRO") in WITH_OLDER_NAME
    environment[OLDER_PROFILES if older else PROFILES] = str(profiles)
