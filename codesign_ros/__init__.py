"""One neural network across a robot and an edge server, cut where measurements say.

The package's generated ROS messages live under the same name (``codesign_ros.msg``,
``codesign_ros.srv``); extending the search path lets a source tree and a ROS installation of this
package be found together.
"""

from pkgutil import extend_path

__path__ = extend_path(__path__, __name__)
