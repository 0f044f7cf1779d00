"""A folder is read by what lies where: splits are never classes, and what is left out is told."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ftcourse as ft
from ftcourse.data import photo_formats
from ftcourse.data.folders import Folder, scan
from ftcourse.data.split_names import role_of, roles_of
from ftcourse.shipping.inference import find_photos
from tests.data.test_loading import class_folders, load, photo

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="named pipes and links of POSIX")


def tree(root: Path, *names: str) -> Path:
    """Empty files of these names: `scan` opens none."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def inside(root: Path, *folders: str, n: int = 2) -> Path:
    return tree(root, *(f"{folder}/{i}.jpg" for folder in folders for i in range(n)))


def counts(found: Folder) -> dict[str, int]:
    return {split: len(photos) for split, photos in found.splits().items()}


def problem(found: Folder) -> str:
    assert len(found.problems) == 1, found.problems
    return found.problems[0]


# --- splits --------------------------------------------------------------------------------------

NAMES = [
    ("training_set", "test_set"), ("seg_train", "seg_test"), ("train", "dev"), ("train", "validate"),
    ("train", "eval"), ("train_images", "test_images"), ("Training", "Testing"), ("cars_train", "cars_test"),
    ("train2017", "val2017"), ("train", "test1"), ("trainset", "testset"), ("fold1", "fold2"),
    ("train", "hold-out"), ("Entraînement", "Validation"), ("entrenamiento", "prueba"), ("treino", "teste"),
    ("训练集", "测试集"), ("学習", "テスト"),
]  # fmt: skip


@pytest.mark.parametrize("pair", NAMES, ids="/".join)
def test_split_folders_under_other_names_are_splits_and_a_note_says_how_they_are_read(
    tmp_path, pair
):
    found = scan(
        inside(tmp_path, *(f"{top}/{label}" for top in pair for label in ("cats", "dogs")))
    )
    assert found.classes == ["cats", "dogs"] and not found.problems
    assert found.layout == "splits" and len(found.splits()) == 2 and "train" in found.splits()
    assert any(f"{pair[0]}/ as train" in note for note in found.notes)


@settings(max_examples=60, deadline=None)
@given(
    tops=st.lists(st.text("abcdefgh", min_size=1, max_size=6), min_size=2, max_size=4, unique=True),
    labels=st.lists(
        st.text("pqrstuvw", min_size=2, max_size=6), min_size=2, max_size=4, unique=True
    ),
)
def test_folders_that_hold_the_same_folders_are_splits_or_a_problem_never_classes(tops, labels):
    with TemporaryDirectory() as root:
        found = scan(inside(Path(root), *(f"{top}/{label}" for top in tops for label in labels)))
        if found.problems:
            assert "name them train/, val/, test/" in problem(found) and not found.photos
        else:
            assert set(found.classes) <= {*labels, *tops} and found.layout == "splits"


def test_names_that_do_not_say_which_splits_are_an_error_that_says_what_is_expected(tmp_path):
    for k, name in enumerate(
        f"part {p}/{c}/{i}" for p in ("one", "two") for c in ("cats", "dogs") for i in "123"
    ):
        photo(tmp_path / f"{name}.png", seed=k)
    with pytest.raises(
        ValueError, match=r"part one/ and part two/ hold the same folders \(cats/, dogs/\).*train/"
    ):
        load(tmp_path)
    finding = ft.audit(tmp_path).findings[0]
    assert (finding.kind, finding.severity) == ("layout", "error")
    assert load(tmp_path, layout="classes").classes == ["part one", "part two"]
    with pytest.raises(ValueError, match="layout='splits'"):
        load(tmp_path, layout="splits")


def test_a_test_split_may_lack_a_class(tmp_path):
    found = scan(
        inside(tmp_path, "seg_train/a", "seg_train/b", "seg_train/c", "seg_test/a", "seg_test/b")
    )
    assert found.classes == ["a", "b", "c"] and not found.problems
    assert "test/ has no photos of c: nothing is measured for it." in found.notes


def test_years_and_cameras_inside_of_classes_are_no_classes(tmp_path):
    found = scan(inside(tmp_path, "cats/2023", "cats/2024", "dogs/2023", "dogs/2024"))
    assert found.classes == ["cats", "dogs"] and not found.problems
    found = scan(
        inside(tmp_path / "b", "ant/100CANON", "ant/101CANON", "bee/100CANON", "bee/101CANON")
    )
    assert found.classes == ["ant", "bee"]


def test_classes_with_one_folder_each_are_classes(tmp_path):
    assert scan(inside(tmp_path, "n01/images", "n02/images")).classes == ["n01", "n02"]


def test_a_stray_photo_in_a_split_folder_is_told_and_changes_nothing(tmp_path):
    found = scan(
        tree(inside(tmp_path, "train/a", "train/b", "test/a", "test/b"), "train/stray.jpg")
    )
    assert found.layout == "splits" and found.classes == ["a", "b"]
    assert found.left_out == [("train/stray.jpg", "lies beside the class folders")]


def test_the_last_fold_is_the_test_and_the_one_before_it_validation(tmp_path):
    found = scan(inside(tmp_path, *(f"fold{k}/{c}" for k in (1, 2, 9, 10) for c in "ab")))
    assert counts(found) == {"train": 8, "val": 4, "test": 4}
    assert {p.name.split("/")[0] for p in found.splits()["test"]} == {"fold10"}


def test_splits_inside_of_class_folders_are_splits(tmp_path):
    found = scan(inside(tmp_path, "cats/train", "cats/test", "dogs/train", "dogs/test"))
    assert found.classes == ["cats", "dogs"] and counts(found) == {"train": 4, "test": 4}
    assert any("cats" not in note and "test/ as test" in note for note in found.notes)


def test_two_folders_of_one_split_are_joined_not_one_of_them_dropped(tmp_path):
    found = scan(
        inside(tmp_path, *(f"{s}/{c}" for s in ("train", "test", "testing") for c in "ab"))
    )
    assert counts(found) == {"train": 4, "test": 8}
    assert any("testing/ as test" in note for note in found.notes)


def test_dev_and_eval_beside_train_are_validation_and_test():
    assert roles_of(["train", "dev", "eval"]) == {"train": "train", "dev": "val", "eval": "test"}
    assert roles_of(["train", "eval"]) == {"train": "train", "eval": "val"}
    assert roles_of(["train", "train2"]) == {}


@pytest.mark.parametrize("name", ["latest", "contest", "strain", "interval", "test tube", "plane"])
def test_a_class_whose_name_holds_such_a_word_is_no_split(name):
    assert role_of(name) is None


@pytest.mark.parametrize(
    "unlabelled", ["test/{}.jpg", "test/images/{}.jpg", "test/unknown/{}.jpg", "Test/{}.jpg"]
)
def test_an_unlabelled_test_beside_train_is_left_out_and_both_splits_are_drawn(
    tmp_path, unlabelled
):
    class_folders(tmp_path / "train", a=6, b=6)
    for i in range(3):
        photo((tmp_path / unlabelled.format(i)).with_suffix(".png"))
    data = load(tmp_path)
    assert data.counts == {"train": 8, "val": 2, "test": 2}
    assert any("no labels: left out; `predict`" in note for note in data.notes)
    assert any("validation and test are drawn from" in note for note in data.notes)
    assert ft.audit(tmp_path).ok


def test_a_training_folder_beside_folders_of_photos_is_no_guess(tmp_path):
    found = scan(inside(tmp_path, "train/cats", "train/dogs", "to_label"))
    assert "name the others val/ or test/" in problem(found)


# --- no classification ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "folders",
    [
        ("images", "masks"), ("JPEGImages", "Annotations"), ("img", "gt"),
        ("train/images", "train/labels", "val/images"), ("images/train", "images/val", "masks/train", "masks/val"),
    ],
    ids="+".join,
)  # fmt: skip
def test_photos_with_masks_or_labels_beside_them_are_no_classification(tmp_path, folders):
    found = scan(inside(tmp_path, *folders))
    assert "masks, boxes or labels), not classes; a classifier needs CLASS" in problem(found)
    assert not found.photos


def test_labels_that_are_text_files_are_told_too(tmp_path):
    found = scan(tree(inside(tmp_path, "images"), "labels/0.txt", "labels/1.txt"))
    assert "not classes" in problem(found)


def test_a_table_of_labels_that_is_not_read_is_told_with_what_would_be(tmp_path):
    said = problem(scan(tree(inside(tmp_path, "images"), "train.xlsx")))
    assert "a table such as train.xlsx is not read: save it as CSV" in said
    assert 'pass labels="REGEX"' in said


# --- what is left out ----------------------------------------------------------------------------


@POSIX
def test_pipes_sockets_and_devices_are_told_and_never_opened(tmp_path):
    inside(tmp_path, "cats", "dogs")
    os.mkfifo(tmp_path / "cats" / "x.jpg")
    (tmp_path / "dogs" / "zero.jpg").symlink_to("/dev/zero")
    (tmp_path / "dogs" / "pipe.jpg").symlink_to(tmp_path / "cats" / "x.jpg")
    found = scan(tmp_path)
    assert dict(found.left_out) == {
        "cats/x.jpg": "a named pipe, not a file",
        "dogs/pipe.jpg": "a named pipe, not a file",
        "dogs/zero.jpg": "a device, not a file",
    }
    assert len(found.photos) == 4


@POSIX
def test_a_socket_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(inside(tmp_path, "a", "b"))
    with socket.socket(socket.AF_UNIX) as end:
        end.bind("a/s.jpg")
        assert scan(tmp_path).left_out == [("a/s.jpg", "a socket, not a file")]


@POSIX
def test_a_link_to_a_folder_around_it_gives_no_class_the_photos_of_the_others(tmp_path):
    root = inside(tmp_path / "photos", "cats", "dogs")
    (root / "cats" / "loop").symlink_to(root)
    (root / "dogs" / "up").symlink_to(tmp_path)
    (root / "dogs" / "self").symlink_to(root / "dogs")
    (root / "again").symlink_to(root)
    found = scan(root)
    assert found.classes == ["cats", "dogs"] and len(found.photos) == 4
    assert {why for _, why in found.left_out} == {"a link to a folder that it lies in"}
    assert len(found.left_out) == 4


@POSIX
def test_links_to_each_other_end_and_no_photo_is_read_twice(tmp_path):
    root = inside(tmp_path, "cats/a", "cats/b", "dogs")
    (root / "cats" / "a" / "to_b").symlink_to(root / "cats" / "b")
    (root / "cats" / "b" / "to_a").symlink_to(root / "cats" / "a")
    found = scan(root)
    assert len({p.path.resolve() for p in found.photos}) == len(found.photos) == 6
    assert found.left_out


@POSIX
def test_a_class_folder_that_is_a_link_to_elsewhere_is_a_class(tmp_path):
    inside(tmp_path, "store/cats", "set/dogs")
    (tmp_path / "set" / "cats").symlink_to(tmp_path / "store" / "cats")
    found = scan(tmp_path / "set")
    assert found.classes == ["cats", "dogs"] and len(found.photos) == 4


JUNK = ["@eaDir", "$RECYCLE.BIN", "System Volume Information", "#recycle", ".hidden"]


@pytest.mark.parametrize("junk", JUNK)
def test_what_the_system_put_there_is_no_class_and_no_photo_of_one_and_is_told(tmp_path, junk):
    inside(tmp_path, "cats", "dogs", junk, f"cats/{junk}/0.jpg")
    found = scan(tmp_path)
    assert found.classes == ["cats", "dogs"] and len(found.photos) == 4
    assert {name for name, _ in found.left_out} == {junk, f"cats/{junk}"}


def test_what_lies_beside_split_folders_is_told_too(tmp_path):
    found = scan(inside(tmp_path, "train/a", "train/b", "val/a", "val/b", "@eaDir"))
    assert found.left_out == [("@eaDir", "made by the system")]
    (tmp_path / "test").mkdir()
    assert "test/ holds no photos: left out." in scan(tmp_path).notes


def test_what_notebooks_and_archives_leave_behind_is_passed_in_silence(tmp_path):
    found = scan(inside(tmp_path, "cats", "dogs", ".ipynb_checkpoints", "__MACOSX/cats"))
    assert found.classes == ["cats", "dogs"] and not found.left_out and not found.notes


def test_a_folder_of_iphone_photos_alone_says_what_to_install(tmp_path, monkeypatch):
    tree(tmp_path, "a/1.HEIC", "b/1.heic")
    monkeypatch.setattr(photo_formats, "with_plugins", lambda: None)
    monkeypatch.setattr(photo_formats.Image, "registered_extensions", dict)
    assert "2 files left out: HEIC needs the package pillow-heif" in problem(scan(tmp_path))


def test_classes_that_differ_in_capitals_alone_are_noted(tmp_path):
    if (
        len(list(inside(tmp_path, "Daisy", "daisy", "rose").iterdir())) == 3
    ):  # not on Windows, not on a Mac
        assert any("Daisy/ and daisy/ differ in capitals" in note for note in scan(tmp_path).notes)


# --- predict -------------------------------------------------------------------------------------


def test_predict_finds_the_photos_that_the_scan_finds(tmp_path):
    root = inside(tmp_path, "cats", "dogs/young", *(f"cats/{junk}" for junk in JUNK), "__MACOSX")
    assert find_photos([root]) == [p.path for p in scan(root).photos]


@POSIX
def test_predict_follows_no_link_in_a_circle_and_keeps_a_pipe_to_tell_it(tmp_path):
    root = inside(tmp_path, "cats")
    (root / "cats" / "loop").symlink_to(root)
    os.mkfifo(root / "cats" / "x.jpg")
    assert [p.name for p in find_photos([root])] == ["0.jpg", "1.jpg", "x.jpg"]
