import itertools
from dataclasses import replace

import cv2
import numpy as np
import pytest

from codesign_ros.mine.figures.body import draw_figure
from codesign_ros.mine.figures.clothes import Stuff
from codesign_ros.mine.figures.figure import Canvas
from codesign_ros.mine.figures.pose import joints
from codesign_ros.mine.generator import CLASS_SHARES, CLASSES, MineGenerator
from codesign_ros.mine.layout import place_people
from codesign_ros.mine.optics import Optics
from codesign_ros.mine.people import POSES, draw_person
from codesign_ros.mine.props import Prop
from codesign_ros.mine.render import render
from codesign_ros.mine.scene import PROP_KINDS, draw_scene
from codesign_ros.mine.site import draw_site

FRAMES = 32


@pytest.fixture(scope="module")
def frames():
    mine = MineGenerator(11)
    return [mine.frame(index) for index in range(FRAMES)]


def some_person(helmet, **changes):
    """A person in the open, three to nine metres before the camera, and the empty scene."""
    rng = np.random.default_rng(5)
    person = draw_person(rng, helmet=helmet is not None)
    plain = {
        "pose": "stand",
        "speed": (0.0, 0.0),
        "lamp_on": False,
        "arm": 0.3,
        "look": 0.0,
        "helmet": helmet,
    }
    return replace(person, **{**plain, **changes})


def open_scene(seed):
    scene = draw_scene(np.random.default_rng(seed))
    camera = replace(scene.camera, x_m=0.0, y_m=1.3, yaw=0.0, pitch=0.0)
    air = replace(scene.air, haze=0.01)
    profile = replace(scene.profile, bend=0.0)
    sensor = replace(scene.sensor, shake_px=(0.0, 0.0), soft_px=0.0)
    scene = replace(scene, camera=camera, air=air, profile=profile, sensor=sensor)
    return replace(scene, props=(), optics=Optics(), head_px=(8.0, 60.0))


def shot(scene, people, exposure=None, **options):
    return render(scene, people, np.random.default_rng(1), exposure=exposure, **options)


def changed_box(one, two, threshold=10):
    """Rectangle (x_min, y_min, x_max, y_max) around the pixels in which two pictures differ."""
    change = np.abs(one.astype(int) - two).max(axis=2) > threshold
    x, y, width, height = cv2.boundingRect(change.astype(np.uint8))
    return np.array((x, y, x + width, y + height))


def corners(box):
    return np.array((box.x_min, box.y_min, box.x_max, box.y_max))


def test_a_frame_depends_on_seed_and_index_alone(frames):
    again = MineGenerator(11)
    for index in (7, 2):
        frame = again.frame(index)
        assert np.array_equal(frame.image, frames[index].image)
        assert frame.truth == frames[index].truth
    assert not np.array_equal(MineGenerator(12).frame(2).image, frames[2].image)


def test_frames_are_pictures(frames):
    for frame in frames:
        assert frame.image.shape == (400, 640, 3)
        assert frame.image.dtype == np.uint8
        assert 5 < frame.image.mean() < 250  # neither black nor white
        assert frame.image.std() > 5


def test_label_agrees_with_boxes(frames):
    for frame in frames:
        labels = {box.label for box in frame.truth.boxes}
        expected = (
            "bare-headed" if "head" in labels else "helmets" if "helmet" in labels else "empty"
        )
        assert frame.truth.label == expected
        assert labels <= {"person", "helmet", "head"}
        assert bool(labels) == (expected != "empty")


def test_every_class_occurs(frames):
    seen = [frame.truth.label for frame in frames]
    assert set(seen) == set(CLASSES)
    assert abs(sum(CLASS_SHARES) - 1) < 1e-9


def test_boxes_lie_in_the_picture_and_heads_have_their_size(frames):
    for frame in frames:
        for box in frame.truth.boxes:
            assert 0 <= box.x_min < box.x_max <= 640
            assert 0 <= box.y_min < box.y_max <= 400
            if box.label != "person":
                # The peak sticks out when seen from the side, a part may be hidden.
                assert 4 <= box.x_max - box.x_min <= 1.5 * 150


@pytest.mark.parametrize(("distance_m", "facing"), [(3.2, 0.3), (6.0, 1.7), (9.5, 3.0)])
def test_helmet_box_encloses_helmet_and_face_and_the_shell_box_the_helmet(distance_m, facing):
    scene = open_scene(3)
    yellow = some_person("yellow", x_m=0.2, z_m=distance_m, facing=facing, ear_defenders=False)
    first = shot(scene, [yellow])
    second = shot(scene, [replace(yellow, helmet="blue")], first.exposure)
    # Only the helmet has another colour, so the changed pixels are the helmet's.
    found = changed_box(first.image, second.image)
    shell = shot(scene, [yellow], shell_boxes=True)
    (shell_box,) = [b for b in shell.truth.boxes if b.label == "helmet"]
    assert np.abs(found - corners(shell_box)).max() <= 2
    assert np.array_equal(shell.image, first.image)
    # The chin is where that of the same person without a helmet is.
    bare = shot(scene, [replace(yellow, helmet=None)], first.exposure)
    (head,) = [corners(b) for b in bare.truth.boxes if b.label == "head"]
    (box,) = [corners(b) for b in first.truth.boxes if b.label == "helmet"]
    assert np.abs(box[:3] - found[:3]).max() <= 2
    assert abs(box[3] - head[3]) <= 1
    assert box[3] > shell_box.y_max + 0.25 * (shell_box.y_max - shell_box.y_min)


@pytest.mark.parametrize("distance_m", [3.2, 6.0])
def test_head_and_person_boxes_enclose_the_person(distance_m):
    scene = open_scene(4)
    person = some_person(None, x_m=-0.2, z_m=distance_m, facing=0.2, hair=0, hair_line=0.4)
    empty = shot(scene, [])
    first = shot(scene, [person], empty.exposure)
    boxes = {box.label: corners(box) for box in first.truth.boxes}
    assert set(boxes) == {"head", "person"}
    # Above the knees nothing but the person changes (below, the shadow does).
    body = boxes["person"]
    knees = int(body[1] + 0.7 * (body[3] - body[1]))
    found = changed_box(first.image[:knees], empty.image[:knees], 24)
    assert (found[:2] >= body[:2] - 2).all()
    assert found[2] <= body[2] + 2
    assert abs(found[1] - body[1]) <= 3
    other_hair = shot(scene, [replace(person, hair=3)], empty.exposure)
    hair = changed_box(first.image, other_hair.image)
    head = boxes["head"]
    assert (hair[:2] >= head[:2] - 2).all()
    assert (hair[2:] <= head[2:] + 2).all()
    assert abs(hair[1] - head[1]) <= 2


def test_boxes_are_clipped_at_the_edge():
    scene = open_scene(4)
    half_out = some_person("red", x_m=0.0, z_m=4.0, facing=0.0)
    camera = scene.camera
    edge_x_m = camera.x_m + 320 / camera.focal_px * 4.0
    rendered = shot(scene, [replace(half_out, x_m=edge_x_m)])
    (person,) = [b for b in rendered.truth.boxes if b.label == "person"]
    assert person.x_max == 640


def test_who_is_hidden_decides_nothing():
    scene = open_scene(6)
    person = some_person(None, x_m=0.0, z_m=6.0, facing=0.0)
    wall = Prop("crate", 0.0, 4.0, 1.6, 2.4, 0.4, (0.1, 0.1, 0.1), 3)
    assert shot(scene, [person]).truth.label == "bare-headed"
    hidden = shot(replace(scene, props=(wall,)), [person])
    assert hidden.truth.label == "empty"
    assert hidden.truth.boxes == ()
    assert not hidden.ambiguous


def test_a_hidden_head_over_a_visible_body_is_reported():
    scene = open_scene(6)
    person = some_person("white", x_m=0.0, z_m=6.0, facing=0.0)
    in_front = some_person("red", x_m=0.0, z_m=3.0, facing=0.0, height_m=1.75)
    beside = replace(person, x_m=0.42)
    assert not shot(scene, [beside]).ambiguous
    assert "helmet" in {b.label for b in shot(scene, [in_front, beside]).truth.boxes}
    board = Prop("crate", 0.0, 4.0, 1.0, 1.75, 0.1, (0.1, 0.1, 0.1), 3)
    low = Prop("crate", 0.0, 4.0, 1.0, 0.9, 0.1, (0.1, 0.1, 0.1), 3)
    assert shot(replace(scene, props=(board,)), [person]).truth.boxes == ()
    waist_up = shot(replace(scene, props=(low,)), [person])
    assert {b.label for b in waist_up.truth.boxes} == {"person", "helmet"}


def test_nobody_is_placed_in_an_empty_scene_and_bare_heads_where_wanted():
    rng = np.random.default_rng(0)
    scene = open_scene(8)
    assert place_people(rng, scene, "empty", seconds=0.0, drive_mps=0.0) == []
    people = place_people(rng, scene, "bare-headed", seconds=0.0, drive_mps=0.0)
    assert people
    assert any(person.helmet is None for person in people)
    people = place_people(rng, scene, "helmets", seconds=2.0, drive_mps=0.3)
    assert people
    assert all(person.helmet is not None for person in people)


def test_a_film_is_deterministic_and_has_all_classes():
    first = list(MineGenerator(3).sequence(90, fps=4.0))
    assert len(first) == 90
    again = itertools.islice(MineGenerator(3).sequence(90, fps=4.0), 12)
    for frame, same in zip(first, again, strict=False):
        assert np.array_equal(frame.image, same.image)
        assert frame.truth == same.truth
    shares = [sum(f.truth.label == name for f in first) / 90 for name in CLASSES]
    assert np.abs(np.array(shares) - CLASS_SHARES).max() < 0.13


def test_a_film_moves_within_a_shot_and_is_one_without_end():
    film = MineGenerator(4).sequence(None)
    first, second = next(film), next(film)
    assert not np.array_equal(first.image, second.image)
    # Two thirtieths of a second apart, the place is the same.
    assert np.abs(first.image.astype(int) - second.image).mean() < 12
    film.close()


def test_cameras_and_places_of_all_kinds_occur():
    scenes = [draw_scene(np.random.default_rng((1, i))) for i in range(120)]
    optics = [scene.optics for scene in scenes]
    assert any(o.infrared for o in optics)
    assert any(o.flare for o in optics)
    assert any(o.drops for o in optics)
    assert any(o.dirt for o in optics)
    assert any(max(map(abs, o.smear_px)) > 3 for o in optics)
    assert any(scene.air.haze > 0.05 for scene in scenes)
    assert any(scene.crowd > 4 for scene in scenes)
    assert {prop.kind for scene in scenes for prop in scene.props} == set(PROP_KINDS)


def test_an_infrared_picture_is_grey_and_its_strips_glare():
    scene = open_scene(4)
    person = some_person("white", x_m=0.0, z_m=4.0, facing=0.0, tape=True, vest=None)
    infrared = replace(scene, optics=Optics(infrared=(0.2, 0.3, 0.5), retro=20.0, bloom=0.5))
    image = shot(replace(infrared, sensor=replace(scene.sensor, noise=0.0)), [person]).image
    assert np.ptp(image.astype(int), axis=2).max() <= 2
    plain = replace(infrared, optics=replace(infrared.optics, retro=0.0))
    dull = shot(replace(plain, sensor=replace(scene.sensor, noise=0.0)), [person]).image
    assert (image > 250).sum() > (dull > 250).sum() + 100


@pytest.mark.parametrize("pose", POSES)
def test_nobody_floats_and_everyone_has_arms_a_neck_and_a_head(pose):
    person = some_person(None, pose=pose, phase=1.0, arm=0.3, height_m=1.75)
    joints_ = joints(person)
    canvas = Canvas(420, 420, 100.0, (210.0, 300.0))
    draw_figure(canvas, person, joints_, 0.0)
    lowest = canvas.y[np.flatnonzero(canvas.ident.any(axis=1)).max(), 0]
    assert abs(lowest) < 0.05  # metres from the ground
    assert {Stuff.SLEEVE, Stuff.FACE, Stuff.NECK} <= set(np.unique(canvas.ident))
    # One piece: no limb hangs in the air.
    assert cv2.connectedComponents((canvas.ident > 0).astype(np.uint8))[0] == 2


def test_a_place_above_ground_is_bright_and_has_people():
    days = [draw_site(np.random.default_rng((2, i))) for i in range(6)]
    assert all(day.sun is not None and day.backdrop.shape == (400, 640, 3) for day in days)
    assert np.median([day.backdrop.mean() for day in days]) > 0.1
    people = place_people(np.random.default_rng(3), days[0], "helmets", seconds=0.0, drive_mps=0.0)
    assert shot(days[0], people).truth.label == "helmets"
