"""Pocket Insects: the same bytes everywhere, right labels, and switches that do what they say."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

import ftcourse as ft
from ftcourse.data.insects import BACKGROUNDS, CLASSES, DOMAINS, PARTS, blocks, exact, load, render
from ftcourse.data.insects.anatomy import make
from ftcourse.data.insects.blocks import Block, gather
from ftcourse.data.insects.exact import Rng

# sha256 of the pixels, first 16 digits: a change of the renderer changes them, another platform must not
HASHES = {
    (0, 96, "day"): "c3cd596a147ab533",
    (1, 96, "day"): "bb34d413d50320c6",
    (2, 64, "day"): "4ad08b9557a2f5b2",
    (3, 96, "day"): "73bca59f15abb309",
    (4, 128, "day"): "c8542b79c4e36e27",
    (5, 32, "day"): "5ff301d3c2b44326",
    (0, 64, "night"): "218781767ea48f77",
    (1, 64, "fog"): "bb1b8b26f55e7247",
    (3, 64, "sketch"): "11cc5d9c4262ae39",
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("insects")


def small(cache, **kwargs):
    settings = {
        "classes": ("ants", "bees"),
        "per_class": 4,
        "val_per_class": 3,
        "test_per_class": 5,
        "size": 32,
    }
    return load(**{**settings, "cache": cache, "progress": False, **kwargs})


@pytest.mark.parametrize(("label", "size", "domain"), list(HASHES))
def test_an_image_has_the_same_bytes_on_every_platform(label, size, domain):
    picture = render(label, (0, 0, label), size, domain=domain)
    assert hashlib.sha256(picture.image.tobytes()).hexdigest()[:16] == HASHES[label, size, domain]


def test_a_scene_has_the_same_bytes_twice():
    one, two = (render([0, 1, 4], (3, 4, 5), 64) for _ in range(2))
    assert (
        np.array_equal(one.image, two.image)
        and one.boxes == two.boxes
        and one.sentence == two.sentence
    )


def test_sine_and_cosine_are_those_of_the_maths_library_to_nine_digits():
    for x in np.linspace(-12, 12, 401).tolist():
        assert exact.sin(x) == pytest.approx(float(np.sin(x)), abs=2e-9)
        assert exact.cos(x) == pytest.approx(float(np.cos(x)), abs=2e-9)


def test_random_numbers_are_uniform_and_nearly_normal():
    rng = Rng(5)
    uniform, bell = rng.array(4, 5000), rng.bell(4, 5000)
    assert uniform.min() >= 0 and uniform.max() < 1 and abs(float(uniform.mean()) - 0.5) < 0.01
    assert abs(float(bell.mean())) < 0.02 and abs(float(bell.std()) - 1) < 0.02


def test_a_jpeg_of_high_quality_keeps_a_smooth_image_and_one_of_low_quality_shows_blocks():
    ramp = np.broadcast_to(np.arange(64, dtype=np.uint8)[:, None, None] * 3, (64, 64, 3)).copy()
    assert np.abs(exact.jpeg(ramp, 95).astype(int) - ramp).max() <= 3
    noisy = render(2, (0, 0, 2), 64).image
    small_error, large_error = (
        np.abs(exact.jpeg(noisy, q).astype(int) - noisy).mean() for q in (95, 10)
    )
    assert small_error < 3 < large_error


def test_a_blur_keeps_the_brightness_and_spreads_a_point_as_far_as_it_says():
    point = np.zeros((65, 65), np.float32)
    point[32, 32] = 1
    x = np.arange(65) - 32
    for radius in (0.5, 1.0, 2.0, 4.0):
        soft = exact.blur(point, radius)
        assert soft.sum() == pytest.approx(1, abs=0.02)
        mean = float((soft.sum(0) * x).sum())
        spread = float(np.sqrt((soft.sum(0) * (x - mean) ** 2).sum()))
        assert spread == pytest.approx(radius, rel=0.35)


@pytest.mark.parametrize("kind", CLASSES)
def test_each_animal_has_the_legs_antennae_and_wings_of_its_class(kind):
    for seed in range(12):
        animal = make(kind, Rng(seed, 1))
        rings = sum(1 for limb in animal.limbs if limb.part == PARTS.index("legs"))
        legs = 8 if kind == "spiders" else 6
        assert rings in (3 * legs, 6 * legs)  # three segments a leg, each with a ring or none
        antennae = [limb for limb in animal.limbs if limb.part == PARTS.index("antennae")]
        assert bool(antennae) == (kind != "spiders")
        assert len(animal.wings) in {"ants": (0, 4), "bees": (4,), "butterflies": (4,)}.get(
            kind, (0,)
        )


def test_both_views_and_all_backgrounds_occur():
    pictures = [render(k % 6, (1, 0, k), 32) for k in range(60)]
    assert {p.background for p in pictures} == set(BACKGROUNDS)
    views = {"seen from above" in p.sentence for p in pictures}
    assert views == {True, False}


def test_the_mask_covers_the_animal_and_the_box_encloses_the_mask():
    for k in range(12):
        p = render(k % 6, (2, 0, k), 64)
        assert 0.02 < (p.parts > 0).mean() < 0.8
        assert ((p.parts > 0) == (p.owner > 0)).all() and p.parts.max() < len(PARTS)
        (left, top, right, bottom) = p.boxes[0]
        assert p.owner[top:bottom, left:right].sum() == p.owner.sum()
        assert p.owner[top].any() and p.owner[:, right - 1].any()


def test_splits_are_like_those_of_torchvision(cache):
    data = small(cache)
    assert data.counts == {"train": 8, "val": 6, "test": 10} and data.classes == ["ants", "bees"]
    assert data.train.class_to_idx == {"ants": 0, "bees": 1}
    assert sorted(data.train.targets) == [0] * 4 + [1] * 4
    image, label = data.with_transforms(None, None).train[0]
    assert image.dtype == torch.uint8 and image.shape == (3, 32, 32) and label == 0
    assert data.train.load(0).size == (32, 32)


def test_load_data_gives_insects_by_name(cache, monkeypatch):
    monkeypatch.setenv("FTCOURSE_CACHE", str(cache))
    data = ft.load_data(
        "pocket-insects", classes=("ants", "bees"), per_class=2, val_per_class=1, test_per_class=1
    )
    image, label = data.train[1]
    assert image.shape == (3, 128, 128) and image.dtype == torch.float32 and label == 1
    assert (cache / f"insects-{blocks.version()}").is_dir()


def test_photos_of_a_class_do_not_depend_on_the_other_classes_or_on_how_many(cache):
    two = small(cache)
    more = small(cache, classes=("spiders", "bees", "ants"), per_class=6)
    bees = [more.train.image(i) for i, t in enumerate(more.train.targets) if t == 1]
    mine = [two.train.image(i) for i, t in enumerate(two.train.targets) if t == 1]
    assert all(torch.equal(a, b) for a, b in zip(mine, bees, strict=False))


def test_no_photo_is_in_two_splits_and_another_seed_gives_others(cache):
    a, b = small(cache), small(cache, seed=1)
    seen = [hashlib.sha256(s.image(i).numpy().tobytes()).digest()
            for d in (a, b) for s in (d.train, d.val, d.test) for i in range(len(s))]  # fmt: skip
    assert len(set(seen)) == len(seen)


def test_masks_parts_and_semantic_labels_move_with_the_photo(cache):
    split = small(cache).train.with_transform(v2.RandomHorizontalFlip(1.0))
    plain = split.with_transform(None)
    for target in ("mask", "parts", "semantic"):
        image, mask = split.with_target(target)[1]
        before, was = plain.with_target(target)[1]
        assert isinstance(mask, tv_tensors.Mask) and mask.dtype == torch.int64
        assert torch.equal(image, before.flip(-1)) and torch.equal(mask, was.flip(-1))
    assert set(plain.with_target("semantic")[1][1].unique().tolist()) == {0, 2}  # 1 + the class


def test_the_default_transforms_take_masks_too(cache, monkeypatch):
    monkeypatch.setenv("FTCOURSE_CACHE", str(cache))
    few = {"classes": ("ants", "bees"), "per_class": 1, "val_per_class": 1, "test_per_class": 1}
    data = ft.load_data("pocket-insects", target="semantic", size=64, **few)
    for split in (data.train, data.test):
        image, mask = split[0]
        assert (
            image.shape == (3, 64, 64) and mask.shape == (64, 64) and image.dtype == torch.float32
        )


def test_scenes_have_a_box_a_label_and_a_mask_for_each_animal(cache):
    data = small(cache, scene=True, size=64, classes=("bees", "ladybirds"))
    assert "Scenes" in " ".join(data.notes)
    split = data.train.with_transform(None)
    for i in range(len(split)):
        image, target = split[i]
        n = len(target["boxes"])
        assert 1 <= n <= 4 and isinstance(target["boxes"], tv_tensors.BoundingBoxes)
        assert target["labels"].shape == (n,) and set(target["labels"].tolist()) <= {1, 2}
        assert target["masks"].shape == (n, *image.shape[1:])
        for box, mask in zip(target["boxes"].int().tolist(), target["masks"], strict=True):
            rows, columns = torch.nonzero(mask, as_tuple=True)
            assert box == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_a_sentence_describes_each_photo(cache):
    split = small(cache).test.with_target("sentence")
    assert all("ant" in split[i][1] for i in range(len(split)) if split.targets[i] == 0)


def test_a_shortcut_binds_the_background_to_the_class_in_train_and_not_in_test(cache):
    data = small(cache, shortcut=True, per_class=20, test_per_class=20)
    train, test = data.train, data.test
    bound = [
        b == blocks.HABITAT[train.classes[t]]
        for b, t in zip(train.backgrounds, train.targets, strict=True)
    ]
    free = [
        b == blocks.HABITAT[test.classes[t]]
        for b, t in zip(test.backgrounds, test.targets, strict=True)
    ]
    assert np.mean(bound) > 0.8 and np.mean(free) < 0.5


def test_label_noise_spoils_the_share_it_names_and_lists_it(cache):
    clean, noisy = small(cache, per_class=20), small(cache, per_class=20, label_noise=0.25)
    wrong = [i for i in range(40) if clean.train.targets[i] != noisy.train.targets[i]]
    assert wrong == noisy.train.mislabelled and len(wrong) == 10
    assert noisy.test.targets == clean.test.targets


def test_imbalance_is_the_ratio_of_the_first_class_to_the_last(cache):
    data = small(cache, per_class=20, imbalance=10)
    assert data.train.counts() == {"ants": 20, "bees": 2} and data.test.counts() == {
        "ants": 5,
        "bees": 5,
    }


def test_domains_change_the_look_and_not_the_labels(cache):
    day = small(cache)
    for domain in DOMAINS[1:]:
        other = small(cache, test_domain=domain)
        assert torch.equal(other.train.image(0), day.train.image(0))
        assert not torch.equal(other.test.image(0), day.test.image(0))
        assert torch.equal(other.test.parts, day.test.parts)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"classes": ("ants", "wasps")}, "choose different ones from ants"),
        ({"size": 300}, "from 32 to 256"),
        ({"target": "class"}, "use one of label"),
        ({"scene": True, "target": "label"}, "several animals"),
        ({"label_noise": 2}, "from 0 to 1"),
        ({"imbalance": 0.5}, "at least 1"),
        ({"domain": "rain"}, "use one of day"),
        ({"per_class": 0, "val_per_class": 0}, "at least 1"),
    ],
)
def test_a_wrong_setting_is_named(cache, wrong, says):
    with pytest.raises(ValueError, match=says):
        small(cache, **wrong)


def test_a_broken_file_in_the_cache_is_drawn_again(tmp_path):
    block = Block(0, "train", ("ants",), 0, 32)
    (first,) = gather([block], tmp_path)
    (file,) = tmp_path.rglob("*.npz")
    file.write_bytes(file.read_bytes()[:1000])
    (second,) = gather([block], tmp_path)
    assert np.array_equal(first["images"], second["images"])
    assert not [p for p in tmp_path.rglob("*") if p.name.endswith(".part")]


@pytest.mark.parametrize(
    ("whole", "foreign"),
    [
        (False, {"images": np.zeros((20, 32, 32, 3), np.uint8)}),
        (False, {"a": np.arange(3)}),
        (True, {"images": np.zeros((20, 8, 8, 3), np.uint8)}),
        (True, {"images": np.zeros((20, 32, 32, 3), np.float64)}),
        (True, {"boxes": np.full((20, 6), 99, np.int32)}),
        (True, {"boxes": np.array(3)}),
        (True, {"backgrounds": np.full(20, 99, np.uint8)}),
        (True, {"sentences": np.zeros(20)}),
    ],
)
def test_foreign_arrays_in_the_cache_are_drawn_again(tmp_path, whole, foreign):
    block = Block(0, "train", ("ants",), 0, 32)
    (first,) = gather([block], tmp_path)
    (file,) = tmp_path.rglob("*.npz")
    with np.load(file) as found:
        right = dict(found)
    np.savez(file, **(right if whole else {}) | foreign)
    (second,) = gather([block], tmp_path)
    assert set(second) == set(first)
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_a_folder_that_cannot_be_written_to_costs_only_time(tmp_path):
    (tmp_path / "file").write_text("in the way")
    (arrays,) = gather([Block(0, "train", ("ants",), 0, 32)], tmp_path / "file")
    assert len(arrays["images"]) == blocks.BLOCK


def test_worker_processes_draw_the_same_bytes(tmp_path, monkeypatch):
    todo = [Block(0, "val", (name,), 0, 32) for name in ("ants", "spiders")]
    monkeypatch.setattr(blocks, "WORTH_A_POOL", 10)
    monkeypatch.setattr(blocks.os, "cpu_count", lambda: 2)
    ticks: list[int] = []
    pooled = gather(todo, tmp_path, ticks.append)
    assert sum(ticks) == 40
    for block, arrays in zip(todo, pooled, strict=True):
        assert all(np.array_equal(arrays[k], v) for k, v in block.arrays().items())


def test_importing_draws_nothing_and_the_renderer_needs_no_torch():
    folder = Path(blocks.__file__).parent
    code = blocks.WORKER.replace("work(sys.argv[4])", "print('torch' in sys.modules)")
    command = [
        sys.executable,
        "-c",
        code,
        str(folder.parent.parent),
        str(folder.parent),
        str(folder),
        ".",
    ]
    assert subprocess.run(command, capture_output=True, text=True).stdout.strip() == "False"


def test_neither_colours_nor_background_give_ants_and_bees_away(cache):
    from sklearn.linear_model import LogisticRegression

    data = load(("ants", "bees"), 60, 64, test_per_class=60, cache=cache, progress=False)
    tiny = [
        torch.nn.functional.adaptive_avg_pool2d(s.images.float() / 255, 8).flatten(1).numpy()
        for s in (data.train, data.test)
    ]
    model = LogisticRegression(C=0.05, max_iter=500).fit(tiny[0], data.train.targets)
    assert model.score(tiny[1], data.test.targets) < 0.65
