"""What the environment tells ROS 2 and DDS, as the doctor judges it."""

import pytest

from codesign_ros.doctor import environment
from codesign_ros.doctor.finding import Verdict

OK, WARN, FAIL = Verdict


@pytest.fixture
def proc(tmp_path):
    path = tmp_path / "sys" / "net" / "ipv4" / "ip_local_port_range"
    path.parent.mkdir(parents=True)
    path.write_text("32768\t60999\n")
    return tmp_path


@pytest.mark.parametrize(
    ("domain", "verdict"),
    [("", OK), ("0", OK), ("101", OK), ("102", WARN), ("214", WARN), ("232", OK), ("233", FAIL),
     ("-1", FAIL), ("robot", FAIL), ("1.5", FAIL)],
)  # fmt: skip
def test_domains(proc, domain, verdict):
    found = environment.domain({"ROS_DOMAIN_ID": domain}, proc)
    assert found.verdict is verdict
    assert bool(found.change) is (verdict is not OK)


def test_ports_that_the_kernel_gives_away_are_read_from_the_kernel(proc):
    (proc / "sys/net/ipv4/ip_local_port_range").write_text("9000 60999")
    assert environment.domain({"ROS_DOMAIN_ID": "10"}, proc).verdict is WARN
    assert environment.domain({"ROS_DOMAIN_ID": "5"}, proc).verdict is OK


def test_another_middleware_than_the_one_that_was_tried():
    assert environment.middleware({}, "rmw_fastrtps_cpp").verdict is OK
    found = environment.middleware({"RMW_IMPLEMENTATION": "rmw_fastrtps_cpp"}, "rmw_zenoh_cpp")
    assert (found.verdict, "rmw_zenoh_cpp" in found.found) == (WARN, True)


@pytest.mark.parametrize(
    ("variables", "verdict"),
    [
        ({}, OK),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET"}, OK),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}, WARN),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "OFF"}, FAIL),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "subnet"}, FAIL),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "OFF", "ROS_DISTRO": "humble"}, OK),
        ({"ROS_LOCALHOST_ONLY": "0"}, OK),
        ({"ROS_LOCALHOST_ONLY": "1"}, WARN),
    ],
)
def test_how_far_discovery_looks(variables, verdict):
    assert environment.reach(variables).verdict is verdict


def resolve(name):
    if name not in ("192.168.1.20", "server"):
        raise OSError("Name or service not known")
    return "192.168.1.20"


@pytest.mark.parametrize(
    ("peers", "verdict"),
    [("", OK), ("192.168.1.20", OK), ("server;192.168.1.20", OK), ("server;sevrer", FAIL),
     ("192.168.1.20,server", FAIL)],
)  # fmt: skip
def test_static_peers(peers, verdict):
    found = environment.static_peers({"ROS_STATIC_PEERS": peers}, resolve)
    assert found.verdict is verdict


def test_static_peers_are_none_of_humbles():
    found = environment.static_peers(
        {"ROS_STATIC_PEERS": "server", "ROS_DISTRO": "humble"}, resolve
    )
    assert found.verdict is WARN


def test_a_discovery_server_that_is_not_there():
    asked = []

    def refuses(host, port):
        asked.append((host, port))
        return port == 11811

    variables = {"ROS_DISCOVERY_SERVER": "10.0.0.2:4711;10.0.0.3"}
    found = environment.discovery_server(variables, refuses)
    assert asked == [("10.0.0.2", 4711), ("10.0.0.3", 11811)]
    assert (found.verdict, "10.0.0.3" in found.found) == (FAIL, True)
    assert environment.discovery_server(variables, lambda *_: False).verdict is OK
    assert environment.discovery_server({}, refuses).verdict is OK


def test_a_discovery_server_that_cannot_be_reached():
    def unreachable(host, port):
        raise OSError("No route to host")

    found = environment.discovery_server({"ROS_DISCOVERY_SERVER": "10.0.0.2:1"}, unreachable)
    assert found.verdict is FAIL


def test_a_closed_port_is_seen_really():
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as there:
        there.bind(("127.0.0.1", 0))
        port = there.getsockname()[1]
        named = {"ROS_DISCOVERY_SERVER": f"127.0.0.1:{port}"}
        assert environment.discovery_server(named).verdict is OK
    assert environment.discovery_server(named).verdict is FAIL


@pytest.mark.parametrize(("content", "verdict"), [("<dds/>", OK), ("<dds>", FAIL), (None, FAIL)])
def test_profiles_of_ones_own(tmp_path, content, verdict):
    path = tmp_path / "dds.xml"
    if content is not None:
        path.write_text(content)
    found = environment.dds_profiles({"FASTDDS_DEFAULT_PROFILES_FILE": str(path)})
    assert found.verdict is verdict
    assert environment.dds_profiles({}).verdict is OK
