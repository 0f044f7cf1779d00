"""A folder of photos becomes train, val and test splits, and says what was decided."""

from __future__ import annotations

import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from ftcourse.data.loading import load_data
from ftcourse.data.photos import shrink
from ftcourse.data.splits import Data, Split
from ftcourse.data.transforms import eval_transforms, train_transforms

HYMENOPTERA = Path(__file__).parents[3] / "shared" / "data" / "hymenoptera.zip"


PINNED = ["cats/008.png", "cats/009.png", "cats/013.png", "dogs/007.png", "dogs/008.png"]


def photo(path: Path, seed: int | None = None, size: tuple[int, int] = (40, 30), **save) -> Path:
    """A photo of noise, another for each path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    key = sum(path.as_posix().encode()) + len(path.name) if seed is None else seed
    pixels = np.random.default_rng(key).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **save)
    return path


def class_folders(root: Path, **counts: int) -> Path:
    for k, (label, n) in enumerate(counts.items()):
        for i in range(n):
            photo(root / label / f"{i:03d}.png", seed=1000 * k + i)
    return root


def names(split: Split) -> list[str]:
    assert split.paths is not None
    return [f"{p.parent.name}/{p.name}" for p in split.paths]


def load(root: Path, **kwargs) -> Data:
    return load_data(root, size=16, **kwargs)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return class_folders(tmp_path / "photos", cats=20, dogs=10)


# --- splits --------------------------------------------------------------------------------------


def test_class_folders_are_split_by_class_without_overlap(photos):
    data = load(photos)
    assert data.counts == {"train": 20, "val": 5, "test": 5}
    assert data.val.counts() == data.test.counts() == {"cats": 3, "dogs": 2}
    everyone = names(data.train) + names(data.val) + names(data.test)
    assert len(set(everyone)) == 30
    assert data.name == "photos/"


def test_the_same_seed_gives_the_same_split_and_another_seed_another(photos, tmp_path):
    again = class_folders(tmp_path / "elsewhere" / "copy", cats=20, dogs=10)
    assert names(load(photos).test) == names(load(again).test)
    assert names(load(photos, seed=1).test) != names(load(photos).test)


def test_the_split_is_pinned_so_that_it_is_the_same_on_each_platform(photos):
    assert names(load(photos).test) == PINNED


def test_adding_a_photo_moves_few_of_the_others(photos):
    before = set(names(load(photos).test))
    photo(photos / "cats" / "new.png")
    assert len(before & set(names(load(photos).test))) >= len(before) - 1


def test_three_photos_a_class_are_enough_for_one_in_each_split(tmp_path):
    data = load(class_folders(tmp_path, a=3, b=3))
    assert data.counts == {"train": 2, "val": 2, "test": 2}


def test_a_class_too_small_to_split_is_named_with_its_count(tmp_path):
    with pytest.raises(ValueError, match=r"class 'b' has 2 photos; .* at least 3"):
        load(class_folders(tmp_path, a=5, b=2))


def test_copies_of_one_photo_do_not_count_as_different_photos(tmp_path):
    class_folders(tmp_path, a=5)
    for i in range(4):
        photo(tmp_path / "b" / f"{i}.png", seed=7)
    with pytest.raises(ValueError, match=r"class 'b' has 4 photos, 1 of them different"):
        load(tmp_path)


@pytest.mark.parametrize("seed", range(5))
def test_byte_identical_files_stay_in_one_split(tmp_path, seed):
    class_folders(tmp_path, a=8, b=8)
    for i in range(5):
        photo(tmp_path / "a" / f"copy{i}.png", seed=3)  # of a/003.png
    photo(tmp_path / "b" / "stolen.png", seed=2)  # of a/002.png, under another label
    data = load(tmp_path, seed=seed)
    where = {n: s for s in ("train", "val", "test") for n in names(getattr(data, s))}
    assert len({where[n] for n in ("a/003.png", *(f"a/copy{i}.png" for i in range(5)))}) == 1
    assert where["a/002.png"] == where["b/stolen.png"]


@pytest.mark.parametrize("seed", range(5))
def test_copies_under_two_labels_stay_in_one_split_also_where_each_photo_is_doubled(tmp_path, seed):
    for label, base in (("a", 0), ("b", 100)):
        for i in range(4):
            photo(tmp_path / label / f"{i}.png", seed=base + i)
            photo(tmp_path / label / f"{i} copy.png", seed=base + i)
            photo(tmp_path / label / f"both {i}.png", seed=200 + i)
    data = load(tmp_path, seed=seed)
    where = {n: s for s in ("train", "val", "test") for n in names(getattr(data, s))}
    assert all(where[f"a/both {i}.png"] == where[f"b/both {i}.png"] for i in range(4))


def test_even_when_all_photos_are_doubled_each_split_gets_its_own(tmp_path):
    for label, base in (("a", 0), ("b", 100)):
        for i in range(3):
            photo(tmp_path / label / f"{i}.png", seed=base + i)
            photo(tmp_path / label / f"{i} copy.png", seed=base + i)
    assert load(tmp_path).counts == {"train": 4, "val": 4, "test": 4}


def test_train_val_and_test_folders_are_kept_as_they_are(tmp_path):
    for split, n in (("train", 4), ("val", 2), ("test", 3)):
        class_folders(tmp_path / split, a=n, b=n)
    data = load(tmp_path)
    assert data.counts == {"train": 8, "val": 4, "test": 6}
    assert all(p.parts[-3] == "val" for p in data.val.paths)


def test_with_train_and_val_only_val_becomes_the_test_split_and_a_note_says_so(tmp_path):
    class_folders(tmp_path / "train", a=10, b=10)
    class_folders(tmp_path / "val", a=3, b=4)
    data = load(tmp_path)
    assert data.counts == {"train": 16, "val": 4, "test": 7}
    assert all(p.parts[-3] == "val" for p in data.test.paths)
    assert any("val/ is kept as the test split" in note for note in data.notes)


def test_with_train_and_test_only_validation_is_drawn_from_train(tmp_path):
    class_folders(tmp_path / "Train", a=10, b=10)
    class_folders(tmp_path / "Test", a=3, b=4)
    data = load(tmp_path)
    assert data.counts == {"train": 16, "val": 4, "test": 7}
    assert any("no val/" in note for note in data.notes)


def test_a_class_in_val_but_not_in_train_is_named(tmp_path):
    class_folders(tmp_path / "train", a=3, b=3)
    class_folders(tmp_path / "val", a=3, wasps=3)
    with pytest.raises(ValueError, match=r"class 'wasps' is in val/ but not in train/"):
        load(tmp_path)


def test_classes_may_be_called_train_and_test(tmp_path):
    data = load(class_folders(tmp_path, train=5, test=5, plane=5))
    assert data.classes == ["plane", "test", "train"]


@pytest.mark.parametrize("shares", [{"val": 0}, {"test": 1.0}, {"val": 0.6, "test": 0.5}])
def test_shares_that_leave_nothing_for_a_split_are_refused(photos, shares):
    with pytest.raises(ValueError, match="shares above 0"):
        load(photos, **shares)


# --- folders as people have them -----------------------------------------------------------------


def test_an_extra_folder_from_unpacking_is_stepped_into_and_noted(tmp_path):
    class_folders(tmp_path / "hymenoptera_data" / "train", a=5, b=5)
    class_folders(tmp_path / "hymenoptera_data" / "val", a=3, b=3)
    (tmp_path / "__MACOSX").mkdir()
    data = load(tmp_path)
    assert data.counts["test"] == 6
    assert "The photos were found in hymenoptera_data/." in data.notes


def test_hidden_and_system_files_are_ignored_in_silence(photos):
    for name in (".DS_Store", "cats/.DS_Store", "cats/Thumbs.db", ".ipynb_checkpoints/a.png"):
        (photos / name).parent.mkdir(exist_ok=True)
        (photos / name).write_bytes(b"junk")
    data = load(photos)
    assert data.classes == ["cats", "dogs"]
    assert not [n for n in data.notes if "Left out" in n]


def test_files_that_are_no_photos_are_left_out_and_listed(photos):
    (photos / "cats" / "labels.csv").write_text("a,b")
    photo(photos / "beside.png")
    (photos / "papers").mkdir()
    notes = "\n".join(load(photos).notes)
    assert "cats/labels.csv (not a photo)" in notes
    assert "beside.png (lies beside the class folders)" in notes
    assert "papers/ holds no photos" in notes


def test_photos_in_folders_inside_a_class_belong_to_it_and_a_note_says_so(photos):
    photo(photos / "cats" / "persian" / "a.png")
    data = load(photos)
    assert sum(data.counts.values()) == 31
    assert any("1 photos are of class cats" in note for note in data.notes)


def test_unlabelled_test_photos_are_left_out_with_a_note(tmp_path):
    class_folders(tmp_path / "train", a=5, b=5)
    class_folders(tmp_path / "val", a=3, b=3)
    photo(tmp_path / "test" / "1.png")
    data = load(tmp_path)
    assert data.counts["test"] == 6
    assert any("no labels" in note for note in data.notes)


def test_split_folders_without_class_folders_are_not_taken_for_classes(tmp_path):
    class_folders(tmp_path, train=5, val=5)
    with pytest.raises(ValueError, match=r"train/ and val/ hold photos but no class folders"):
        load(tmp_path)


def test_a_missing_folder_says_what_could_be_given():
    with pytest.raises(
        FileNotFoundError, match=r"no such folder; give a folder .* 'pocket-insects'"
    ):
        load_data("fotos")
    with pytest.raises(FileNotFoundError, match="no such folder"):
        load_data("nowhere/photos")


def test_a_file_instead_of_a_folder_says_what_to_do(tmp_path):
    (tmp_path / "photos.zip").write_bytes(b"PK")
    with pytest.raises(NotADirectoryError, match=r"photos\.zip: is a file.*unpack it"):
        load(tmp_path / "photos.zip")


def test_an_empty_folder_says_what_was_expected(tmp_path):
    with pytest.raises(ValueError, match=r"no photos in class folders; expected .*CLASS"):
        load(tmp_path)


@pytest.mark.parametrize("flat", [True, False])
def test_a_single_class_is_an_error(tmp_path, flat):
    root = tmp_path / "in"
    class_folders(root if flat else root / "deeper", cats=5)
    with pytest.raises(ValueError, match="a single class"):
        load(root)


# --- files ---------------------------------------------------------------------------------------


def truncated(path: Path) -> Path:
    photo(path, size=(64, 64))
    path.write_bytes(path.read_bytes()[:1500])
    return path


def test_a_broken_photo_is_named_with_what_to_do(photos):
    truncated(photos / "cats" / "bad.jpg")
    sentence = r'cats.bad\.jpg: cannot be decoded \(truncated file\); remove it or pass on_error="s'
    with pytest.raises(ValueError, match=sentence):
        load(photos)


def test_skip_leaves_broken_photos_out_with_a_note(photos):
    truncated(photos / "cats" / "bad.jpg")
    (photos / "dogs" / "empty.jpg").write_bytes(b"")
    (photos / "dogs" / "text.jpg").write_text("<html>404</html>")
    data = load(photos, on_error="skip")
    assert sum(data.counts.values()) == 30
    note = next(n for n in data.notes if "cannot be decoded" in n)
    assert "cats/bad.jpg (truncated file)" in note and "dogs/empty.jpg (empty file)" in note


def test_on_error_takes_two_words_only(photos):
    with pytest.raises(ValueError, match="on_error='ignore'"):
        load(photos, on_error="ignore")


def drawn(path: Path) -> Path:
    """As an "image not found" picture: one colour nearly everywhere, a few others."""
    image = Image.new("P", (60, 60), 7)
    image.putpalette([i // 3 for i in range(768)])
    for x in range(20, 40):
        image.putpixel((x, 30), 200)
    image.save(path)
    return path


@pytest.mark.parametrize("name", ["imageNotFound.gif", "0815.gif", "photo_unavailable.png"])
def test_a_placeholder_is_left_out_with_a_note_unless_asked_for(photos, name):
    drawn(photos / "cats" / name)
    data = load(photos)
    assert sum(data.counts.values()) == 30
    assert any(f"cats/{name}" in note and "stand in for a missing" in note for note in data.notes)
    assert sum(load(photos, keep_placeholders=True).counts.values()) == 31


def test_a_folder_of_drawings_is_not_full_of_placeholders(tmp_path):
    for label in ("a", "b"):
        for i in range(5):
            (tmp_path / label).mkdir(exist_ok=True)
            Image.new("RGB", (20, 20), (i * 20, 10, 200 * (label == "a"))).save(
                tmp_path / label / f"{i}.png"
            )
    assert sum(load(tmp_path).counts.values()) == 10


ODD = {
    "cmyk.jpg": lambda: Image.new("CMYK", (40, 30), (0, 255, 255, 0)),
    "grey.png": lambda: Image.new("L", (40, 30), 76),
    "deep.png": lambda: Image.fromarray(np.full((30, 40), 76 * 257, dtype=np.uint16)),
    "one.png": lambda: Image.new("1", (40, 30), 1),
    "alpha.png": lambda: Image.new("RGBA", (40, 30), (0, 0, 255, 0)),
}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cmyk.jpg", (255, 0, 0)),
        ("grey.png", (76, 76, 76)),
        ("deep.png", (76, 76, 76)),
        ("one.png", (255, 255, 255)),
        ("alpha.png", (255, 255, 255)),
    ],
)
def test_odd_modes_become_rgb(photos, name, expected):
    ODD[name]().save(photos / "cats" / name)
    data = load(photos, keep_placeholders=True)
    split, i = next(
        (s, i)
        for s in (data.train, data.val, data.test)
        for i, p in enumerate(s.paths)
        if p.name == name
    )
    image = split.load(i)
    assert image.mode == "RGB"
    assert np.allclose(np.asarray(image)[0, 0], expected, atol=3)
    assert np.allclose(split.image(i)[:, 0, 0].numpy(), expected, atol=3)


def test_exif_rotation_is_applied_in_memory_and_in_full_size(photos):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright
    photo(photos / "cats" / "turned.jpg", size=(60, 40), exif=exif)
    data = load(photos)
    split, i = next(
        (s, i)
        for s in (data.train, data.val, data.test)
        for i, p in enumerate(s.paths)
        if p.name == "turned.jpg"
    )
    assert split.load(i).size == (40, 60)
    assert split.image(i).shape[1] > split.image(i).shape[2]


def test_an_animation_gives_its_first_frame(photos):
    frames = [Image.new("RGB", (30, 30), c) for c in ("red", "blue")]
    frames[0].save(photos / "dogs" / "moves.gif", save_all=True, append_images=frames[1:])
    data = load(photos, keep_placeholders=True)
    paths = [(s, i) for s in (data.train, data.val, data.test) for i in range(len(s))]
    split, i = next((s, i) for s, i in paths if s.paths[i].name == "moves.gif")
    assert split.load(i).getpixel((5, 5)) == (255, 0, 0)


# --- what a split gives --------------------------------------------------------------------------


def test_an_item_is_a_normalised_float_image_and_an_int_label(photos):
    data = load_data(photos, size=24)
    for split in (data.train, data.val):
        image, label = split[0]
        assert image.shape == (3, 24, 24) and image.dtype == torch.float32
        assert isinstance(label, int) and label == split.targets[0]
    assert image.min() < -0.5


def test_a_split_behaves_like_a_torchvision_dataset(photos):
    split = load(photos).train
    assert split.classes == ["cats", "dogs"] and split.class_to_idx == {"cats": 0, "dogs": 1}
    assert len(split.targets) == len(split) == len(list(split))
    assert split[-1][1] == split.targets[-1]
    images, labels = next(iter(DataLoader(split, batch_size=4)))
    assert images.shape == (4, 3, 16, 16) and labels.dtype == torch.int64


def test_validation_is_the_same_each_time_and_training_is_augmented(photos):
    data = load(photos)
    assert torch.equal(data.val[0][0], data.val[0][0])
    assert not torch.equal(data.train[0][0], data.train[0][0])


def test_a_transform_for_pil_images_and_tensors_alike_can_be_passed(photos):
    transform = eval_transforms(20)
    data = load_data(photos, transform=transform)
    assert data.train[0][0].shape == (3, 20, 20)
    assert transform(data.train.load(0)).shape == (3, 20, 20)


def test_subset_and_with_transform_share_the_decoded_photos(photos):
    split = load(photos).train
    part = split.subset([3, 1]).with_transform(None)
    assert part.targets == [split.targets[3], split.targets[1]]
    assert part.paths == [split.paths[3], split.paths[1]]
    assert part[0][0].dtype == torch.uint8
    assert part[0][0].data_ptr() == split.image(3).data_ptr()
    assert split.transform is not None


def test_with_transforms_for_larger_crops_reads_the_photos_again_in_that_size(tmp_path):
    for label in ("a", "b"):
        for i in range(4):
            photo(tmp_path / label / f"{label}{i}.png", size=(100, 80))
    data = load(tmp_path)
    assert min(data.val.image(0).shape[1:]) == 20  # 1.25 x 16
    larger = data.with_transforms(train_transforms(48), eval_transforms(48))
    assert min(larger.val.image(0).shape[1:]) == 55  # 1.14 x 48
    assert min(larger.train.image(0).shape[1:]) == 60  # 1.25 x 48
    assert larger.val[0][0].shape == (3, 48, 48)
    assert min(data.val.image(0).shape[1:]) == 20


@pytest.mark.parametrize("size", [(500, 375), (375, 500), (900, 180), (2400, 2000)])
def test_photos_are_shrunk_as_pillow_does_it(size):
    noise = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)
    shrunk = shrink(image, 128)
    width, height = shrunk.shape[1::-1]
    assert min(width, height) == 128
    assert width / height == pytest.approx(size[0] / size[1], rel=0.01)
    expected = image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=3.0)
    assert np.abs(shrunk.astype(int) - np.asarray(expected)).max() <= 2  # of 255
    assert np.array_equal(shrink(image, 5000), np.asarray(image))  # never grown


def test_photos_beyond_the_memory_budget_are_decoded_on_demand(photos):
    all_in, none_in = load(photos), load(photos, cache_bytes=0)
    assert none_in.train.images._used == 0
    assert torch.equal(all_in.val[1][0], none_in.val[1][0])


def test_a_photo_that_vanishes_later_is_named(photos):
    data = load(photos, cache_bytes=0)
    data.train.paths[0].unlink()
    with pytest.raises(FileNotFoundError, match=data.train.paths[0].name):
        data.train[0]


def test_a_split_can_be_sent_to_another_process(photos):
    split = load(photos).val
    again = pickle.loads(pickle.dumps(split))
    assert torch.equal(again[0][0], split[0][0])


def test_a_split_of_rendered_images_needs_no_files():
    images = torch.randint(0, 256, (4, 3, 20, 20), dtype=torch.uint8)
    split = Split(images, [0, 1, 0, 1], ["a", "b"], transform=v2.ToDtype(torch.float32, scale=True))
    assert split.paths is None and split[2][1] == 0
    assert np.array_equal(np.asarray(split.load(2)), images[2].permute(1, 2, 0).numpy())
    assert split.subset([1, 3]).targets == [1, 1]
    with pytest.raises(ValueError, match="4 images but 1 targets"):
        Split(images, [0], ["a", "b"])


def test_the_text_of_data_tells_classes_counts_and_notes(photos):
    text = repr(load(photos))
    assert "2 classes (cats, dogs)" in text and "train 20, val 5, test 5" in text
    assert "note: The splits were drawn" in text


def test_nearly_identical_photos_in_different_splits_are_noted_where_that_was_asked_for(tmp_path):
    rng = np.random.default_rng(0)
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        for i in range(4):
            coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
            for quality in (95, 60):
                coarse.resize((64, 64)).save(
                    tmp_path / label / f"{i}_{quality}.jpg", quality=quality
                )
    assert any("Nearly identical" in note for note in load(tmp_path, groups="file").notes)
    assert not any("Nearly identical" in note for note in load(tmp_path).notes)


def test_loading_changes_no_file(photos):
    before = {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in photos.rglob("*")}
    load(photos)
    assert before == {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in photos.rglob("*")}


@pytest.mark.skipif(not HYMENOPTERA.exists(), reason="../shared/data/hymenoptera.zip is absent")
def test_hymenoptera_has_244_photos_to_train_and_153_to_test(tmp_path):
    import zipfile

    with zipfile.ZipFile(HYMENOPTERA) as packed:
        packed.extractall(tmp_path)
    data = load_data(tmp_path, size=32)
    assert data.counts == {"train": 208, "val": 36, "test": 153}
    assert Counter(data.test.targets) == {0: 70, 1: 83}
    assert any("imageNotFound.gif" in note for note in data.notes)
    assert [f.kind for f in data.audit.findings] == ["placeholder?", "palette"]


def test_photos_on_a_device_are_the_same_photos_and_so_are_their_copies():
    data = load_data("pocket-insects", size=32)
    there = data.val.on(torch.device("cpu"))
    assert torch.equal(there[0][0], data.val[0][0]) and there[0][1] == data.val[0][1]
    part = there.subset([3, 1]).with_transform(None)
    assert part.device == torch.device("cpu") and data.val.device is None
    assert torch.equal(part[0][0], data.val.image(3))
