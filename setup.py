"""Install the parts of codesign_ros that need no ROS: ``pip install .``

With ROS, the package is built by colcon (CMakeLists.txt), which also makes the messages.
"""

from pathlib import Path
from xml.etree import ElementTree

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
SHARED = ("msg", "config", "bundles", "bags", "launch")


def requirements(name):
    lines = (ROOT / "requirements" / name).read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


setup(
    name="codesign_ros",
    version=ElementTree.parse(ROOT / "package.xml").findtext("version"),
    description="One neural network across a robot and an edge server, cut where measurements say",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["codesign_ros*"])
    + [f"codesign_ros.share.{kind}" for kind in SHARED],
    package_dir={f"codesign_ros.share.{kind}": kind for kind in SHARED},
    package_data={f"codesign_ros.share.{kind}": ["*", "*/*"] for kind in SHARED},
    install_requires=requirements("runtime.txt"),
    entry_points={"console_scripts": ["codesign = codesign_ros.cli.main:main"]},
)
