"""However a bag was stored, named, split, packed or edited: its images are read."""

import shutil
import sqlite3
from pathlib import Path

import cv2
import lz4.frame
import numpy as np
import pytest
import yaml
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcap.writer import CompressionType, IndexType
from mcap.writer import Writer as McapWriter

from codesign_ros.data.bags import BagSource
from codesign_ros.data.sources import open_source
from codesign_ros.data.storage.decoding import COMPRESSED_TYPE, IMAGE_TYPE, typestore
from codesign_ros.data.storage.recording import is_bag
from codesign_ros.pixels.decode import ImageError
from codesign_ros.types.errors import CodesignError

FRAMES = 5
START_NS = 1_700_000_000_000_000_000
JPEG = cv2.imencode(".jpg", np.full((16, 24, 3), 90, np.uint8))[1].tobytes()
DEFINITION = typestore().generate_msgdef(COMPRESSED_TYPE, ros_version=2)[0]
CAMERA = ("/cam/compressed", COMPRESSED_TYPE, "ros2msg", DEFINITION.encode())


def message(number, data=JPEG):
    types = typestore().types
    stamp_ns = START_NS + number * 10**8
    header = types["std_msgs/msg/Header"](
        stamp=types["builtin_interfaces/msg/Time"](sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9),
        frame_id="cam",
    )
    image = types[COMPRESSED_TYPE](header, "jpeg", np.frombuffer(data, np.uint8))
    return stamp_ns, bytes(typestore().serialize_cdr(image, COMPRESSED_TYPE))


def messages(count=FRAMES, start=0, **changed):
    """(topic number, stamp, bytes); ``changed`` maps f<number> to other picture bytes."""
    return [(0, *message(n, changed.get(f"f{n}", JPEG))) for n in range(start, start + count)]


def write_mcap(path, topics, content, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        writer = McapWriter(file, **options)
        writer.start(profile="ros2")
        channels = []
        for name, kind, encoding, definition in topics:
            schema = writer.register_schema(kind, encoding, definition)
            channels.append(writer.register_channel(name, "cdr", schema, {}))
        for topic, stamp_ns, data in content:
            writer.add_message(channels[topic], stamp_ns, data, stamp_ns)
        writer.finish()
    return path


def write_sqlite(path, topics, content, *, wal_after=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(path)
    if wal_after is not None:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA wal_autocheckpoint=0")
    database.executescript(
        """
        CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT, type TEXT,
          serialization_format TEXT, offered_qos_profiles TEXT, type_description_hash TEXT);
        CREATE TABLE message_definitions(id INTEGER PRIMARY KEY, topic_type TEXT, encoding TEXT,
          encoded_message_definition TEXT, type_description_hash TEXT);
        CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER, timestamp INTEGER,
          data BLOB);
        """
    )
    for number, (name, kind, encoding, definition) in enumerate(topics, start=1):
        database.execute("INSERT INTO topics VALUES(?,?,?,'cdr','','')", (number, name, kind))
        database.execute(
            "INSERT INTO message_definitions VALUES(?,?,?,?,'')",
            (number, kind, encoding, definition.decode("utf-8", "replace")),
        )
    for number, (topic, stamp_ns, data) in enumerate(content):
        if number == wal_after:
            database.commit()
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.execute(
            "INSERT INTO messages(topic_id, timestamp, data) VALUES(?,?,?)",
            (topic + 1, stamp_ns, data),
        )
    database.commit()
    return database


def write(path, topics, content):
    if path.suffix == ".mcap":
        return write_mcap(path, topics, content)
    write_sqlite(path, topics, content).close()
    return path


def describe(folder, files, count, **changed):
    about = {
        "version": 5,
        "storage_identifier": "mcap",
        "duration": {"nanoseconds": 1},
        "starting_time": {"nanoseconds_since_epoch": START_NS},
        "message_count": count,
        "topics_with_message_count": [
            {
                "topic_metadata": {
                    "name": CAMERA[0],
                    "type": CAMERA[1],
                    "serialization_format": "cdr",
                    "offered_qos_profiles": "",
                },
                "message_count": count,
            }
        ],
        "compression_format": "",
        "compression_mode": "",
        "relative_file_paths": files,
        **changed,
    }
    text = yaml.safe_dump({"rosbag2_bagfile_information": about})
    (folder / "metadata.yaml").write_text(text)
    return folder


def stamps(path, **options):
    return [frame.stamp_ns for frame in BagSource(path, **options)]


WHOLE = [stamp for _, stamp, _ in messages()]

STRANGERS = {
    "unknown": ("unknown", b""),
    "empty": ("", b""),
    "idl that does not parse": ("ros2idl", b"module { struct ? };"),
    "msg that does not parse": ("ros2msg", b"float32[ x y z\n=== ???"),
    "protobuf": ("protobuf", b"\x0a\xff\xfe\x80google"),
    "flatbuffer": ("flatbuffer", bytes(range(256))),
    "json": ("jsonschema", b"{}"),
    "another version": ("ros2msg", b"pkg/NotThere x"),
}


@pytest.mark.parametrize("suffix", [".mcap", ".db3"])
@pytest.mark.parametrize("stranger", STRANGERS)
def test_a_topic_that_nobody_understands_hides_no_image(tmp_path, suffix, stranger):
    encoding, definition = STRANGERS[stranger]
    topics = [("/nav/_action/feedback", "nav/action/Go_FeedbackMessage", encoding, definition)]
    content = [(0, START_NS, b"\0\1\0\0" + bytes(8))]
    content += [(1, stamp, data) for _, stamp, data in messages()]
    path = write(tmp_path / f"a{suffix}", [*topics, CAMERA], content)
    assert stamps(path) == WHOLE


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    encoding=st.sampled_from(["ros2msg", "ros2idl", "omgidl", "protobuf", "", "unknown"]),
    definition=st.one_of(st.binary(max_size=60), st.text(max_size=60).map(str.encode)),
    kind=st.sampled_from(["a/msg/B", "B", "", "foxglove.CompressedImage", "std_msgs/msg/Header"]),
    on_camera=st.booleans(),
)
def test_no_definition_of_any_topic_matters(tmp_path, encoding, definition, kind, on_camera):
    topics = [("/x", kind, encoding, definition), CAMERA]
    if on_camera:  # what an image is needs no definition
        topics[1] = (*CAMERA[:2], encoding, definition)
    content = [(1, stamp, data) for _, stamp, data in messages()]
    content.insert(2, (0, content[2][1], b"whatever"))
    assert stamps(write_mcap(tmp_path / "a.mcap", topics, content)) == WHOLE


@pytest.mark.parametrize(
    "options",
    [
        {"compression": CompressionType.NONE},
        {"compression": CompressionType.LZ4, "chunk_size": 700},
        {"compression": CompressionType.ZSTD, "chunk_size": 700},
        {"use_chunking": False},
        {"use_chunking": False, "use_statistics": False, "use_summary_offsets": False},
        {"index_types": IndexType.NONE},
        {"index_types": IndexType.NONE, "repeat_channels": False, "repeat_schemas": False},
        {"repeat_channels": False, "repeat_schemas": False},
        {"use_statistics": False},
        {"chunk_size": 700, "index_types": IndexType.CHUNK},
    ],
    ids=str,
)
def test_however_an_mcap_is_indexed(tmp_path, options):
    path = write_mcap(tmp_path / "a.mcap", [CAMERA], messages(), **options)
    source = BagSource(path)
    assert source.frames == FRAMES
    assert [frame.stamp_ns for frame in source] == WHOLE


def pack_zstd(data):
    return zstandard.ZstdCompressor().compress(data)


PACKERS = {".zstd": pack_zstd, ".zst": pack_zstd, ".lz4": lz4.frame.compress}


@pytest.mark.parametrize("suffix", [".mcap", ".db3"])
@pytest.mark.parametrize("packed", PACKERS)
@pytest.mark.parametrize("described", ["metadata", "plain names", "no metadata", "bare file"])
def test_packed_files(tmp_path, suffix, packed, described):
    names = []
    for part in range(2):
        path = write(tmp_path / "bag" / f"b_{part}{suffix}", [CAMERA], messages(3, 3 * part))
        path.with_name(path.name + packed).write_bytes(PACKERS[packed](path.read_bytes()))
        path.unlink()
        names.append(path.name if described == "plain names" else path.name + packed)
    bag = tmp_path / "bag"
    if described == "bare file":
        assert is_bag(bag / names[0])
        assert stamps(bag / names[0]) == [s for _, s, _ in messages(3)]
        return
    if described != "no metadata":
        describe(bag, names, 6, compression_mode="FILE", compression_format=packed[1:])
    assert is_bag(bag)
    assert stamps(bag) == [s for _, s, _ in messages(6)]


@pytest.mark.parametrize("suffix", [".mcap", ".db3"])
@pytest.mark.parametrize("pack", [pack_zstd, lz4.frame.compress])
def test_packed_messages_without_metadata(tmp_path, suffix, pack):
    content = [(topic, stamp, pack(data)) for topic, stamp, data in messages()]
    assert stamps(write(tmp_path / f"a{suffix}", [CAMERA], content)) == WHOLE


def test_a_packed_file_that_is_cut_off_is_damaged(tmp_path):
    path = write_mcap(tmp_path / "a.mcap", [CAMERA], messages())
    packed = tmp_path / "b.mcap.zstd"
    whole = pack_zstd(path.read_bytes())
    for keep in (3, 10, len(whole) // 2, len(whole) - 1):
        packed.write_bytes(whole[:keep])
        with pytest.raises(CodesignError, match="damaged"):
            BagSource(packed)


@pytest.mark.parametrize(
    "changed",
    [
        {"storage_identifier": ""},
        {"storage_identifier": None},
        {"version": 99},
        {"compression_format": "none", "compression_mode": "NONE"},
        {"topics_with_message_count": []},
        {"topics_with_message_count": None},
        {"ros_distro": "rolling", "custom_data": {"a": "b"}},
    ],
    ids=str,
)
def test_metadata_as_they_are_after_a_reindex_or_an_edit(tmp_path, changed):
    write_mcap(tmp_path / "bag" / "a_0.mcap", [CAMERA], messages())
    assert stamps(describe(tmp_path / "bag", ["a_0.mcap"], FRAMES, **changed)) == WHOLE


@pytest.mark.parametrize("qos", ["", "- nonsense: [", [{"reliability": 7}], "- reliability: 2\n"])
def test_qos_in_metadata_does_not_matter(tmp_path, qos):
    write_mcap(tmp_path / "bag" / "a_0.mcap", [CAMERA], messages())
    bag = describe(tmp_path / "bag", ["a_0.mcap"], FRAMES)
    content = yaml.safe_load((bag / "metadata.yaml").read_text())
    (topic,) = content["rosbag2_bagfile_information"]["topics_with_message_count"]
    topic["topic_metadata"]["offered_qos_profiles"] = qos
    (bag / "metadata.yaml").write_text(yaml.safe_dump(content))
    assert stamps(bag) == WHOLE


def test_a_split_bag_goes_by_metadata_and_lacks_nothing(tmp_path):
    for part in range(12):
        write_mcap(tmp_path / "bag" / f"b_{part}.mcap", [CAMERA], messages(1, part))
    bag = describe(tmp_path / "bag", [f"bag/b_{part}.mcap" for part in range(12)], 12)
    assert stamps(bag) == [s for _, s, _ in messages(12)]
    (bag / "b_7.mcap").unlink()
    with pytest.raises(CodesignError, match=r"b_7\.mcap, which is not there") as caught:
        BagSource(bag)
    assert "damaged" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".mcap", ".db3"])
@pytest.mark.parametrize(
    "name", ["50%", "a#b", "what?", "mode=ro&x=1", "ein Ordner", "Grube-Süd-鉱山", "a'b\"c", "%41"]
)
def test_any_name_will_do(tmp_path, suffix, name):
    path = write(tmp_path / name / f"{name}{suffix}", [CAMERA], messages())
    assert stamps(path) == WHOLE
    assert stamps(describe(path.parent, [path.name], FRAMES)) == WHOLE


@pytest.fixture
def killed(tmp_path):
    """A database as a killed recorder leaves it: two messages, and the others in the log."""
    database = write_sqlite(tmp_path / "x" / "a.db3", [CAMERA], messages(), wal_after=2)
    for number in range(FRAMES, 2 * FRAMES):  # each in a transaction of several pages
        picture = message(number, JPEG + bytes(9000))
        database.execute("INSERT INTO messages VALUES(NULL,1,?,?)", picture)
        database.commit()
    shutil.copytree(tmp_path / "x", tmp_path / "killed")
    database.close()
    assert (tmp_path / "killed" / "a.db3-wal").stat().st_size
    return tmp_path / "killed" / "a.db3"


TWICE = [stamp for _, stamp, _ in messages(2 * FRAMES)]


def test_what_a_killed_recorder_left_beside_its_database_is_read(killed, tmp_path):
    assert stamps(killed) == TWICE
    (tmp_path / "link.db3").symlink_to(killed)
    assert stamps(tmp_path / "link.db3") == TWICE
    (tmp_path / "chain.db3").symlink_to("link.db3")
    assert stamps(tmp_path / "chain.db3") == TWICE


@pytest.mark.parametrize("packed", PACKERS)
@pytest.mark.parametrize("which", [["a.db3"], ["a.db3", "a.db3-wal"], ["a.db3-wal"]], ids=str)
def test_what_it_left_is_read_where_either_was_packed(killed, tmp_path, packed, which):
    for name in which:
        plain = killed.with_name(name)
        plain.with_name(name + packed).write_bytes(PACKERS[packed](plain.read_bytes()))
        plain.unlink()
    killed.with_name("a.db3-shm").unlink()
    path = next(each for each in killed.parent.iterdir() if "-wal" not in each.name)
    assert stamps(path) == TWICE
    assert stamps(killed.parent) == TWICE
    (tmp_path / f"link{path.suffix}").symlink_to(path)
    if path.suffix == ".db3":
        assert stamps(tmp_path / "link.db3") == TWICE


def flipped(log, at):
    return log[:at] + bytes([log[at] ^ 0x40]) + log[at + 1 :]


def without_commit(log):
    """A log whose last transaction lacks its last frame; a page of SQLite has 4096 bytes."""
    return log[: -4096 - 24]


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda log: flipped(log, 32 + 4120 + 500), id="a page"),
        pytest.param(lambda log: flipped(log, 32 + 4120), id="a page's number"),
        pytest.param(lambda log: flipped(log, 32 + 4120 + 9), id="a page's salt"),
        pytest.param(lambda log: flipped(log, 32 + 4120 + 20), id="a page's checksum"),
        pytest.param(lambda log: flipped(log, 3), id="the magic number"),
        pytest.param(lambda log: flipped(log, 9), id="the size of a page"),
        pytest.param(lambda log: flipped(log, 17), id="the log's salt"),
        pytest.param(lambda log: flipped(log, 30), id="the log's checksum"),
        pytest.param(lambda log: log[:-100], id="cut off in a page"),
        pytest.param(lambda log: log[:20], id="cut off in its header"),
        pytest.param(without_commit, id="cut off in a transaction"),
    ],
)
def test_a_log_that_is_not_read_to_its_end_is_said(killed, spoil):
    log = killed.with_name("a.db3-wal")
    log.write_bytes(spoil(log.read_bytes()))
    source = BagSource(killed)
    assert 2 <= len(list(source)) < 2 * FRAMES
    (warning,) = source.warnings
    assert f"has no end in a.db3, which a recorder writes last; the {source.frames} " in warning


def test_what_a_log_has_of_a_time_before_is_no_loss(tmp_path):
    database = write_sqlite(tmp_path / "x" / "a.db3", [CAMERA], messages(), wal_after=0)
    database.execute("PRAGMA wal_checkpoint(RESTART)")
    database.execute("INSERT INTO messages VALUES(NULL,1,?,?)", message(FRAMES))
    database.commit()
    length = (tmp_path / "x" / "a.db3-wal").stat().st_size
    shutil.copytree(tmp_path / "x", tmp_path / "killed")
    database.close()
    assert length > 3 * 4120  # more than the one message that is new
    source = BagSource(tmp_path / "killed" / "a.db3")
    assert source.frames == FRAMES + 1
    assert source.warnings == ()


def test_an_empty_second_topic_does_not_count(tmp_path):
    second = ("/other/image_raw", IMAGE_TYPE, "ros2msg", b"")
    for suffix in (".mcap", ".db3"):
        path = write(tmp_path / f"a{suffix}", [second, CAMERA], [
            (1, stamp, data) for _, stamp, data in messages()
        ])  # fmt: skip
        assert stamps(path) == WHOLE
        if suffix == ".db3":
            with pytest.raises(CodesignError, match="no message on topic /other/image_raw"):
                BagSource(path, topic="/other/image_raw")


@pytest.mark.parametrize("suffix", [".mcap", ".db3"])
@pytest.mark.parametrize(
    "broken",
    [b"", b"\0" * 40, b"neither", JPEG[:10], b"\xff\xd8\xff\xd9", b"\x89PNG\r\n\x1a\n"],
    ids=repr,
)
def test_a_broken_picture_costs_one_frame(tmp_path, suffix, broken):
    path = write(tmp_path / f"a{suffix}", [CAMERA], messages(f2=broken))
    source = BagSource(path)
    assert source.frames == FRAMES
    frames = list(source)
    assert [frame.stamp_ns for frame in frames] == WHOLE
    for number, frame in enumerate(frames):
        if number != 2:
            assert frame.rgb().shape == (16, 24, 3)
    with pytest.raises(ImageError):
        frames[2].rgb()


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(raw=st.one_of(st.binary(max_size=80), st.integers(0, 200).map(lambda n: message(2)[1][:n])))
def test_a_message_that_is_no_image_costs_one_frame(tmp_path, raw):
    content = messages()
    content[2] = (0, content[2][1], raw)
    frames = list(BagSource(write_mcap(tmp_path / "a.mcap", [CAMERA], content)))
    assert len(frames) == FRAMES
    assert [f.data for n, f in enumerate(frames) if n != 2] == [JPEG] * 4


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path.write_bytes(b""), "damaged: not a SQLite database"),
        (
            lambda path: sqlite3.connect(path).executescript("CREATE TABLE a(b);"),
            "no recording of ROS",
        ),
    ],
)
def test_a_database_of_something_else(tmp_path, make, said):
    make(tmp_path / "a.db3")
    with pytest.raises(CodesignError, match=said):
        BagSource(tmp_path / "a.db3")


def test_a_topic_is_for_bags(tmp_path):
    with pytest.raises(CodesignError, match="'/x' is of no use: source mine is no bag"):
        open_source("mine", topic="/x")
    path = write_mcap(Path(tmp_path) / "a.mcap", [CAMERA], messages())
    assert len(list(open_source(str(path), topic=CAMERA[0], frames=2))) == 2
