"""How a process of nodes uses Fast DDS: by settings of the package's, unless the user has own ones.

Other middlewares ignore what is set here.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from pathlib import Path
from xml.etree import ElementTree

from codesign_ros.types.errors import CodesignError, did_you_mean, one_line

# Where Fast DDS reads profiles: version 3, which warns of the older name, and version 2.
PROFILES = "FASTDDS_DEFAULT_PROFILES_FILE"
OLDER_PROFILES = "FASTRTPS_DEFAULT_PROFILES_FILE"
WITH_OLDER_NAME = ("humble", "jazzy")
# Any of them says that the user has decided how Fast DDS is to be used.
DECIDED = (PROFILES, OLDER_PROFILES, "FASTDDS_BUILTIN_TRANSPORTS")


_RANGES = ("SUBNET", "LOCALHOST", "OFF", "SYSTEM_DEFAULT")

# The last domain whose ports exist (RTPS 2.5, 9.6.2.3).
_LAST_DOMAIN = 232


def check_domain(environment: Mapping[str, str]) -> None:
    """Refuse a domain with which Fast DDS ends the process, or ROS says only that it failed.

    And a range of discovery that is none: ROS takes it for this machine alone.

    Raises:
        CodesignError: it is none.
    """
    text = environment.get("ROS_DOMAIN_ID", "")
    if text and not (text.isdecimal() and int(text) <= _LAST_DOMAIN):
        raise CodesignError(
            f"ROS_DOMAIN_ID is '{text}', which is no domain: set a whole number from 0 to "
            f"{_LAST_DOMAIN}, or unset it"
        )
    reach = environment.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "")
    if reach and reach not in _RANGES:
        raise CodesignError(
            f"ROS_AUTOMATIC_DISCOVERY_RANGE is '{reach}'{did_you_mean(reach, _RANGES)}; known are "
            f"{', '.join(_RANGES)}"
        )


def prepare(environment: MutableMapping[str, str], profiles: Path) -> None:
    """Set what Fast DDS reads when the first participant is made.

    Args:
        environment: of the process; changed.
        profiles: the package's profiles.

    Raises:
        CodesignError: the user names profiles that are not there or no XML, which Fast DDS does
            without.
    """
    for name in (PROFILES, OLDER_PROFILES):
        theirs = environment.get(name)
        if theirs and not Path(theirs).is_file():
            raise CodesignError(f"{name}={theirs}: there is no such file")
        if theirs:
            _check_xml(f"{name}={theirs}", Path(theirs))
    if any(name in environment for name in DECIDED):
        return
    older = environment.get("ROS_DISTRO") in WITH_OLDER_NAME
    environment[OLDER_PROFILES if older else PROFILES] = str(profiles)


def _check_xml(what: str, file: Path) -> None:
    try:
        ElementTree.parse(file)
    except (OSError, ElementTree.ParseError) as error:
        raise CodesignError(f"{what} cannot be read: {one_line(error)}") from None
