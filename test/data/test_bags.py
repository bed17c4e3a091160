import shutil
import sqlite3
from pathlib import Path

import cv2
import numpy as np
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rosbags.highlevel import AnyReader
from rosbags.rosbag1 import Reader as Reader1
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from codesign_ros.data.bag_writer import START_NS, write_mine_bag
from codesign_ros.data.bags import BagSource
from codesign_ros.data.chosen import CLASSIFICATION, open_chosen
from codesign_ros.data.classes import ClassChoice
from codesign_ros.data.sources import FolderSource, open_source
from codesign_ros.data.storage.decoding import TRUTH_TYPE, typestore
from codesign_ros.data.storage.recording import is_bag
from codesign_ros.mine.generator import MineGenerator
from codesign_ros.pixels.decode import to_rgb
from codesign_ros.resources import resource_path
from codesign_ros.types.errors import CodesignError

FRAMES = 6
IMAGE = "sensor_msgs/msg/Image"
BAGS = [("mcap", False), ("mcap", True), ("sqlite3", False), ("sqlite3", True)]


@pytest.fixture(scope="module")
def bags(tmp_path_factory):
    """(storage, raw) -> bag of the same film."""
    root = tmp_path_factory.mktemp("bags")
    made = {}
    for storage, raw in BAGS:
        made[storage, raw] = root / f"{storage}_{raw}"
        write_mine_bag(made[storage, raw], seed=4, frames=FRAMES, storage=storage, raw=raw)
    return made


def storage_file(bag):
    (file,) = [p for p in bag.iterdir() if p.suffix in (".mcap", ".db3")]
    return file


def play(path):
    return list(BagSource(path))


def play_or_refuse(path):
    """The frames, or None if the bag is refused with one line; anything else fails the test."""
    error = None
    try:
        return play(path)
    except CodesignError as raised:
        error = raised
    assert "\n" not in str(error)
    return None


def bag_of(path, *topics, storage=StoragePlugin.MCAP, messages=1):
    """A bag of tiny pictures on each (topic, message type)."""
    store = typestore()
    header = store.types["std_msgs/msg/Header"](
        stamp=store.types["builtin_interfaces/msg/Time"](sec=0, nanosec=0), frame_id=""
    )
    image = store.types["sensor_msgs/msg/Image"](
        header=header,
        height=2,
        width=2,
        encoding="mono8",
        is_bigendian=0,
        step=2,
        data=np.arange(4, dtype=np.uint8),
    )
    text = store.types["std_msgs/msg/String"](data="x")
    with Writer(path, version=9, storage_plugin=storage) as writer:
        for topic, msgtype in topics:
            connection = writer.add_connection(topic, msgtype, typestore=store)
            message = image if msgtype.endswith("Image") else text
            for number in range(messages):
                raw = store.serialize_cdr(message, msgtype)
                writer.write(connection, 1_000_000_000 + number, raw)
    return path


@pytest.mark.parametrize(("storage", "raw"), BAGS)
def test_round_trip(bags, storage, raw):
    source = BagSource(bags[storage, raw])
    assert source.frames == FRAMES
    assert source.fps == pytest.approx(30.0)
    assert not source.live
    played = list(source)
    film = list(MineGenerator(4).sequence(FRAMES))
    assert len(played) == FRAMES
    for number, (frame, made) in enumerate(zip(played, film, strict=True)):
        assert frame.stamp_ns == START_NS + round(number * 1e9 / 30)
        assert (frame.height, frame.width) == (400, 640)
        assert frame.truth.label == made.truth.label
        assert frame.truth.boxes == made.truth.boxes
        rgb = to_rgb(
            frame.data, frame.encoding, height=frame.height, width=frame.width, step=frame.step
        )
        difference = np.abs(rgb[..., ::-1].astype(int) - made.image)
        assert difference.max() == 0 if raw else difference.mean() < 6


@pytest.mark.parametrize(("storage", "raw"), BAGS)
def test_anyreader_reads_it_with_ground_truth(bags, storage, raw):
    image_type = "Image" if raw else "CompressedImage"
    image_topic = "/camera/image_raw" if raw else "/camera/image_raw/compressed"
    # No typestore of ours: the definitions are in the bag.
    with AnyReader([bags[storage, raw]]) as reader:
        types = {topic: info.msgtype for topic, info in reader.topics.items()}
        assert types == {
            image_topic: f"sensor_msgs/msg/{image_type}",
            "/camera/ground_truth": "codesign_ros/msg/GroundTruth",
        }
        stamps = {topic: [] for topic in types}
        for connection, stamp, data in reader.messages():
            message = reader.deserialize(data, connection.msgtype)
            stamps[connection.topic].append(
                (message.header.stamp.sec, message.header.stamp.nanosec)
            )
            assert stamp == message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
        assert stamps[image_topic] == stamps["/camera/ground_truth"]
        assert len(stamps[image_topic]) == FRAMES


# What answers were when ground truth had their type.
OLD_TYPE = "codesign_ros/msg/InferenceResult"
OLD_FIELDS = """
uint8 STATUS_OK=0
std_msgs/Header header
uint64 sequence
uint32 epoch
uint8 status
string reason
string served_by
string label
float32 score
string[] class_names
float32[] class_scores
Detection[] detections
uint32 payload_bytes
float32 response_s
float32 head_s
float32 encode_s
float32 link_s
float32 queue_s
float32 decode_s
float32 tail_s
"""


def old_bag(path, bag, storage):
    """A bag's frames with their ground truth as it was recorded once, and an answer to each."""
    store = get_typestore(Stores.ROS2_HUMBLE)
    detection = (resource_path("msg") / "Detection.msg").read_text()
    store.register(
        get_types_from_msg(OLD_FIELDS, OLD_TYPE)
        | get_types_from_msg(detection, "codesign_ros/msg/Detection")
    )
    durations = ("response_s", "head_s", "encode_s", "link_s", "queue_s", "decode_s", "tail_s")
    with (
        AnyReader([bag]) as reader,
        Writer(path, version=9, storage_plugin=StoragePlugin[storage.upper()]) as writer,
    ):
        topics = {
            topic: writer.add_connection(topic, kind, typestore=store)
            for topic, kind in (
                ("/camera/image_raw/compressed", "sensor_msgs/msg/CompressedImage"),
                ("/camera/ground_truth", OLD_TYPE),
                ("/robot/result", OLD_TYPE),
            )
        }
        for connection, stamp_ns, raw in reader.messages():
            if connection.topic != "/camera/ground_truth":
                writer.write(topics[connection.topic], stamp_ns, raw)
                continue
            truth = reader.deserialize(raw, connection.msgtype)
            for topic, served_by, boxes in (
                ("/camera/ground_truth", "ground_truth", truth.boxes),
                ("/robot/result", "server", []),
            ):
                message = store.types[OLD_TYPE](
                    header=truth.header, sequence=7, epoch=0, status=0, reason="",
                    served_by=served_by, label=truth.label, score=1.0, class_names=["empty"],
                    class_scores=np.ones(1, np.float32), detections=boxes, payload_bytes=9,
                    **dict.fromkeys(durations, 0.5),
                )  # fmt: skip
                writer.write(topics[topic], stamp_ns, store.serialize_cdr(message, OLD_TYPE))
    return path


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_ground_truth_of_an_older_bag_is_read(bags, tmp_path, storage):
    new = play(bags["mcap", False])
    old = old_bag(tmp_path / "old", bags["mcap", False], storage)
    assert play(old) == new
    assert any(frame.truth.boxes for frame in new)
    if storage == "sqlite3":  # as Humble records: the bag does not say what is in its messages
        database = sqlite3.connect(storage_file(old))
        database.execute("DELETE FROM message_definitions")
        database.commit()
        database.close()
        assert play(old) == new


def test_same_seed_same_messages(bags, tmp_path):
    write_mine_bag(tmp_path / "again", seed=4, frames=FRAMES)
    with AnyReader([bags["mcap", False]]) as one, AnyReader([tmp_path / "again"]) as two:
        first = [(c.topic, t, bytes(d)) for c, t, d in one.messages()]
        second = [(c.topic, t, bytes(d)) for c, t, d in two.messages()]
    assert first == second


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_bare_file(bags, storage):
    file = storage_file(bags[storage, False])
    assert is_bag(file)
    assert [f.data for f in play(file)] == [f.data for f in play(bags[storage, False])]


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_bag_that_is_cut_off_is_refused_or_says_so(bags, tmp_path, storage, data):
    whole = storage_file(bags[storage, False])
    content = whole.read_bytes()
    keep = data.draw(
        st.one_of(
            st.integers(0, len(content) - 1),
            st.integers(max(0, len(content) - 2500), len(content) - 1),  # inside the summary
            st.integers(0, 300),
        )
    )
    bare = tmp_path / f"cut{whole.suffix}"
    bare.write_bytes(content[:keep])
    frames = play_or_refuse(bare)
    if frames is not None:  # of what was whole, nothing is lost, and it is said
        assert storage == "mcap"
        played = [frame.data for frame in frames]
        assert played == [frame.data for frame in play(whole)][: len(played)]
        (line,) = BagSource(bare).warnings
        assert f"no end in {bare.name}, " in line
        assert f"the {len(played)} frames that are there" in line
    directory = tmp_path / "cut"
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(bags[storage, False], directory)
    (directory / whole.name).write_bytes(content[:keep])
    played = play_or_refuse(directory)  # its metadata say how many there were
    assert played is None or len(played) == len(play(whole))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(share=st.floats(0, 1, exclude_max=True))
def test_cut_metadata_is_refused_or_loses_nothing(bags, tmp_path, share):
    directory = tmp_path / "cut"
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(bags["mcap", False], directory)
    text = (directory / "metadata.yaml").read_bytes()
    (directory / "metadata.yaml").write_bytes(text[: int(share * len(text))])
    played = play_or_refuse(directory)
    if played is not None:
        assert [f.truth for f in played] == [f.truth for f in play(bags["mcap", False])]


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_damaged_bytes_give_nothing_but_the_one_error(bags, tmp_path, storage, data):
    whole = storage_file(bags[storage, False])
    content = bytearray(whole.read_bytes())
    at = data.draw(st.one_of(st.integers(0, len(content) - 1), st.integers(0, 400)))
    content[at] ^= data.draw(st.integers(1, 255))
    broken = tmp_path / f"broken{whole.suffix}"
    broken.write_bytes(content)
    play_or_refuse(broken)


def test_what_sqlite_says_of_a_damaged_table_is_one_line(bags, tmp_path):
    """It quotes the table's definition, which has several."""
    whole = storage_file(bags["sqlite3", False]).read_bytes()
    assert b"TABLE metadata(" in whole
    broken = tmp_path / "broken.db3"
    broken.write_bytes(whole.replace(b"TABLE metadata(", b"TABLE `etadata("))
    with pytest.raises(CodesignError, match="it is damaged: malformed database schema") as caught:
        BagSource(broken)
    assert "\n" not in str(caught.value)


def test_missing_and_no_bag(tmp_path, bags):
    with pytest.raises(CodesignError, match="does not exist"):
        BagSource(tmp_path / "nowhere")
    with pytest.raises(CodesignError, match="not a bag directory"):
        BagSource(tmp_path)
    text = tmp_path / "notes.txt"
    text.write_text("hello")
    with pytest.raises(CodesignError, match="is not a bag"):
        BagSource(text)


def test_no_image_topic(tmp_path):
    bag = bag_of(tmp_path / "bag", ("/talk", "std_msgs/msg/String"))
    with pytest.raises(CodesignError, match=r"no image topic \(it has /talk\)"):
        BagSource(bag)


def test_several_image_topics(tmp_path):
    image = "sensor_msgs/msg/Image"
    bag = bag_of(tmp_path / "bag", ("/left", image), ("/right", image), messages=3)
    with pytest.raises(CodesignError, match="topics: /left, /right; choose one with --topic"):
        BagSource(bag)
    with pytest.raises(
        CodesignError, match="no image topic /up; its image topics are /left, /right"
    ):
        BagSource(bag, topic="/up")
    source = BagSource(bag, topic="/right")
    assert source.topic == "/right"
    # Unstamped pictures get the recorder's stamp.
    assert [f.stamp_ns for f in source] == [1_000_000_000 + n for n in range(3)]
    assert [f.truth for f in source] == [None] * 3


def truth_bag(path, images, truths, *, offset_ns=0, stamped=True):
    """Pictures on ``images``; on each of ``truths``, by its stamps, the topic as the label."""
    store = typestore()
    types = store.types
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        kinds = {**dict.fromkeys(images, IMAGE), **dict.fromkeys(truths, TRUTH_TYPE)}
        topics = {t: writer.add_connection(t, kind, typestore=store) for t, kind in kinds.items()}
        for number in range(4):
            for topic, kind in kinds.items():
                at_ns = 10**9 + number * 10**8 + (offset_ns if kind == TRUTH_TYPE else 0)
                stamp_ns = at_ns if stamped else 0
                stamp = types["builtin_interfaces/msg/Time"](stamp_ns // 10**9, stamp_ns % 10**9)
                header = types["std_msgs/msg/Header"](stamp=stamp, frame_id="")
                message = (
                    types[kind](header, topic, [])
                    if kind == TRUTH_TYPE
                    else types[kind](header, 2, 2, "mono8", 0, 2, np.zeros(4, np.uint8))
                )
                writer.write(topics[topic], at_ns, store.serialize_cdr(message, kind))
    return path


@pytest.mark.parametrize(
    ("images", "topic", "truths", "taken"),
    [
        (["/front/image", "/rear/image"], "/front/image", ["/front/gt", "/rear/gt"], "/front/gt"),
        (["/front/image", "/rear/image"], "/rear/image", ["/front/gt", "/rear/gt"], "/rear/gt"),
        (["/a/b/raw", "/a/c/raw/x"], "/a/c/raw/x", ["/a/gt", "/a/c/gt"], "/a/c/gt"),
        (["/front/image", "/rear/image"], "/rear/image", ["/front/gt", "/labels"], "/labels"),
        # Raw and compressed are one camera's.
        (["/cam/image", "/cam/image/compressed"], "/cam/image", ["/cam/gt"], "/cam/gt"),
        (["/front_image"], None, ["/anything/else"], "/anything/else"),
    ],
)  # fmt: skip
def test_each_camera_has_its_own_truth(tmp_path, images, topic, truths, taken):
    source = BagSource(truth_bag(tmp_path / "bag", images, truths), topic=topic)
    assert [frame.truth.label for frame in source] == [taken] * 4
    assert source.warnings == ()


def test_truth_that_may_be_of_several_cameras_is_not_guessed(tmp_path):
    images, truths = ["/front_image", "/rear_image"], ["/front_truth", "/rear_truth"]
    bag = truth_bag(tmp_path / "bag", images, truths)
    said = (
        "has several topics of ground truth for /rear_image: /front_truth, /rear_truth; choose one "
        "with --truth-topic"
    )
    source = BagSource(bag, topic="/rear_image")  # its pictures can be played all the same
    assert [frame.truth for frame in source] == [None] * 4
    (line,) = source.warnings
    assert f"{said} (none is taken)" in line
    with pytest.raises(CodesignError, match=f"{said}$"):
        open_chosen(str(bag), ClassChoice(), CLASSIFICATION, truths, topic="/rear_image")
    chosen = open_chosen(
        str(bag), ClassChoice(), CLASSIFICATION, truths, topic="/rear_image",
        truth_topic="/rear_truth",
    )  # fmt: skip
    assert [frame.truth.label for frame in chosen] == ["/rear_truth"] * 4
    assert chosen.warnings == ()
    with pytest.raises(
        CodesignError, match=r"no topic of ground truth /up \(it has /front_truth, /"
    ):
        BagSource(bag, topic="/rear_image", truth_topic="/up")
    with pytest.raises(CodesignError, match="topic '/rear_truth' is of no use: source mine is no"):
        open_source("mine", truth_topic="/rear_truth")


def test_another_cameras_truth_is_left_out_and_named(tmp_path):
    bag = truth_bag(tmp_path / "bag", ["/front/image", "/rear/image"], ["/front/gt"])
    source = BagSource(bag, topic="/rear/image")
    assert [frame.truth for frame in source] == [None] * 4
    (line,) = source.warnings
    assert "ground truth on /front/gt is of another camera than /rear/image by its name" in line
    taken = BagSource(bag, topic="/rear/image", truth_topic="/front/gt")
    assert [frame.truth.label for frame in taken] == ["/front/gt"] * 4


@pytest.mark.parametrize(
    ("offset_ns", "stamped", "strays"),
    [(0, True, 0), (0, False, 0), (1_000_000, True, 4), (100_000_000, True, 1), (1000, False, 4)],
)
def test_truth_of_no_frame_is_counted(tmp_path, offset_ns, stamped, strays):
    """Unstamped truth has the recorder's stamp, as unstamped pictures have."""
    bag = truth_bag(tmp_path / "bag", ["/i"], ["/t"], offset_ns=offset_ns, stamped=stamped)
    source = BagSource(bag)
    assert sum(frame.truth is not None for frame in source) == 4 - strays
    said = f"bag {bag}: {strays} of 4 messages of ground truth on /t belong to no frame "
    assert source.warnings == ((f"{said}(stamps differ)",) if strays else ())


@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_empty(tmp_path, storage):
    bag = bag_of(tmp_path / "bag", ("/i", "sensor_msgs/msg/Image"), storage=storage, messages=0)
    with pytest.raises(CodesignError, match="no message on topic /i"):
        BagSource(bag)


@pytest.fixture
def ros1_bag(tmp_path):
    """A bag of ROS 1 with one image."""
    store = get_typestore(Stores.ROS1_NOETIC)
    path = tmp_path / "old.bag"
    with Writer1(path) as writer:
        connection = writer.add_connection("/i", "sensor_msgs/msg/Image", typestore=store)
        header = store.types["std_msgs/msg/Header"](
            seq=0,
            stamp=store.types["builtin_interfaces/msg/Time"](sec=3, nanosec=4),
            frame_id="c",
        )
        image = store.types["sensor_msgs/msg/Image"](
            header=header,
            height=1,
            width=2,
            encoding="mono8",
            is_bigendian=0,
            step=2,
            data=np.array([1, 2], np.uint8),
        )
        raw = store.serialize_ros1(image, "sensor_msgs/msg/Image")
        writer.write(connection, 5_000_000_000, raw)
    return path


def test_ros1_bag(ros1_bag):
    (frame,) = play(ros1_bag)
    assert (frame.stamp_ns, frame.data, frame.width) == (3_000_000_004, b"\x01\x02", 2)


def test_a_folder_of_a_ros1_bag(ros1_bag, tmp_path):
    (tmp_path / "._old.bag").write_bytes(b"what a Mac puts beside it")
    source = open_source(str(tmp_path))
    assert isinstance(source, BagSource)
    assert source.warnings == ()
    assert len(list(source)) == 1
    shutil.copy(ros1_bag, tmp_path / "other.bag")
    with pytest.raises(
        CodesignError, match=r"of 2 recordings; name one of them, as in .*old\.bag$"
    ):
        open_source(str(tmp_path))
    # Beside something else it is not what the folder is of; but where that is nothing, it is named.
    (tmp_path / "notes.txt").write_text("of the drive")
    said = rf"has no images .*; it has {ros1_bag}, {tmp_path}/other\.bag: name a bag itself$"
    with pytest.raises(CodesignError, match=said):
        open_source(str(tmp_path))
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((4, 4, 3), np.uint8))
    assert isinstance(open_source(str(tmp_path)), FolderSource)


@pytest.mark.parametrize("suffix", [".mcap", ".db3", ".bag", ".bag.active", ".mcap.zstd"])
def test_what_a_file_is_its_bytes_say_not_its_name(bags, ros1_bag, tmp_path, suffix):
    originals = [ros1_bag, *(storage_file(bag) for bag in bags.values())]
    for number, original in enumerate(originals):
        path = tmp_path / f"renamed{number}{suffix}"
        data = original.read_bytes()
        path.write_bytes(zstandard.compress(data) if suffix.endswith(".zstd") else data)
        assert [f.data for f in play(path)] == [f.data for f in play(original)]


def test_a_ros1_bag_of_a_broken_chunk_is_damaged(ros1_bag, tmp_path):
    path = tmp_path / "packed.bag"
    with Reader1(ros1_bag) as reader:
        writer = Writer1(path)
        writer.set_compression(Writer1.CompressionFormat.BZ2)
        with writer:
            (old,) = reader.connections
            new = writer.add_connection(old.topic, old.msgtype, msgdef=old.msgdef.data,
                                        md5sum=old.digest)  # fmt: skip
            for _, stamp_ns, data in reader.messages():
                writer.write(new, stamp_ns, data)
    whole = path.read_bytes()
    assert len(play(path)) == 1
    start = whole.index(b"BZh")
    path.write_bytes(whole[: start + 20] + bytes(20) + whole[start + 40 :])
    with pytest.raises(CodesignError, match=r"packed\.bag: it is damaged: Invalid data stream"):
        play(path)


@pytest.mark.parametrize(
    ("whole", "other"),
    [(b"#ROSBAG V2.0\n", b"#ROSBAG V1.2\n"), (b"compression=none", b"compression=xxxx")],
)
def test_a_ros1_bag_of_another_form_is_not_called_damaged(ros1_bag, whole, other):
    data = ros1_bag.read_bytes()
    assert whole in data
    ros1_bag.write_bytes(data.replace(whole, other))
    said = "in a form that is not read here .*not supported.*; `rosbag filter IN OUT True` writes"
    with pytest.raises(CodesignError, match=said):
        play(ros1_bag)


def test_a_ros1_bag_without_its_index_names_what_mends_it(ros1_bag, tmp_path):
    whole = ros1_bag.read_bytes()
    start = whole.index(b"index_pos=") + len(b"index_pos=")
    index = int.from_bytes(whole[start : start + 8], "little")
    killed = whole[:start] + bytes(8) + whole[start + 8 : index]
    for content in (killed, whole[:index], whole[:-10]):
        for name in ("a.bag", "a.bag.active", "index.bag.zst"):
            packed = name.endswith(".zst")
            path = tmp_path / name
            path.write_bytes(zstandard.compress(content) if packed else content)
            with pytest.raises(CodesignError) as caught:
                open_source(str(path))
            assert str(caught.value) == (
                f"bag {path}: its index, which a recorder writes last, is missing or cut off; "
                "`rosbag reindex` writes it anew"
            )
    # What it leaves then has the same name.
    (tmp_path / "a.bag.active").write_bytes(whole)
    assert len(play(tmp_path / "a.bag.active")) == 1
    (tmp_path / "index.bag").write_bytes(b"")
    with pytest.raises(CodesignError, match="it is damaged: "):
        BagSource(tmp_path / "index.bag")


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_writer_takes_an_empty_folder_and_keeps_it(tmp_path, monkeypatch, storage):
    def interrupt(done, total):
        raise KeyboardInterrupt

    here = tmp_path / "here"
    here.mkdir()
    here.chmod(0o700)
    (tmp_path / "link").symlink_to("here")
    monkeypatch.chdir(here)
    for name in (".", str(tmp_path / "link")):
        with pytest.raises(KeyboardInterrupt):
            write_mine_bag(Path(name), seed=4, frames=2, storage=storage, progress=interrupt)
        assert not any(here.iterdir())
        write_mine_bag(Path(name), seed=4, frames=1, storage=storage)
        assert len(list(open_source(name))) == 1
        assert here.stat().st_mode & 0o777 == 0o700
        for file in here.iterdir():
            file.unlink()


def test_writer_refuses(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "x").touch()
    for name in ("there", "there/x"):
        with pytest.raises(CodesignError, match="exists already"):
            write_mine_bag(tmp_path / name, seed=0, frames=1)
    with pytest.raises(CodesignError, match="unknown bag storage 'tape'; known are mcap, sqlite3"):
        write_mine_bag(tmp_path / "new", seed=0, frames=1, storage="tape")
    with pytest.raises(CodesignError, match="frames >= 1"):
        write_mine_bag(tmp_path / "new", seed=0, frames=0)
    with pytest.raises(CodesignError, match="seed must be 0 or more"):
        write_mine_bag(tmp_path / "new", seed=-1, frames=1)
    (tmp_path / "file").write_text("")
    with pytest.raises(CodesignError, match="cannot write bag"):
        write_mine_bag(tmp_path / "file" / "new", seed=0, frames=1)


def test_progress_and_nothing_left_after_an_interrupt(tmp_path):
    calls = []
    write_mine_bag(
        tmp_path / "bag", seed=0, frames=2, progress=lambda done, total: calls.append((done, total))
    )
    assert calls == [(1, 2), (2, 2)]

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_mine_bag(tmp_path / "half", seed=0, frames=2, progress=interrupt)
    assert not (tmp_path / "half").exists()
