"""Any sound photo is read, whatever surrounds its pixels; what stops one photo stops no other; all is bounded."""

from __future__ import annotations

import errno
import mmap
import os
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from ftcourse.data import inspection, photo_faults
from ftcourse.data import photos as photos_module
from ftcourse.data.audit import audit
from ftcourse.data.deep_greys import common_bits, eight_bits
from ftcourse.data.loading import load_data
from ftcourse.data.photo_faults import read_file, reason_of
from ftcourse.data.photos import MOST_RATIO, own_pages, read_pixels
from ftcourse.data.transforms import eval_transforms
from ftcourse.shipping.inference import Classifier, predict_files
from tests.data.test_audit import only, save, scene
from tests.data.test_audit import photos as photos
from tests.data.test_loading import photo

pytestmark = pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="named pipes of POSIX")


# --- metadata ------------------------------------------------------------------------------------


def chunk(name: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
    )


def with_chunk(png: Path, added: bytes, after_pixels: bool = False) -> Path:
    data = png.read_bytes()
    at = (
        data.rindex(b"IEND") - 4 if after_pixels else 33
    )  # before the last chunk, or after the first
    png.write_bytes(data[:at] + added + data[at:])
    return png


LARGE = zlib.compress(b"x" * 8 * 2**20)
ODD_CHUNKS = {
    "large text": chunk(b"zTXt", b"Comment\0\0" + LARGE),
    "large international text": chunk(b"iTXt", b"Comment\0\1\0\0\0" + LARGE),
    "large colour profile": chunk(b"iCCP", b"icc\0\0" + LARGE),
    "damaged text": chunk(b"tEXt", b"Comment\0hello")[:-4] + b"\0\0\0\0",
    "damaged colour profile": chunk(b"iCCP", b"icc\0\0no zlib"),
    "damaged EXIF": chunk(b"eXIf", b"II*\0\xff\xff\xff\x7f\0\0"),
    "unknown": chunk(b"prVt", b"anything"),
}


@pytest.mark.parametrize("after_pixels", [False, True])
@pytest.mark.parametrize("name", ODD_CHUNKS)
def test_odd_metadata_is_no_reason_to_refuse_a_sound_png(tmp_path, name, after_pixels):
    file = save(tmp_path / "x.png", 1)
    before = read_pixels(file, None)
    assert np.array_equal(
        read_pixels(with_chunk(file, ODD_CHUNKS[name], after_pixels), None), before
    )


def test_an_orientation_beside_a_large_text_is_still_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    photo(tmp_path / "x.png", size=(60, 40), exif=exif)
    assert read_pixels(with_chunk(tmp_path / "x.png", ODD_CHUNKS["large text"]), None).shape == (
        60,
        40,
        3,
    )


def test_damaged_pixels_of_a_png_are_still_an_error(tmp_path):
    file = save(tmp_path / "x.png", 1)
    data = bytearray(file.read_bytes())
    data[data.index(b"IDAT") + 20] ^= 255
    file.write_bytes(data)
    with pytest.raises(ValueError, match=r"x\.png: cannot be decoded"):
        read_pixels(file, None)


@pytest.mark.parametrize("exif", [b"MM\0*\xff\xff\xff\xff garbage", b"no TIFF header", b"II*\0"])
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_exif_data_that_cannot_be_read_leave_a_photo_as_it_is(photos, exif, suffix):
    file = photo(photos / "cats" / f"odd.{suffix}", size=(60, 40), exif=b"Exif\0\0" + exif)
    assert read_pixels(file, None).shape == (40, 60, 3)
    assert not audit(photos).of_kind("undecodable")


# --- phones --------------------------------------------------------------------------------------


def phone_photo(path: Path, **options) -> Path:
    """A photo with a second picture behind it, as phones add a depth map or a gain map."""
    scene(500, 400).save(
        path, format="MPO", save_all=True, append_images=[scene(600, 100)], **options
    )
    return path


def test_a_phones_photo_with_a_second_picture_in_it_is_not_called_animated(photos):
    phone_photo(photos / "cats" / "phone.jpg")
    assert not audit(photos).findings


def test_a_phones_photo_is_its_first_picture_and_decoded_small_as_any_jpeg(tmp_path):
    file = phone_photo(tmp_path / "x.jpg")
    assert read_pixels(file, None).shape == (400, 400, 3)
    small = read_pixels(file, 50)
    expected = np.asarray(
        scene(500, 400).resize((50, 50), Image.Resampling.BICUBIC, reducing_gap=3.0)
    )
    assert small.shape == (50, 50, 3) and np.abs(small.astype(int) - expected).mean() < 4


def test_pages_of_a_tiff_are_told_as_pages(photos):
    scene(500).save(photos / "cats" / "stack.tif", save_all=True, append_images=[scene(600)])
    assert only(audit(photos), "pages").files == ["cats/stack.tif"]


# --- what the cause is ---------------------------------------------------------------------------

CAUSES = {
    b"": "empty file",
    b"<!DOCTYPE html><html>404": "a web page",
    b"version https://git-lfs.github.com/spec/v1\n": "Git LFS",
    b"%PDF-1.7": "a PDF",
    b"\0\0\0\x18ftypmp42": "a video",
    b"\0\0\0\x18ftypheic" + bytes(40): "pillow-heif",
    bytes(500): "nothing but zeros",
    b"neither of them": "not an image, or a damaged one",
}


@pytest.mark.parametrize("content", CAUSES)
def test_a_message_names_the_real_cause_alike_in_load_audit_and_predict(photos, content):
    file = photos / "cats" / "x.jpg"
    file.write_bytes(content)
    cause = CAUSES[content]
    with pytest.raises(ValueError, match=rf"x\.jpg: cannot be decoded \(.*{cause}"):
        read_pixels(file, 20)
    assert cause in only(audit(photos), "undecodable").files[0]
    (answer,) = predict_files(classifier(), [file])
    assert cause in answer["error"] and str(file) in answer["error"]


def test_too_many_pixels_are_told_in_plain_words(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100_000_000)
    Image.new("1", (30_000, 20_000)).save(tmp_path / "x.png")
    with pytest.raises(
        ValueError, match="600 million pixels, more than the 200 million that are read"
    ):
        read_pixels(tmp_path / "x.png", 20)


@POSIX
def test_a_link_to_nothing_and_a_file_that_may_not_be_read_say_so(photos):
    (photos / "cats" / "gone.jpg").symlink_to("nowhere.jpg")
    assert "a link to one that is not there" in only(audit(photos), "undecodable").files[0]
    assert "permission denied" in reason_of(PermissionError(errno.EACCES, "Permission denied"))


@POSIX
def test_what_is_no_regular_file_is_never_opened(tmp_path):
    os.mkfifo(tmp_path / "x.jpg")
    for path in (tmp_path / "x.jpg", Path("/dev/zero"), tmp_path):
        with pytest.raises(ValueError, match="not a file"):
            read_pixels(path, 20)
    (answer,) = predict_files(classifier(), [tmp_path / "x.jpg"])
    assert "a named pipe" in answer["error"]


def test_a_file_too_large_for_a_photo_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(photo_faults, "MOST_BYTES", 2**10)
    (tmp_path / "x.jpg").write_bytes(bytes(2**11))
    with pytest.raises(ValueError, match="more than"):
        read_file(tmp_path / "x.jpg")


# --- one photo stops no other, and a limit of the system is not the photo's fault -----------------


def classifier() -> Classifier:
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 2)).eval()
    return Classifier(model, ["a", "b"], eval_transforms(16), 16, 20, {})


FAILURES = [
    MemoryError(),
    RuntimeError("can't allocate memory: you tried"),
    ZeroDivisionError("x"),
    SystemError("y"),
]


@pytest.mark.parametrize("failure", FAILURES, ids=repr)
def test_whatever_one_photo_raises_the_others_are_answered(photos, monkeypatch, failure):
    files = sorted((photos / "cats").iterdir())[:3]

    def decoded(image, *rest):
        if image.size == (66, 66):
            raise failure
        return whole(image, *rest)

    whole = photos_module.decoded
    save(files[1], 1, side=66)
    monkeypatch.setattr(photos_module, "decoded", decoded)
    monkeypatch.setattr(inspection, "decoded", decoded)
    answers = list(predict_files(classifier(), files))
    assert ["error" in answer for answer in answers] == [False, True, False]
    finding = only(audit(photos), "undecodable")
    assert len(finding.files) == 1
    if "memory" in str(failure) or isinstance(failure, MemoryError):
        assert (
            "not enough memory" in finding.files[0] and "not enough memory" in answers[1]["error"]
        )


def test_a_transform_that_fails_for_one_photo_stops_no_other(photos):
    def transform(image):
        if image.shape[-1] == 13:
            raise RuntimeError("too thin")
        return torch.zeros(3, 16, 16)

    narrow = photo(photos / "narrow.png", size=(13, 40))
    net = classifier()
    net.transform = transform
    answers = list(predict_files(net, [narrow, *sorted((photos / "cats").iterdir())[:2]]))
    assert (
        answers[0]["error"] == f"{narrow}: too thin"
        and "class" in answers[1]
        and "class" in answers[2]
    )


@pytest.mark.parametrize("code", [errno.ENOMEM, errno.EMFILE, errno.ENFILE])
def test_a_limit_of_the_system_is_raised_as_itself_in_plain_words(photos, monkeypatch, code):
    def refuse(path):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(photos_module, "read_file", refuse)
    monkeypatch.setattr(inspection, "read_file", refuse)
    file = photos / "cats" / "000.png"
    for look in (
        lambda: load_data(photos, size=16, on_error="skip"),
        lambda: audit(photos),
        lambda: list(predict_files(classifier(), [file])),
        lambda: read_pixels(file, 20),
    ):
        with pytest.raises(
            OSError, match=r"may open no more|can open no more|no more memory"
        ) as caught:
            look()
        assert caught.value.errno == code


# --- memory --------------------------------------------------------------------------------------


def test_small_photos_take_no_memory_map_of_their_own_and_large_ones_a_bounded_number(monkeypatch):
    def maps(pixels: np.ndarray) -> bool:
        return isinstance(own_pages(pixels).base, np.ndarray | mmap.mmap | memoryview)

    small, large = np.ones((100, 100, 3), np.uint8), np.ones((400, 400, 3), np.uint8)
    assert not maps(small) and maps(large)
    assert np.array_equal(own_pages(large), large)
    monkeypatch.setattr(photos_module, "MOST_MAPS", 0)
    assert not maps(large)


def test_photos_are_kept_where_the_system_gives_no_more_maps(monkeypatch):
    class Full(mmap.mmap):
        def __new__(cls, *args):
            raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(photos_module.mmap, "mmap", Full)
    large = np.ones((400, 400, 3), np.uint8)
    assert own_pages(large) is large


@settings(max_examples=25, deadline=None)
@given(long=st.integers(1, 200_000), short=st.integers(1, 60), upright=st.booleans())
def test_no_photo_however_thin_asks_for_more_memory_than_a_bounded_one(long, short, upright):
    size = (short, max(long, short)) if upright else (max(long, short), short)
    pixels = photos_module.shrink(photos_module._middle(Image.new("RGB", size)), 160)
    assert max(pixels.shape[:2]) <= MOST_RATIO * min(pixels.shape[:2]) + MOST_RATIO
    assert min(pixels.shape[:2]) == min(short, *size, 160)


def test_a_strip_of_two_million_pixels_is_bounded_before_it_is_resized_answered_and_told(photos):
    file = photos / "cats" / "strip.png"
    Image.new("L", (2_000_000, 1)).save(file)
    assert read_pixels(file, 20).shape == (1, MOST_RATIO, 3)
    (answer,) = predict_files(classifier(), [file])
    assert answer["class"] in "ab"
    assert "only the middle" in only(audit(photos), "strip").message


def test_of_a_strip_the_middle_is_what_the_network_sees():
    strip = np.zeros((4, 4000, 3), np.uint8)
    strip[:, 1990:2010] = 255
    middle = np.asarray(photos_module._middle(Image.fromarray(strip)))
    whole = [
        eval_transforms(16)(torch.from_numpy(a.copy()).permute(2, 0, 1)) for a in (strip, middle)
    ]
    assert torch.allclose(*whole, atol=1e-4)


# --- deep greys ----------------------------------------------------------------------------------

RAMP = np.linspace(0, 1, 64 * 64).reshape(64, 64)


def deep(path: Path, top: float, roll: int = 0, kind: type = np.uint16) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((np.roll(RAMP, roll, axis=1) * top).astype(kind)).save(path)
    return path


@pytest.mark.parametrize("top", [255, 1023, 4095, 16383, 65535])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_deep_greys_are_scaled_by_the_bits_that_they_use(tmp_path, top, suffix):
    pixels = read_pixels(deep(tmp_path / f"x.{suffix}", top), None)
    assert pixels.max() == 255 and pixels.mean() == pytest.approx(127.5, abs=1)


@settings(max_examples=50, deadline=None)
@given(st.floats(0.6, 60_000), st.floats(1.0, 1.02))
def test_a_slightly_brighter_float_photo_is_not_darker_by_more_than_a_rule_of_depth(top, factor):
    before, after = (np.asarray(eight_bits(Image.fromarray((RAMP * t).astype(np.float32)))).mean()
                     for t in (top, top * factor))  # fmt: skip
    assert min(before, after) >= 255 / 2 / 4 - 1  # never black


def test_floats_from_zero_to_one_and_of_their_own_range_are_seen(tmp_path):
    for low, top in ((0, 1), (0, 1.01), (-1, 1), (-1000, 3000)):
        values = (low + (top - low) * RAMP).astype(np.float32)
        Image.fromarray(values).save(tmp_path / "x.tif")
        assert read_pixels(tmp_path / "x.tif", None).mean() == pytest.approx(127.5, abs=1.5)


def test_a_value_that_is_no_number_does_not_blacken_a_photo(tmp_path):
    values = RAMP.astype(np.float32)
    values[0, :3] = np.nan, np.inf, -np.inf
    Image.fromarray(values).save(tmp_path / "x.tif")
    assert read_pixels(tmp_path / "x.tif", None).mean() == pytest.approx(127.5, abs=1)


def test_deep_photos_of_a_folder_are_scaled_alike_and_the_audit_says_how(tmp_path):
    for label in "ab":
        for i in range(5):
            deep(tmp_path / label / f"{i}.png", 4095, 7 * i + 3 * (label == "b"))
    deep(tmp_path / "a" / "dim.png", 900, 33)
    data = load_data(tmp_path, size=64, cache_bytes=0)
    assert data.audit is not None
    finding = only(data.audit, "16 bit")
    assert finding.severity == "info" and "hold 12 bits: 4095 becomes white" in finding.message
    for loaded in (data, load_data(tmp_path, size=64)):
        seen = {
            p.stem: (s, i)
            for s in (loaded.train, loaded.val, loaded.test)
            for i, p in enumerate(s.paths)
        }
        split, i = seen["dim"]
        assert split.image(i).max() == pytest.approx(255 * 900 / 4095, abs=1)
        assert np.asarray(split.load(i)).max() == pytest.approx(255 * 900 / 4095, abs=1)


def test_one_hot_pixel_in_one_file_changes_no_other_file(tmp_path):
    for label in "ab":
        for i in range(5):
            deep(tmp_path / label / f"{i}.png", 4095, 7 * i + 3 * (label == "b"))
    hot = (np.roll(RAMP, 21, axis=1) * 4095).astype(np.uint16)
    hot[0, 0] = 65535
    Image.fromarray(hot).save(tmp_path / "b" / "hot.png")
    report = audit(tmp_path)
    assert [f.severity for f in report.of_kind("16 bit")] == ["warning", "warning"]
    assert only(report, "nearly one brightness").files == ["b/hot.png"]
    assert (
        common_bits([12] * 10 + [16]) == 12
        and common_bits([12, 16]) == 16
        and common_bits([0]) == 0
    )


def test_a_photo_of_nearly_one_brightness_is_told(photos):
    grey = np.random.default_rng(0).integers(0, 13, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(grey).save(photos / "cats" / "black.png")
    finding = only(audit(photos), "nearly one brightness")
    assert finding.severity == "warning" and finding.files == ["cats/black.png"]
