"""Install the parts of codesign_ros that need no ROS: ``pip install .``

With ROS, the package is built by colcon (CMakeLists.txt), which also makes the messages.
"""

from pathlib import Path
from xml.etree import ElementTree

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent
SHARED = ("msg", "config", "bundles", "bags", "launch")


def requirements(name):
    """The lines of a file, without those of the file that it builds upon."""
    lines = (ROOT / "requirements" / name).read_text().splitlines()
    return [line for line in lines if line and not line.startswith(("#", "-r "))]


class BuildLibrary(build_ext):
    """Builds C that Python loads with ctypes: its file is named as CMakeLists.txt names it."""

    def get_ext_filename(self, name):
        *folders, library = name.split(".")
        return str(Path(*folders, f"lib{library}.so"))


setup(
    name="codesign_ros",
    version=ElementTree.parse(ROOT / "package.xml").findtext("version"),
    description="One neural network across a robot and an edge server, cut where measurements say",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["codesign_ros*"])
    + [f"codesign_ros.share.{kind}" for kind in SHARED],
    package_dir={f"codesign_ros.share.{kind}": kind for kind in SHARED},
    package_data={f"codesign_ros.share.{kind}": ["*", "*/*", "*/*/*"] for kind in SHARED},
    install_requires=requirements("server.txt") + requirements("robot.txt"),
    extras_require={"training": requirements("training.txt")},
    # Optional: without a C compiler the coder in Python takes its place, and says so.
    ext_modules=[
        Extension(
            "codesign_ros.wire.neck.rans",
            ["codesign_ros/wire/neck/rans.c"],
            optional=True,
            extra_compile_args=["-std=c99", "-O2"],
        )
    ],
    cmdclass={"build_ext": BuildLibrary},
    entry_points={"console_scripts": ["codesign = codesign_ros.cli.main:main"]},
)
