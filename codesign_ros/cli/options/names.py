"""Names of ROS, as types for argparse."""

from __future__ import annotations

import argparse
import re

_NAMESPACE = re.compile(r"/?[A-Za-z_]\w*(/[A-Za-z_]\w*)*/?", re.ASCII)


def namespace(text: str) -> str:
    """Read a namespace of ROS, with its slash in front."""
    if not _NAMESPACE.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no namespace: letters, digits and _, parted by /"
        )
    return f"/{text.strip('/')}"
