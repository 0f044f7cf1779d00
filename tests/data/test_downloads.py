"""Real data sets are downloaded with care: from a server on this machine, never from outside."""

from __future__ import annotations

import hashlib
import io
import re
import socket
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ftcourse.data import downloads as datasets
from ftcourse.data.downloads import DATASETS, RealDataset, RemoteFile, cache_dir, cached, fetch
from ftcourse.data.loading import load_data

# --- a tiny data set and a server for it ---------------------------------------------------------


def png(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def zipped(names: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        for name, content in names.items():
            packed.writestr(name, content)
    return out.getvalue()


PHOTOS = {
    f"tiny_data/{split}/{label}/{i}.png": png(100 * k + i)
    for k, (split, label, n) in enumerate(
        [("train", "a", 4), ("train", "b", 4), ("val", "a", 2), ("val", "b", 2)]
    )
    for i in range(n)
}
ARCHIVE = zipped(PHOTOS)


@dataclass
class Served:
    """What the server gives, and what it was asked for."""

    files: dict[str, bytes]
    ranges: bool = True
    break_after: int | None = None  # bytes of a body, once
    drip: str = ""  # "answer" or "body": sent letter by letter, for ever
    endless: bool = False  # the body goes on and on
    stop: threading.Event = field(default_factory=threading.Event)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def server() -> Iterator[Served]:
    served = Served({"/tiny_data.zip": ARCHIVE})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            served.asked.append((self.path, wanted))
            body = served.files.get(self.path)
            if body is None:
                self.send_error(404)
                return
            if served.drip or served.endless:
                self.misbehave(body)
                return
            start = int(re.match(r"bytes=(\d+)-", wanted)[1]) if wanted and served.ranges else 0
            if start >= len(body):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body) - start))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            self.end_headers()
            piece = body[start:]
            if served.break_after is not None:
                piece, served.break_after = piece[: served.break_after], None
            self.wfile.write(piece)

        def misbehave(self, body: bytes) -> None:
            try:
                if served.drip != "answer":
                    self.send_response(200)
                    self.end_headers()
                while not served.stop.wait(0 if served.endless else 0.05):
                    self.wfile.write(body if served.endless else b"x")
                    self.wfile.flush()
            except OSError:  # nobody listens any more
                self.close_connection = True

        def log_message(self, *args: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.url = f"http://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield served
    served.stop.set()
    http.shutdown()
    thread.join()
    http.server_close()


def arrange(folder: Path) -> None:
    for entry in list((folder / "tiny_data").iterdir()):
        entry.rename(folder / entry.name)


@pytest.fixture
def tiny_set(monkeypatch, server) -> RealDataset:
    file = RemoteFile(
        "tiny_data.zip",
        hashlib.sha256(ARCHIVE).hexdigest(),
        len(ARCHIVE),
        (f"{server.url}/tiny_data.zip",),
    )
    made = RealDataset(
        "tiny", "Tiny set", (file,), {"train": 8, "val": 4}, arrange, "For tests.", ""
    )
    monkeypatch.setitem(DATASETS, "tiny", made)
    monkeypatch.setattr(datasets, "TIMEOUT", 5.0)
    return made


def dead_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def use(monkeypatch, dataset: RealDataset, **changes) -> None:
    changed = replace(dataset, files=(replace(dataset.files[0], **changes),))
    monkeypatch.setitem(DATASETS, "tiny", changed)


# --- download ------------------------------------------------------------------------------------


def test_a_set_is_downloaded_once_and_unpacked(tiny_set, server, tmp_path):
    folder = fetch("tiny", cache=tmp_path)
    assert folder == tmp_path / "tiny" == cached("tiny", tmp_path)
    assert (folder / "train" / "a" / "0.png").read_bytes() == png(0)
    assert fetch("tiny", cache=tmp_path) == folder
    assert server.asked == [("/tiny_data.zip", None)]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["tiny", "tiny_data.zip"]


def test_a_download_goes_on_where_it_stopped(tiny_set, server, tmp_path):
    (tmp_path / "tiny_data.zip.part").write_bytes(ARCHIVE[:1000])
    fetch("tiny", cache=tmp_path)
    assert server.asked == [("/tiny_data.zip", "bytes=1000-")]


def test_a_connection_that_breaks_is_resumed(tiny_set, server, tmp_path):
    server.break_after = 700
    fetch("tiny", cache=tmp_path)
    assert [wanted for _, wanted in server.asked] == [None, "bytes=700-"]


def test_a_server_without_ranges_starts_again(tiny_set, server, tmp_path):
    server.ranges = False
    (tmp_path / "tiny_data.zip.part").write_bytes(b"x" * 1000)
    assert fetch("tiny", cache=tmp_path).is_dir()


def test_a_damaged_beginning_is_thrown_away_and_fetched_again(tiny_set, server, tmp_path):
    (tmp_path / "tiny_data.zip.part").write_bytes(b"x" * 1000)
    fetch("tiny", cache=tmp_path)
    assert [wanted for _, wanted in server.asked] == ["bytes=1000-", None]


def test_a_part_that_is_complete_is_only_checked(tiny_set, server, tmp_path):
    (tmp_path / "tiny_data.zip.part").write_bytes(ARCHIVE)
    assert fetch("tiny", cache=tmp_path).is_dir()


def test_a_file_with_another_hash_is_refused(tiny_set, server, tmp_path):
    server.files["/tiny_data.zip"] = zipped({"tiny_data/train/a/0.png": png(5)})
    with pytest.raises(ConnectionError, match=r"sha256 is \w{12}\.\.\., expected"):
        fetch("tiny", cache=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("first", ["dead", "missing", "wrong"])
def test_when_the_first_source_fails_the_second_is_used(
    tiny_set, server, tmp_path, monkeypatch, first
):
    server.files["/wrong.zip"] = b"other bytes"
    bad = {
        "dead": f"{dead_address()}/tiny_data.zip",
        "missing": f"{server.url}/nothing.zip",
        "wrong": f"{server.url}/wrong.zip",
    }[first]
    monkeypatch.setattr(datasets.time, "sleep", lambda seconds: None)
    use(monkeypatch, tiny_set, urls=(bad, f"{server.url}/tiny_data.zip"))
    assert fetch("tiny", cache=tmp_path).is_dir()


def test_sources_of_ones_own_are_used_instead(tiny_set, server, tmp_path, monkeypatch):
    use(monkeypatch, tiny_set, urls=(f"{dead_address()}/tiny_data.zip",))
    assert fetch("tiny", cache=tmp_path, sources=[server.url + "/"]).is_dir()


def test_without_a_network_one_sentence_says_what_to_do(tiny_set, tmp_path, monkeypatch):
    address = f"{dead_address()}/tiny_data.zip"
    monkeypatch.setattr(datasets.time, "sleep", lambda seconds: None)
    use(monkeypatch, tiny_set, urls=(address,))
    with pytest.raises(ConnectionError) as caught:
        fetch("tiny", cache=tmp_path)
    sentence = str(caught.value)
    assert "\n" not in sentence and address in sentence
    assert "ftcourse prefetch tiny" in sentence
    assert f"put tiny_data.zip into {tmp_path}" in sentence
    assert "pocket-insects" in sentence


def test_a_zip_put_into_the_cache_folder_by_hand_is_taken(tiny_set, server, tmp_path):
    (tmp_path / "tiny_data.zip").write_bytes(ARCHIVE)
    assert fetch("tiny", cache=tmp_path).is_dir()
    assert server.asked == []


def test_a_repacked_zip_put_there_by_hand_is_taken_with_a_warning(tiny_set, server, tmp_path):
    repacked = zipped(dict(sorted(PHOTOS.items(), reverse=True)))
    (tmp_path / "tiny.zip").write_bytes(repacked)
    with pytest.warns(UserWarning, match=r"tiny\.zip is not the official tiny_data\.zip"):
        fetch("tiny", cache=tmp_path)


@pytest.mark.filterwarnings("ignore:.*not the official")
def test_an_archive_with_photos_missing_is_refused_and_leaves_nothing(tiny_set, tmp_path):
    some = dict(list(PHOTOS.items())[1:])
    (tmp_path / "tiny_data.zip").write_bytes(zipped(some))
    with pytest.raises(ValueError, match="7 photos in train/ instead of 8; remove tiny_data"):
        fetch("tiny", cache=tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["tiny_data.zip"]


@pytest.mark.filterwarnings("ignore:.*not the official")
def test_a_truncated_zip_put_there_by_hand_is_called_damaged(tiny_set, tmp_path):
    (tmp_path / "tiny_data.zip").write_bytes(ARCHIVE[:-200])
    with pytest.raises(ValueError, match=r"tiny_data\.zip: is damaged .*remove it"):
        fetch("tiny", cache=tmp_path)


def test_a_full_disk_is_noticed_before_the_download(tiny_set, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.shutil, "disk_usage", lambda folder: type("D", (), {"free": 10}))
    with pytest.raises(ConnectionError, match="MB free"):
        fetch("tiny", cache=tmp_path)


def test_an_unknown_name_lists_the_known_ones(tmp_path):
    with pytest.raises(
        ValueError, match=r"no data set 'cars'; there are flowers, hymenoptera.* pets"
    ):
        fetch("cars", cache=tmp_path)


def test_a_source_that_never_stops_sending_is_left_at_the_known_size(tiny_set, server, tmp_path):
    server.endless = True
    with pytest.raises(ConnectionError, match=f"sends more than the {len(ARCHIVE)} bytes"):
        fetch("tiny", cache=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_source_that_announces_too_much_is_left_at_once(tiny_set, server, tmp_path):
    server.files["/tiny_data.zip"] = ARCHIVE + bytes(10)
    with pytest.raises(ConnectionError, match=f"would send {len(ARCHIVE) + 10} bytes instead of"):
        fetch("tiny", cache=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("where", ["answer", "body"])
def test_a_source_that_sends_letter_by_letter_is_left(
    tiny_set, server, tmp_path, monkeypatch, where
):
    server.drip = where
    monkeypatch.setattr(datasets, "TIMEOUT", 0.5)
    monkeypatch.setattr(datasets.time, "sleep", lambda seconds: None)
    with pytest.raises(ConnectionError, match=r"no answer within|too slow: "):
        fetch("tiny", cache=tmp_path)


# --- unpacking -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../evil.txt", "/evil.txt", "a/../../evil.txt", "C:\\evil.txt"])
def test_a_zip_that_would_write_outside_its_folder_is_refused(tmp_path, name):
    (tmp_path / "bad.zip").write_bytes(zipped({"good.txt": b"", name: b"evil"}))
    inner = tmp_path / "deep" / "inner"
    inner.mkdir(parents=True)
    with pytest.raises(ValueError, match="would be written outside its folder"):
        datasets._unpack(tmp_path / "bad.zip", inner)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["bad.zip", "deep", "inner"]


def test_a_link_in_a_zip_is_refused(tmp_path):
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as packed:
        packed.writestr(link, "/etc")
    with pytest.raises(ValueError, match="is a link"):
        datasets._unpack(tmp_path / "bad.zip", tmp_path)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
def test_a_link_or_a_device_in_a_tar_is_refused(tmp_path, kind):
    entry = tarfile.TarInfo("link")
    entry.type, entry.linkname = kind, "/etc/passwd"
    with tarfile.open(tmp_path / "bad.tar.gz", "w:gz") as packed:
        packed.addfile(entry)
    with pytest.raises(ValueError, match="is a link or a device"):
        datasets._unpack(tmp_path / "bad.tar.gz", tmp_path)


def test_a_tar_that_would_write_outside_its_folder_is_refused(tmp_path):
    with tarfile.open(tmp_path / "bad.tgz", "w:gz") as packed:
        packed.addfile(tarfile.TarInfo("../evil.txt"))
    with pytest.raises(ValueError, match="outside its folder"):
        datasets._unpack(tmp_path / "bad.tgz", tmp_path)


def bomb(name: str, megabytes: int) -> bytes:
    """An archive of zeros, a thousandth of their size."""
    out, zeros = io.BytesIO(), bytes(1 << 20)
    if name.endswith(".zip"):
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
            for i in range(megabytes):
                packed.writestr(f"{i}.jpg", zeros)
    else:
        with tarfile.open(fileobj=out, mode="w:gz", compresslevel=9) as packed:
            for i in range(megabytes):
                entry = tarfile.TarInfo(f"{i}.jpg")
                entry.size = len(zeros)
                packed.addfile(entry, io.BytesIO(zeros))
    return out.getvalue()


@pytest.mark.parametrize("name", ["bomb.zip", "bomb.tar.gz"])
def test_an_archive_that_unpacks_to_a_thousand_times_its_size_is_refused_before_it_is_written(
    tmp_path, name
):
    (tmp_path / name).write_bytes(bomb(name, 100))
    assert (tmp_path / name).stat().st_size < 500_000
    (tmp_path / "out").mkdir()
    with pytest.raises(ValueError, match=rf"{name}: refused, it unpacks to more than 1\d MB"):
        datasets._unpack(tmp_path / name, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_an_archive_whose_headers_lie_is_stopped_while_it_is_written(tmp_path, monkeypatch):
    (tmp_path / "bomb.zip").write_bytes(bomb("bomb.zip", 40))
    (tmp_path / "out").mkdir()
    true = datasets._zip_entries
    monkeypatch.setattr(datasets, "_zip_entries", lambda a, p, most: true(a, p, 10**12))
    with pytest.raises(ValueError, match="unpacks to more than"):
        datasets._unpack(tmp_path / "bomb.zip", tmp_path / "out")
    assert sum(p.stat().st_size for p in (tmp_path / "out").iterdir()) < 12_000_000


def test_a_tar_whose_names_alone_are_a_gigabyte_is_refused_without_the_memory(tmp_path):
    import gzip

    entry = tarfile.TarInfo("././@LongLink")
    entry.type, entry.size = tarfile.GNUTYPE_LONGNAME, 1 << 30
    with gzip.open(tmp_path / "bomb.tar.gz", "wb") as out:
        out.write(entry.tobuf())
        out.write(bytes(1 << 20))
    with pytest.raises(ValueError, match="unpacks to more than"):
        datasets._unpack(tmp_path / "bomb.tar.gz", tmp_path)


@pytest.mark.parametrize("names", [["a", "a/b"], ["a/b", "a"], ["."], ["x" * 300], ["a/."]])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_that_no_folder_can_have_are_refused_in_a_sentence(tmp_path, names, kind):
    file = tmp_path / f"odd.{kind}"
    if kind == "zip":
        file.write_bytes(zipped(dict.fromkeys(names, b"content")))
    else:
        with tarfile.open(file, "w") as packed:
            for name in names:
                packed.addfile(tarfile.TarInfo(name))
    (tmp_path / "out").mkdir()
    try:
        datasets._unpack(file, tmp_path / "out")
    except ValueError as err:
        assert f"odd.{kind}: refused, its entry" in str(err) and "cannot be written there" in str(
            err
        )
    else:
        assert names == ["a/."] or (names == ["."] and kind == "tar")


# --- the sets we know ----------------------------------------------------------------------------


def test_each_set_has_two_sources_and_a_sha256_for_each_file():
    assert {"flowers", "hymenoptera", "pets"} <= set(DATASETS)
    for dataset in DATASETS.values():
        for file in dataset.files:
            assert len(set(file.urls)) >= 2
            assert re.fullmatch(r"[0-9a-f]{64}", file.sha256)
            assert all(url.startswith("https://") for url in file.urls)


def test_load_data_takes_a_set_by_name_and_says_what_imagenet_has_seen(
    tmp_path, monkeypatch, tiny_set
):
    made = replace(tiny_set, name="hymenoptera", note=DATASETS["hymenoptera"].note)
    monkeypatch.setitem(DATASETS, "hymenoptera", made)
    monkeypatch.setenv("FTCOURSE_CACHE", str(tmp_path))
    data = load_data("hymenoptera", size=16)
    assert data.name == "hymenoptera"
    assert data.counts == {"train": 6, "val": 2, "test": 4}
    assert any("ImageNet classes" in note for note in data.notes)


def test_flowers_are_laid_out_in_their_official_splits(tmp_path):
    from scipy.io import savemat

    (tmp_path / "jpg").mkdir()
    for number in range(1, 7):
        (tmp_path / "jpg" / f"image_{number:05d}.jpg").write_bytes(b"photo %d" % number)
    savemat(tmp_path / "imagelabels.mat", {"labels": [[1, 1, 1, 102, 102, 102]]})
    splits = {"trnid": [[1, 4]], "valid": [[2, 5]], "tstid": [[3, 6]]}
    savemat(tmp_path / "setid.mat", splits)
    datasets._arrange_flowers(tmp_path)
    files = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.jpg"))
    assert files == [
        "test/blackberry lily/image_00006.jpg",
        "test/pink primrose/image_00003.jpg",
        "train/blackberry lily/image_00004.jpg",
        "train/pink primrose/image_00001.jpg",
        "val/blackberry lily/image_00005.jpg",
        "val/pink primrose/image_00002.jpg",
    ]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["test", "train", "val"]
    assert len(set(datasets.FLOWERS)) == 102


def test_a_set_of_several_files_is_fetched_and_a_missing_one_is_named(
    tmp_path, server, monkeypatch
):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as packed:
        for name in ("images/Abyssinian_1.jpg", "images/pug_1.jpg", "images/pug_2.jpg"):
            entry = tarfile.TarInfo(name)
            entry.size = 5
            packed.addfile(entry, io.BytesIO(b"photo"))
    lists = io.BytesIO()
    with tarfile.open(fileobj=lists, mode="w:gz") as packed:
        for name, text in {"trainval": b"Abyssinian_1 1\npug_1 2\n", "test": b"pug_2 2\n"}.items():
            entry = tarfile.TarInfo(f"annotations/{name}.txt")
            entry.size = len(text)
            packed.addfile(entry, io.BytesIO(text))
    contents = {"images.tar.gz": out.getvalue(), "annotations.tar.gz": lists.getvalue()}
    files = tuple(
        replace(file, sha256=hashlib.sha256(contents[file.name]).hexdigest())
        for file in DATASETS["pets"].files
    )
    made = replace(DATASETS["pets"], files=files, photos={"train": 2, "test": 1})
    monkeypatch.setitem(DATASETS, "pets", made)
    server.files["/images.tar.gz"] = contents["images.tar.gz"]
    with pytest.raises(ConnectionError, match=r"HTTP 404.* put annotations\.tar\.gz into"):
        fetch("pets", cache=tmp_path, sources=[server.url])
    server.files["/annotations.tar.gz"] = contents["annotations.tar.gz"]
    folder = fetch("pets", cache=tmp_path, sources=[server.url])
    assert [path for path, _ in server.asked].count("/images.tar.gz") == 1
    assert (folder / "test" / "pug" / "pug_2.jpg").read_bytes() == b"photo"


def test_pets_are_laid_out_in_their_official_splits(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "annotations").mkdir()
    for name in ("Abyssinian_1", "Abyssinian_2", "great_pyrenees_1"):
        (tmp_path / "images" / f"{name}.jpg").write_bytes(b"photo")
    lists = {
        "trainval": "Abyssinian_1 1 1 1\ngreat_pyrenees_1 16 2 9\n",
        "test": "Abyssinian_2 1 1",
    }
    for split, text in lists.items():
        (tmp_path / "annotations" / f"{split}.txt").write_text(text)
    datasets._arrange_pets(tmp_path)
    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.jpg")) == [
        "test/Abyssinian/Abyssinian_2.jpg",
        "train/Abyssinian/Abyssinian_1.jpg",
        "train/great_pyrenees/great_pyrenees_1.jpg",
    ]


def test_an_account_without_a_home_has_its_cache_among_the_temporary_files(monkeypatch):
    def none():
        raise RuntimeError("Could not determine home directory.")

    for name in ("FTCOURSE_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(datasets.Path, "home", none)
    assert str(cache_dir()).startswith(tempfile.gettempdir())


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {"XDG_CACHE_HOME": "/x"}, "/x/ftcourse"),
        ("linux", {}, "~/.cache/ftcourse"),
        ("darwin", {}, "~/Library/Caches/ftcourse"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/ftcourse/Cache"),
        ("linux", {"FTCOURSE_CACHE": "~/mine"}, "~/mine"),
    ],
)
def test_the_cache_folder_is_that_of_the_platform(monkeypatch, platform, variables, expected):
    for name in ("FTCOURSE_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(datasets.sys, "platform", platform)
    assert cache_dir() == Path(expected).expanduser()
