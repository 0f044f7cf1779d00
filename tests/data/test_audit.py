"""The audit finds what could spoil training, names the files, and changes none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from ftcourse.data.audit import Audit, audit


def scene(seed: int, side: int = 64) -> Image.Image:
    """A picture with soft shapes, another for each seed, as photos are."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


def save(path: Path, seed: int, side: int = 64, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    scene(seed, side).save(path, **options)
    return path


def class_folders(root: Path, **counts: int) -> Path:
    for k, (label, n) in enumerate(counts.items()):
        for i in range(n):
            save(root / label / f"{i:03d}.png", seed=1000 * k + i)
    return root


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return class_folders(tmp_path / "photos", cats=12, dogs=12)


def only(report: Audit, kind: str):
    found = report.of_kind(kind)
    assert len(found) == 1, report.summary()
    return found[0]


def test_a_clean_folder_has_no_findings_and_its_counts(photos):
    report = audit(photos)
    assert report.findings == [] and report.ok
    assert report.counts == {"all": {"cats": 12, "dogs": 12}}
    assert "nothing found" in report.summary()


def test_files_that_cannot_be_decoded_are_errors_with_their_reason(photos):
    whole = save(photos / "cats" / "bad.jpg", 99).read_bytes()
    (photos / "cats" / "bad.jpg").write_bytes(whole[: len(whole) // 2])
    whole = save(photos / "cats" / "bad.png", 98).read_bytes()
    (photos / "cats" / "bad.png").write_bytes(whole[: len(whole) // 2])
    (photos / "dogs" / "page.jpg").write_text("<html>")
    finding = only(audit(photos), "undecodable")
    assert finding.severity == "error"
    assert finding.files == [
        "cats/bad.jpg (truncated file)",
        "cats/bad.png (truncated file)",
        "dogs/page.jpg (not a photo but a web page, as of a download that failed)",
    ]


def test_files_left_out_are_listed_with_the_reason(photos):
    (photos / "readme.txt").write_text("hello")
    finding = only(audit(photos), "left out")
    assert finding.severity == "info" and finding.files == ["readme.txt (not a photo)"]
    save(photos / "loose.png", 77)
    finding = only(audit(photos), "left out")
    assert finding.severity == "warning"
    assert "loose.png (lies beside the class folders)" in finding.files


def test_the_same_file_twice_in_a_class_is_mentioned(photos):
    save(photos / "cats" / "again.png", 3)
    finding = only(audit(photos), "exact duplicates")
    assert finding.severity == "info"
    assert finding.files == ["cats/003.png = cats/again.png"]


def test_the_same_file_under_two_labels_is_an_error(photos):
    save(photos / "dogs" / "a cat.png", 3)
    finding = only(audit(photos), "two labels")
    assert finding.severity == "error"
    assert finding.files == ["cats/003.png = dogs/a cat.png"]


@pytest.fixture
def splits(tmp_path: Path) -> Path:
    class_folders(tmp_path / "train", a=12, b=12)
    for i in range(3):
        save(tmp_path / "val" / "a" / f"{i}.png", 5000 + i)
        save(tmp_path / "val" / "b" / f"{i}.png", 6000 + i)
    return tmp_path


def test_the_same_file_in_two_splits_is_leakage(splits):
    save(splits / "val" / "a" / "leak.png", 4)
    report = audit(splits)
    finding = only(report, "leakage")
    assert finding.severity == "error"
    assert finding.files == ["train/a/004.png = val/a/leak.png"]
    assert report.counts == {"train": {"a": 12, "b": 12}, "val": {"a": 4, "b": 3}}


def test_a_smaller_and_recompressed_copy_in_another_split_is_leakage_too(splits):
    scene(4, 200).resize((48, 48)).save(splits / "val" / "a" / "leak.jpg", quality=60)
    finding = only(audit(splits), "leakage")
    assert finding.severity == "warning" and "nearly the same" in finding.message
    assert finding.files == ["train/a/004.png = val/a/leak.jpg"]


def test_nearly_the_same_photo_within_a_class_is_mentioned_once(photos):
    scene(4).save(photos / "cats" / "copy.jpg", quality=70)
    scene(4, 128).save(photos / "cats" / "large copy.jpg", quality=90)
    finding = only(audit(photos), "near duplicates")
    assert finding.files == ["cats/004.png = cats/copy.jpg = cats/large copy.jpg"]


def test_plain_pictures_are_not_taken_for_copies_of_each_other(photos):
    for i in range(4):
        ramp = np.linspace(100 + i, 130 + 5 * i, 64, dtype=np.uint8)
        Image.fromarray(np.tile(ramp, (64, 1))).save(photos / "cats" / f"sky{i}.png")
    assert not audit(photos).of_kind("near duplicates")


def test_a_mirrored_copy_in_another_split_is_leakage_too(splits):
    ImageOps.mirror(scene(4)).save(splits / "val" / "a" / "leak.png")
    finding = only(audit(splits), "leakage")
    assert finding.severity == "warning"
    assert finding.files == ["train/a/004.png = val/a/leak.png"]


def test_a_placeholder_is_suspected_by_name_or_by_its_few_colours(photos):
    Image.new("P", (50, 50), 3).save(photos / "cats" / "imageNotFound.gif")
    Image.new("RGB", (50, 50), (200, 200, 200)).save(photos / "dogs" / "17.png")
    report = audit(photos)
    finding = only(report, "placeholder?")
    assert finding.severity == "warning"
    assert [f.split(" ")[0] for f in finding.files] == ["cats/imageNotFound.gif", "dogs/17.png"]
    assert report.counts == {"all": {"cats": 12, "dogs": 12}}


def test_a_class_too_small_to_split_is_an_error(tmp_path):
    finding = only(audit(class_folders(tmp_path, a=20, b=2)), "class too small")
    assert finding.severity == "error" and "b (2)" in finding.message


def test_small_classes_and_imbalance_are_warnings(tmp_path):
    report = audit(class_folders(tmp_path, a=31, b=6))
    assert "b (6)" in only(report, "small class").message
    assert "a has 31 photos, b has 6 (5.2 times fewer)" in only(report, "class imbalance").message
    assert not audit(class_folders(tmp_path / "even", a=12, b=20)).findings


def test_odd_modes_and_rotation_are_named_with_what_is_done(photos):
    cats = photos / "cats"
    scene(201).convert("CMYK").save(cats / "print.jpg")
    deep = np.random.default_rng(1).integers(0, 65535, (64, 64)).astype(np.uint16)
    Image.fromarray(deep).save(cats / "deep.png")
    scene(203).quantize(200).save(cats / "palette.png")
    scene(204).save(cats / "moves.gif", save_all=True, append_images=[scene(205)])
    exif = Image.Exif()
    exif[0x0112] = 8
    scene(206).save(cats / "turned.jpg", exif=exif)
    scene(207).convert("RGBA").save(cats / "clear.png")
    scene(208, 20).save(cats / "icon.png")
    scene(209).convert("L").save(cats / "grey.png")
    report = audit(photos)
    named = {f.kind: [Path(name).name for name in f.files] for f in report.findings}
    assert named == {
        "CMYK": ["print.jpg"],
        "16 bit": ["deep.png"],
        "palette": ["moves.gif", "palette.png"],
        "animated": ["moves.gif"],
        "transparent": ["clear.png"],
        "EXIF rotation": ["turned.jpg"],
        "tiny": ["icon.png"],
        "grey": ["grey.png"],
    }
    assert {f.severity for f in report.findings} == {"info"}


def test_what_keeps_a_folder_from_being_used_is_a_finding(tmp_path):
    assert "no photos" in only(audit(tmp_path), "layout").message
    class_folders(tmp_path, cats=3)
    assert "single class" in only(audit(tmp_path), "layout").message
    with pytest.raises(FileNotFoundError, match="no such folder"):
        audit(tmp_path / "missing")


def test_a_class_in_val_alone_is_a_finding(splits):
    save(splits / "val" / "c" / "1.png", 7000)
    report = audit(splits)
    assert not report.ok
    assert any("'c' is in val/ but not in train/" in f.message for f in report.of_kind("layout"))


def test_the_summary_shows_five_files_and_how_many_more(photos):
    for i in range(8):
        (photos / "cats" / f"bad{i}.jpg").write_bytes(b"no photo")
    text = audit(photos).summary()
    assert "cats/bad4.jpg" in text and "cats/bad5.jpg" not in text and "... and 3 more" in text
    assert "[error] undecodable: 8 files" in text


def test_errors_come_first(photos):
    (photos / "a.txt").write_text("x")
    (photos / "cats" / "bad.jpg").write_bytes(b"no photo")
    assert [f.severity for f in audit(photos).findings] == ["error", "info"]


def test_the_audit_goes_to_json_and_back(photos):
    save(photos / "cats" / "again.png", 3)
    text = json.dumps(audit(photos).to_dict())
    back = json.loads(text)
    assert back["findings"][0]["kind"] == "exact duplicates" and back["ok"] is True


def test_the_audit_changes_no_file(photos):
    before = {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in photos.rglob("*")}
    audit(photos)
    assert before == {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in photos.rglob("*")}
