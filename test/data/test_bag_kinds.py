"""Bags as people have them: with what we do not know, edited, moved, killed while recording."""

import shutil
import sqlite3

import cv2
import numpy as np
import pytest
import yaml
import zstandard
from mcap.writer import CompressionType, IndexType, Writer

from codesign_ros.cli.common import print_broken
from codesign_ros.data.bags import BagSource
from codesign_ros.data.chosen import open_chosen
from codesign_ros.data.classes import ClassChoice
from codesign_ros.data.sources import open_source
from codesign_ros.data.storage.decoding import COMPRESSED_TYPE, IMAGE_TYPE, typestore
from codesign_ros.pixels.decode import ImageError
from codesign_ros.types.errors import CodesignError

FRAMES = 5
FIRST_NS = 1_700_000_000_000_000_000
STEP_NS = 100_000_000
TOPIC = "/cam/compressed"
DEFINITION = typestore().generate_msgdef(COMPRESSED_TYPE, ros_version=2)[0]


def jpeg(number):
    picture = np.full((48, 64, 3), 20 * number, np.uint8)
    return cv2.imencode(".jpg", picture)[1].tobytes()


def message(number, data=None):
    """A CompressedImage, as bytes."""
    types, stamp = typestore().types, FIRST_NS + number * STEP_NS
    header = types["std_msgs/msg/Header"](
        stamp=types["builtin_interfaces/msg/Time"](sec=stamp // 10**9, nanosec=stamp % 10**9),
        frame_id="cam",
    )
    picture = np.frombuffer(jpeg(number) if data is None else data, np.uint8)
    image = types[COMPRESSED_TYPE](header=header, format="jpeg", data=picture)
    return bytes(typestore().serialize_cdr(image, COMPRESSED_TYPE))


def messages(count=FRAMES):
    return [message(number) for number in range(count)]


def mcap(path, frames, others=(), *, definition=("ros2msg", DEFINITION), encoding="cdr", **options):
    """An MCAP file of pictures on TOPIC and of one message on each of ``others``.

    Those are (topic, type, schema encoding, definition, message encoding).
    """
    with path.open("wb") as stream:
        writer = Writer(stream, **options)
        writer.start("ros2", "test")
        schema = writer.register_schema(COMPRESSED_TYPE, definition[0], definition[1].encode())
        images = writer.register_channel(TOPIC, encoding, schema)
        for topic, kind, form, text, written in others:
            schema = writer.register_schema(kind, form, text.encode())
            channel = writer.register_channel(topic, written, schema)
            writer.add_message(channel, FIRST_NS, b"\0\1\0\0nothing", FIRST_NS)
        for number, data in enumerate(frames):
            stamp = FIRST_NS + number * STEP_NS
            writer.add_message(images, stamp, data, stamp)
        writer.finish()
    return path


def db3(path, frames, *, definitions=None, others=(), journal=""):
    """A SQLite file as Jazzy (with ``definitions``) or Humble writes it; the connection is open."""
    database = sqlite3.connect(path)
    if journal:
        database.execute(f"PRAGMA journal_mode={journal}")
        database.execute("PRAGMA wal_autocheckpoint=0")
    database.executescript(
        "CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT, type TEXT,"
        " serialization_format TEXT, offered_qos_profiles TEXT);"
        "CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER, timestamp INTEGER,"
        " data BLOB);"
    )
    if definitions is not None:
        database.execute(
            "CREATE TABLE message_definitions(id INTEGER PRIMARY KEY, topic_type TEXT,"
            " encoding TEXT, encoded_message_definition TEXT, type_description_hash TEXT)"
        )
        database.executemany(
            "INSERT INTO message_definitions(topic_type, encoding, encoded_message_definition,"
            " type_description_hash) VALUES(?, ?, ?, '')",
            definitions,
        )
    rows = [(TOPIC, COMPRESSED_TYPE), *others]
    database.executemany(
        "INSERT INTO topics(name, type, serialization_format, offered_qos_profiles)"
        " VALUES(?, ?, 'cdr', 'what nobody can parse: [')",
        rows,
    )
    add(database, frames)
    return database


def add(database, frames, first=0):
    database.executemany(
        "INSERT INTO messages(topic_id, timestamp, data) VALUES(1, ?, ?)",
        [(FIRST_NS + (first + n) * STEP_NS, data) for n, data in enumerate(frames)],
    )
    database.commit()


def metadata(folder, names, count=FRAMES, **changes):
    topic = {"name": TOPIC, "type": COMPRESSED_TYPE, "serialization_format": "cdr"}
    about = {
        "version": 9,
        "storage_identifier": "mcap",
        "relative_file_paths": names,
        "topics_with_message_count": [{"message_count": count, "topic_metadata": topic}],
        "message_count": count,
        **changes,
    }
    (folder / "metadata.yaml").write_text(yaml.safe_dump({"rosbag2_bagfile_information": about}))
    return folder


def stamps_of(path, **options):
    return [frame.stamp_ns for frame in open_source(str(path), **options)]


WHOLE = [FIRST_NS + n * STEP_NS for n in range(FRAMES)]

# Topics that nobody here understands: type, schema encoding, definition, message encoding.
STRANGERS = [
    ("nav_pkg/action/Go_FeedbackMessage", "unknown", "", "cdr"),
    ("pkg/msg/A", "", "", "cdr"),
    ("pkg/msg/A", "ros2msg", "", "cdr"),
    ("pkg/msg/A", "ros2msg", "this is ? no definition", "cdr"),
    ("pkg/msg/A", "ros2msg", "missing/Type field", "cdr"),
    ("pkg/msg/A", "ros2idl", "module { not idl", "cdr"),
    ("pkg/msg/A", "omgidl", "\N{SNOWMAN}", "cdr"),
    ("foxglove.Grid", "protobuf", "\x08\x01", "protobuf"),
    ("Any", "jsonschema", '{"type": "object"}', "json"),
    ("codesign_ros/msg/Newer", "flatbuffer", "x", "flatbuffer"),
]


@pytest.mark.parametrize("stranger", STRANGERS)
def test_a_topic_that_cannot_be_understood_hides_nothing(tmp_path, stranger):
    kind, form, text, written = stranger
    file = mcap(tmp_path / "a.mcap", messages(), [("/other", kind, form, text, written)])
    assert stamps_of(file) == WHOLE
    definitions = [(kind, form, text), (COMPRESSED_TYPE, "ros2msg", DEFINITION)]
    other = [("/other", kind)]
    db3(tmp_path / "b.db3", messages(), definitions=definitions, others=other).close()
    assert stamps_of(tmp_path / "b.db3") == WHOLE


@pytest.mark.parametrize("definition", [("unknown", ""), ("", ""), ("ros2msg", "no ? msg")])
def test_pictures_need_no_definition(tmp_path, definition):
    assert stamps_of(mcap(tmp_path / "a.mcap", messages(), definition=definition)) == WHOLE


@pytest.mark.parametrize(
    "options",
    [
        {"compression": CompressionType.NONE},
        {"compression": CompressionType.LZ4},
        {"compression": CompressionType.ZSTD},
        {"use_chunking": False},
        {"index_types": IndexType.NONE, "use_statistics": False, "repeat_channels": False},
        {"use_chunking": False, "use_statistics": False, "use_summary_offsets": False},
    ],
)
def test_all_ways_to_write_mcap(tmp_path, options):
    assert stamps_of(mcap(tmp_path / "a.mcap", messages(), **options)) == WHOLE


def test_another_form_of_messages_is_named(tmp_path):
    file = mcap(tmp_path / "a.mcap", messages(), encoding="protobuf")
    with pytest.raises(CodesignError, match="on /cam/compressed are written as 'protobuf'") as said:
        open_source(str(file))
    assert "damaged" not in str(said.value)


def test_edited_metadata(tmp_path):
    for name, changes in (
        ("empty_storage", {"storage_identifier": ""}),
        ("wrong_storage", {"storage_identifier": "sqlite3"}),
        ("new_version", {"version": 12}),
        ("fewer", {"count": 2}),
        ("old_paths", {"names": ["somewhere/else/a_0.mcap"]}),
    ):
        folder = tmp_path / name
        folder.mkdir()
        mcap(folder / "a_0.mcap", messages())
        metadata(folder, changes.pop("names", ["a_0.mcap"]), **changes)
        assert stamps_of(folder) == WHOLE, name


def test_metadata_that_says_more_than_there_is(tmp_path):
    mcap(tmp_path / "a_0.mcap", messages())
    with pytest.raises(CodesignError, match=f"damaged: {FRAMES} of 9 frames on {TOPIC}"):
        open_source(str(metadata(tmp_path, ["a_0.mcap"], count=9)))
    with pytest.raises(CodesignError, match=r"names a_1\.mcap, which is not there"):
        open_source(str(metadata(tmp_path, ["a_0.mcap", "a_1.mcap"])))


def test_files_that_metadata_do_not_name_are_said(tmp_path):
    for name in ("a_0.mcap", "a_1.mcap", "other_0.mcap"):
        mcap(tmp_path / name, messages())
    source = open_source(str(metadata(tmp_path, ["a_0.mcap"])))
    (line,) = source.warnings
    assert "its metadata.yaml does not name a_1.mcap, left out; ros2 bag reindex" in line
    assert source.frames == FRAMES
    (tmp_path / "a_1.mcap").unlink()
    assert open_source(str(tmp_path)).warnings == ()


def test_a_file_that_metadata_name_twice_is_read_once(tmp_path):
    mcap(tmp_path / "a_0.mcap", messages())
    assert stamps_of(metadata(tmp_path, ["a_0.mcap", "a_0.mcap"])) == WHOLE


def test_metadata_too_deep_to_read(tmp_path):
    mcap(tmp_path / "a_0.mcap", messages())
    (tmp_path / "metadata.yaml").write_text("[" * 5000)
    with pytest.raises(CodesignError, match=r"metadata.yaml is damaged \(maximum recursion"):
        open_source(str(tmp_path))


def test_a_bag_in_several_files(tmp_path):
    names = [f"a_{number}.mcap" for number in range(12)]
    for number, name in enumerate(names):
        with (tmp_path / name).open("wb") as stream:
            writer = Writer(stream)
            writer.start("ros2")
            schema = writer.register_schema(COMPRESSED_TYPE, "ros2msg", DEFINITION.encode())
            stamp = FIRST_NS + number * STEP_NS
            channel = writer.register_channel(TOPIC, "cdr", schema)
            writer.add_message(channel, stamp, message(number), stamp)
            writer.finish()
    found = stamps_of(metadata(tmp_path, names, count=12))
    assert found == [FIRST_NS + n * STEP_NS for n in range(12)]


@pytest.mark.parametrize("name", ["100%", "what?", "a#b", "two words", "Grube ä 矿", "a&b=c;d"])
@pytest.mark.parametrize("suffix", [".mcap", ".db3"])
def test_names_of_folders_and_files(tmp_path, name, suffix):
    folder = tmp_path / name
    folder.mkdir()
    file = folder / f"{name}{suffix}"
    if suffix == ".db3":
        db3(file, messages()).close()
    else:
        mcap(file, messages())
    assert stamps_of(file) == WHOLE
    assert stamps_of(metadata(folder, [file.name])) == WHOLE


def test_what_a_killed_recorder_left_in_the_log(tmp_path):
    made = tmp_path / "made"
    made.mkdir()
    database = db3(made / "a.db3", messages(3), journal="WAL")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    add(database, messages(FRAMES)[3:], first=3)
    killed = tmp_path / "killed"
    shutil.copytree(made, killed)
    database.close()
    assert (killed / "a.db3-wal").stat().st_size > 0
    assert stamps_of(killed / "a.db3") == WHOLE
    assert not BagSource(killed / "a.db3").warnings
    # Copied while it was written, or something else under its name.
    whole = (killed / "a.db3-wal").read_bytes()
    for log in (whole[:-7], whole[: len(whole) // 2 + 1], whole[:20], b"x" * len(whole)):
        folder = tmp_path / f"cut {len(log)} {log[:1]}"
        folder.mkdir()
        shutil.copy(killed / "a.db3", folder)
        (folder / "a.db3-wal").write_bytes(log)
        (warning,) = BagSource(folder / "a.db3").warnings
        assert "has no end in a.db3, which a recorder writes last; the " in warning
        assert stamps_of(folder / "a.db3") == WHOLE[: BagSource(folder / "a.db3").frames]


@pytest.mark.parametrize("suffix", [".mcap", ".db3", ".mcap.zstd"])
@pytest.mark.parametrize("left", ["nothing", "an empty file"])
def test_a_recorder_that_was_killed_before_it_wrote_metadata(tmp_path, suffix, left):
    for number in range(12):  # "..._10" comes after "..._9"
        file = tmp_path / f"shift.2024_7_{number}{suffix}"
        frames = [message(number)]
        if suffix == ".db3":
            db3(file, frames).close()
        else:
            plain = mcap(tmp_path / "plain.mcap", frames)
            content = plain.read_bytes()
            plain.unlink()
            file.write_bytes(zstandard.compress(content) if suffix != ".mcap" else content)
    if left != "nothing":
        (tmp_path / "metadata.yaml").touch()
    source = open_source(str(tmp_path))
    assert len(list(source)) == 12
    assert [frame.rgb()[0, 0, 0] // 20 for frame in source] == list(range(12))
    assert source.warnings == (
        f"bag {tmp_path} has no metadata.yaml, which a recorder writes last; "
        f"the 12 frames that are there on {TOPIC} are indexed on the fly",
    )
    limited = open_chosen(str(tmp_path), ClassChoice.given(None, None, False), "", (), frames=2)
    assert limited.warnings == source.warnings


def test_files_of_several_recordings_are_not_one(tmp_path):
    for name in ("2024.01.01.mcap", "2024.01.02.mcap"):
        mcap(tmp_path / name, messages())
    with pytest.raises(CodesignError, match=r"of 2 recordings; name one of them, as in .*01\.mcap"):
        open_source(str(tmp_path))


@pytest.mark.parametrize("name", ["a.mcap", "a.db3", "a.bag", "a.mcap.zstd"])
def test_a_file_that_git_did_not_fetch(tmp_path, name):
    (tmp_path / name).write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"
    )
    with pytest.raises(CodesignError, match=f"{name} was not fetched, it is a pointer of Git LFS"):
        open_source(str(tmp_path / name))


def test_a_path_from_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    mcap(tmp_path / "a.mcap", messages())
    assert stamps_of("~/a.mcap") == WHOLE


def test_a_file_that_was_being_packed(tmp_path):
    content = mcap(tmp_path / "a_0.mcap", messages()).read_bytes()
    (tmp_path / "a_0.mcap.zstd").write_bytes(zstandard.compress(content)[:-50])
    assert stamps_of(tmp_path) == WHOLE


@pytest.mark.parametrize(
    "options",
    [
        {"use_chunking": False},
        {"compression": CompressionType.NONE, "chunk_size": 1},
        {"compression": CompressionType.ZSTD, "chunk_size": 1},
        {"compression": CompressionType.LZ4, "chunk_size": 1},
    ],
)
def test_every_frame_before_the_cut_is_there(tmp_path, options):
    whole = mcap(tmp_path / "a_0.mcap", messages(), **options)
    content = whole.read_bytes()
    # Where each message's bytes end, found without reading MCAP; packed ones are not found.
    is_plain = options.get("compression", CompressionType.NONE) is CompressionType.NONE
    ends = [content.find(data) + len(data) for data in messages()] if is_plain else []
    counts = []
    for cut in sorted({*range(60, len(content), 97), *ends, *(end - 1 for end in ends)}):
        (tmp_path / "cut_0.mcap").write_bytes(content[:cut])
        expected, source = sum(end <= cut for end in ends), None
        try:
            source = BagSource(tmp_path / "cut_0.mcap")
        except CodesignError as error:
            said = str(error)
        else:
            (said,) = source.warnings
            assert [frame.stamp_ns for frame in source] == WHOLE[: source.frames]
        counts.append(source.frames if source else 0)
        why = f"no end in cut_0.mcap, which a recorder writes last; the {counts[-1]} frames"
        assert (why if source else "cut off before its first message") in said
        assert not is_plain or counts[-1] == expected
    assert counts == sorted(counts)
    assert {1, FRAMES} <= {*counts}


def test_a_cut_file_whose_metadata_say_more_is_damaged(tmp_path):
    content = mcap(tmp_path / "a_0.mcap", messages(), use_chunking=False).read_bytes()
    cut = content.find(messages()[3])
    (tmp_path / "a_0.mcap").write_bytes(content[:cut])
    with pytest.raises(CodesignError, match=f"damaged: 3 of {FRAMES} frames on {TOPIC}"):
        open_source(str(metadata(tmp_path, ["a_0.mcap"])))


@pytest.mark.parametrize("suffix", [".mcap", ".db3"])
def test_files_and_messages_that_are_compressed(tmp_path, suffix):
    plain = tmp_path / f"a{suffix}"
    packed = [zstandard.compress(data) for data in messages()]
    if suffix == ".db3":
        db3(plain, messages()).close()
        db3(tmp_path / f"b{suffix}", packed).close()
    else:
        mcap(plain, messages())
        mcap(tmp_path / f"b{suffix}", packed)
    assert stamps_of(tmp_path / f"b{suffix}") == WHOLE
    whole = tmp_path / f"c{suffix}.zstd"
    whole.write_bytes(zstandard.compress(plain.read_bytes()))
    assert stamps_of(whole) == WHOLE
    names = {"relative_file_paths": [whole.name], "compression_mode": "FILE"}
    assert stamps_of(metadata(tmp_path, [whole.name], **names)) == WHOLE


@pytest.mark.parametrize("magic", [b"\x04\x22\x4d\x18", b"\x28\xb5\x2f\xfd"])
def test_what_cannot_be_decompressed(tmp_path, magic):
    sound = messages()
    broken = [sound[0], magic + sound[1], *sound[2:]]
    frames = list(open_source(str(mcap(tmp_path / "a.mcap", broken))))
    assert [len(frame.data) > 0 for frame in frames] == [n != 1 for n in range(len(sound))]
    whole = tmp_path / "b.mcap.zstd"
    whole.write_bytes(magic + b" and more")
    with pytest.raises(CodesignError, match=r"it is damaged: b\.mcap\.zstd"):
        open_source(str(whole))


def test_the_database_of_something_else(tmp_path):
    database = sqlite3.connect(tmp_path / "a.db3")
    database.execute("CREATE TABLE cookies(id)")
    database.commit()
    database.close()
    with pytest.raises(CodesignError, match="no recording of ROS") as said:
        open_source(str(tmp_path / "a.db3"))
    assert "damaged" not in str(said.value)


@pytest.mark.parametrize("broken", [b"", b"no picture", jpeg(1)[:-40]])
def test_a_broken_frame_in_the_middle(tmp_path, broken):
    frames = messages()
    frames[2] = message(2, broken)
    source = open_source(str(mcap(tmp_path / "a.mcap", frames)))
    played = list(source)
    assert [frame.stamp_ns for frame in played] == WHOLE
    with pytest.raises(ImageError):
        played[2].rgb()
    chosen = open_chosen(str(tmp_path / "a.mcap"), ClassChoice.given(None, None, False), "", ())
    assert [frame.stamp_ns for frame in chosen] == WHOLE[:2] + WHOLE[3:]
    (said,) = chosen.broken
    assert said.startswith("frame 2 is broken and is left out: ")


def test_where_no_frame_can_be_decoded_the_reason_is_told(tmp_path):
    """Depth images, for one: no command should say only that there is no frame."""
    frames = [message(number, b"no picture") for number in range(3)]
    bag = str(mcap(tmp_path / "a.mcap", frames))
    chosen = open_chosen(bag, ClassChoice.given(None, None, False), "", ())
    words = r"no frame can be decoded: frame 0 is broken .*neither JPEG nor PNG.*; and 2 more"
    with pytest.raises(CodesignError, match=words):
        list(chosen)


@pytest.mark.parametrize("in_bag", [True, False])
def test_a_picture_whose_kind_is_refused_says_why(tmp_path, in_bag):
    depth = cv2.imencode(".png", np.zeros((48, 64), np.uint16))[1].tobytes()
    absurd = depth[:16] + b"\x7f\xff\xff\xff" * 2 + b"\x08" + depth[25:]
    if in_bag:
        frames = [message(number, data) for number, data in enumerate((depth, absurd))]
        source = open_source(str(mcap(tmp_path / "a.mcap", frames)))
    else:
        for name, data in (("a.png", depth), ("b.png", absurd)):
            (tmp_path / name).write_bytes(data)
        source = open_source(str(tmp_path))
    of_depth, of_absurd = source
    with pytest.raises(ImageError, match="16 bits of grey is depth, no picture"):
        of_depth.rgb()
    with pytest.raises(ImageError, match="2147483647x2147483647 has no usable size"):
        of_absurd.rgb()


def test_many_broken_frames_are_one_line(tmp_path, capsys):
    frames = [message(number, b"no picture") for number in range(3)]
    source = str(mcap(tmp_path / "a.mcap", [*frames, *messages()[3:]]))
    chosen = open_chosen(source, ClassChoice.given(None, None, False), "", ())
    print_broken(chosen)
    assert not capsys.readouterr().err
    assert len(list(chosen)) == len(messages()) - 3
    print_broken(chosen)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: frame 0 is broken and is left out: ")
    assert line.endswith("; and 2 more could not be decoded")


def test_a_message_that_is_none(tmp_path):
    frames = messages()
    frames[2] = frames[2][:20]
    played = list(open_source(str(mcap(tmp_path / "a.mcap", frames))))
    assert [frame.stamp_ns for frame in played] == WHOLE
    with pytest.raises(ImageError):
        played[2].rgb()


@pytest.mark.parametrize("data", ["text", "\udcff", None, 7, 1.5])
def test_a_message_that_is_no_blob_costs_one_frame(tmp_path, data):
    database = db3(tmp_path / "a.db3", messages())
    stored = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
    as_text = "CAST(? AS TEXT)" if isinstance(data, str) else "?"
    database.execute(f"UPDATE messages SET data = {as_text} WHERE id = 3", (stored,))
    database.commit()
    database.close()
    played = list(open_source(str(tmp_path / "a.db3")))
    assert [frame.stamp_ns for frame in played] == WHOLE
    with pytest.raises(ImageError):
        played[2].rgb()
    assert [played[n].rgb().shape for n in (0, 1, 3, 4)] == [(48, 64, 3)] * 4


@pytest.mark.parametrize("stamp", ["abc", 1.5, None, "2026-11-30\n12:00"])
@pytest.mark.parametrize("which", [1, 3, FRAMES])
def test_a_time_of_recording_that_is_none(tmp_path, stamp, which):
    database = db3(tmp_path / "a.db3", messages())
    database.execute("UPDATE messages SET timestamp = ? WHERE id = ?", (stamp, which))
    database.commit()
    database.close()
    with pytest.raises(CodesignError) as caught:
        open_source(str(tmp_path / "a.db3"))
    said = " ".join(str(stamp).split())
    assert str(caught.value) == (
        f"bag {tmp_path / 'a.db3'}: a message on {TOPIC} has a time of recording that is no whole "
        f"number of nanoseconds: {said}"
    )


def test_a_second_topic_of_pictures_counts_where_it_has_some(tmp_path):
    other = [("/raw", IMAGE_TYPE)]
    database = db3(tmp_path / "a.db3", messages(), others=other)
    assert BagSource(tmp_path / "a.db3").topic == TOPIC
    database.execute("INSERT INTO messages(topic_id, timestamp, data) VALUES(2, 1, 'x')")
    database.commit()
    database.close()
    with pytest.raises(CodesignError, match=r"several image topics: /.*; choose one with --topic$"):
        BagSource(tmp_path / "a.db3")
    with pytest.raises(CodesignError, match=r"; choose one with source_topic$"):
        open_source(str(tmp_path / "a.db3"), topic_option="source_topic")


def test_ground_truth_that_cannot_be_read_is_counted(tmp_path):
    kind = "codesign_ros/msg/GroundTruth"
    others = [("/camera/ground_truth", kind, "unknown", "", "cdr")]
    source = BagSource(mcap(tmp_path / "a.mcap", messages(), others))
    assert source.warnings == (
        f"bag {tmp_path / 'a.mcap'}: 1 messages of ground truth cannot be read and are left out",
    )
    assert len(list(source)) == FRAMES
