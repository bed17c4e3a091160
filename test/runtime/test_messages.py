"""The values that head, tail and users are told load nothing heavy."""

import subprocess
import sys

CODE = """
import sys
from codesign_ros.runtime.messages import Result, TailAnswer
names = sorted(sys.modules)
print(*[name for name in names if name.partition(".")[0] == "codesign_ros"])
print(*{"cv2", "onnxruntime", "rclpy", "torch", "yaml", "zstandard"}.intersection(names))
"""


def test_a_value_type_loads_values_alone():
    ran = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    own, heavy = ran.stdout.splitlines()
    assert own.split() == [
        "codesign_ros",
        "codesign_ros.runtime",
        "codesign_ros.runtime.messages",
        "codesign_ros.types",
        "codesign_ros.types.boxes",
        "codesign_ros.types.errors",
        "codesign_ros.wire",
        "codesign_ros.wire.tensor",
    ]
    assert heavy == ""
