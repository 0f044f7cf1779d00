"""Real photos under the same call: `load_data("hymenoptera")`, `"flowers"`, `"pets"`.

Each set is downloaded once into the cache folder (`cache_dir()`), checked by sha256, unpacked and
laid out as `train/CLASS/*.jpg`, `val/` and `test/` as its authors split it. Where there is no
network, the files can be put into the cache folder by hand, and they are taken.

The hashes are public: that of hymenoptera_data.zip is in `.jenkins/download_data.py` of
pytorch/tutorials, those of Flowers102 and Oxford-IIIT Pet in the checksums of tensorflow/datasets;
torchvision lists md5 values of the same files. A second source need not be trusted: a file with
another hash is refused.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import os
import re
import shutil
import stat
import sys
import tarfile
import tempfile
import time
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.error import HTTPError

from tqdm.auto import tqdm

from ftcourse._transfer import receive

__all__ = ["DATASETS", "RealDataset", "RemoteFile", "cache_dir", "cached", "fetch"]

CHUNK = 1 << 18  # bytes written at a time
TIMEOUT = 30.0  # seconds without a byte, or with too few, until a source counts as dead
ATTEMPTS = 3  # times one source may break off and be resumed
LARGER = 10  # times its own size that an archive may unpack to; photos are packed already
# What a system says of a name that is no name, or is a file and a folder at once.
OF_THE_ENTRY = {
    errno.ENOTDIR,
    errno.EEXIST,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.EINVAL,
    errno.EILSEQ,
}
SUFFIXES = {".jpg", ".jpeg", ".png", ".gif", ".webp"}


@dataclass(frozen=True)
class RemoteFile:
    """One file of a data set, at two or more addresses; no source may send more than `bytes`."""

    name: str
    sha256: str
    bytes: int
    urls: tuple[str, ...]


@dataclass(frozen=True)
class RealDataset:
    """A data set of real photos: its files, and how they become `train/ val/ test/`.

    `photos` is the number of photos per split after unpacking; another number is an error.
    """

    name: str
    title: str
    files: tuple[RemoteFile, ...]
    photos: dict[str, int]
    arrange: Callable[[Path], None]
    note: str
    page: str


def cache_dir() -> Path:
    """`FTCOURSE_CACHE` if it is set, else the folder for caches of this platform.

    An account without a home has it in the folder for temporary files.
    """
    if chosen := os.environ.get("FTCOURSE_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or _home() / "AppData" / "Local"
        return Path(base) / "ftcourse" / "Cache"
    if sys.platform == "darwin":
        return _home() / "Library" / "Caches" / "ftcourse"
    return Path(os.environ.get("XDG_CACHE_HOME") or _home() / ".cache") / "ftcourse"


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:  # neither HOME nor an entry among the users
        return Path(tempfile.gettempdir()) / f"ftcourse-{getattr(os, 'getuid', lambda: 0)()}"


def cached(name: str, cache: str | os.PathLike | None = None) -> Path | None:
    """The unpacked folder of a data set if it is there; nothing is downloaded."""
    folder = (cache_dir() if cache is None else Path(cache)) / name
    return folder if folder.is_dir() else None


def fetch(
    name: str,
    cache: str | os.PathLike | None = None,
    sources: Sequence[str] | None = None,
) -> Path:
    """The folder with `train/CLASS/*.jpg` and so on; downloaded and unpacked on the first call.

    Args:
        name: "hymenoptera" (47 MB), "flowers" (345 MB) or "pets" (811 MB).
        cache: the folder to keep it in; `cache_dir()` by default. Archives that lie in it already
            are taken as if they had been downloaded.
        sources: addresses of folders that hold the files, tried instead of the official ones:
            `["http://192.168.1.5:8000"]` for a workshop that serves them in the room.

    Raises:
        ConnectionError: no source answers with the right file; the message says what to put where.
        ValueError: no such data set, or an archive is damaged or would write outside its folder.
    """
    dataset = _known(name)
    home = cache_dir() if cache is None else Path(cache).expanduser()
    if folder := cached(name, home):
        return folder
    home.mkdir(parents=True, exist_ok=True)
    archives = [_obtain(dataset, file, home, sources) for file in dataset.files]
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=home) as temporary:
        work = Path(temporary) / name
        work.mkdir()
        for archive in archives:
            _unpack(archive, work)
        dataset.arrange(work)
        _check_counts(dataset, work, home)
        work.rename(home / name)  # complete or not there at all
    return home / name


def _known(name: str) -> RealDataset:
    if name not in DATASETS:
        raise ValueError(f"no data set {name!r}; there are {', '.join(sorted(DATASETS))}")
    return DATASETS[name]


# --- download ------------------------------------------------------------------------------------


def _obtain(
    dataset: RealDataset, file: RemoteFile, home: Path, sources: Sequence[str] | None
) -> Path:
    """The file in the cache folder: put there by hand, or downloaded from the first good source."""
    target = home / file.name
    names = [file.name] + ([f"{dataset.name}.zip"] if len(dataset.files) == 1 else [])
    by_hand = next((home / name for name in names if (home / name).is_file()), None)
    if by_hand is not None:
        if _sha256(by_hand) != file.sha256:
            warnings.warn(
                f"{by_hand} is not the official {file.name} (another sha256); it is taken because "
                f"it was put there, and its photos are counted",
                stacklevel=4,
            )
        return by_hand
    urls = [f"{base.rstrip('/')}/{file.name}" for base in sources or ()] or list(file.urls)
    failures = []
    for url in urls:
        try:
            _download(url, target, file)
            return target
        except (OSError, HTTPException, ValueError) as err:
            failures.append(f"{url}: {_reason(err)}")
    needed = ", ".join(f.name for f in dataset.files if not (home / f.name).is_file())
    raise ConnectionError(
        f"cannot download {dataset.title} ({'; '.join(failures)}): with a network, run `ftcourse "
        f"prefetch {dataset.name}`, or put {needed} into {home}; "
        f'load_data("pocket-insects") needs no network'
    )


def _download(url: str, target: Path, file: RemoteFile) -> None:
    """Download into `target`.part, going on where an earlier try stopped; then check and rename.

    Raises:
        OSError: the source does not answer, or keeps breaking off.
        ValueError: the whole file came, with another hash, or more than the file; it is removed.
    """
    part = target.with_name(target.name + ".part")
    for attempt in range(ATTEMPTS):
        resumed = part.exists() and part.stat().st_size > 0
        try:
            _receive(url, part, file)
        except ValueError:  # too much: what there is of it is of no use
            part.unlink(missing_ok=True)
            raise
        except (OSError, HTTPException) as err:
            final = isinstance(err, HTTPError) or attempt == ATTEMPTS - 1
            if final:
                raise
            time.sleep(0.5 * attempt)
            continue
        found = _sha256(part)
        if found == file.sha256:
            part.replace(target)
            return
        part.unlink()
        if not resumed:  # else the first piece may have been at fault: once more from the start
            raise ValueError(f"sha256 is {found[:12]}..., expected {file.sha256[:12]}...")
    raise OSError("keeps sending damaged data")


def _receive(url: str, part: Path, file: RemoteFile) -> None:
    """Append what is missing to `part`; all of it where the server does not do ranges."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "ftcourse", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        incoming = receive(url, headers, patience=TIMEOUT, most=file.bytes)
    except HTTPError as err:
        if err.code == 416:  # nothing is missing, or `part` is too long: the hash will tell
            return
        raise
    with closing(incoming):
        if incoming.status != 206 or not _continues(incoming.headers, have):
            have = 0
        length = incoming.headers.get("Content-Length") or ""
        total = have + int(length) if length.isdigit() else file.bytes
        if total > file.bytes:
            raise ValueError(f"would send {total} bytes instead of {file.bytes}")
        _check_space(part.parent, total - have)
        bar = tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=file.name)
        with bar, part.open("ab" if have else "wb") as out:
            for block in incoming.blocks:
                if out.tell() + len(block) > file.bytes:
                    raise ValueError(f"sends more than the {file.bytes} bytes that it should")
                out.write(block)
                bar.update(len(block))
    if length and part.stat().st_size < total:
        raise OSError(f"broke off after {part.stat().st_size} of {total} bytes")


def _continues(headers: Any, have: int) -> bool:
    return bool(re.match(rf"bytes {have}-", headers.get("Content-Range", "")))


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < 2 * needed:  # the archive, then its photos
        raise OSError(f"{folder} has {free / 1e6:.0f} MB free, {2 * needed / 1e6:.0f} are needed")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as source:
        while block := source.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _reason(err: Exception) -> str:
    reason = getattr(err, "reason", None) or err
    if isinstance(err, HTTPError):
        return f"HTTP {err.code}"
    return str(getattr(reason, "strerror", None) or reason) or type(err).__name__


# --- unpacking -----------------------------------------------------------------------------------


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip or a tar into `folder`; a file that is neither is copied.

    Every entry is judged before the first is written: absolute paths, `..`, drive letters and links
    are refused, and archives that unpack to far more than they are.

    Raises:
        ValueError: such an entry, or a damaged archive; the message names it.
    """
    try:
        most = LARGER * archive.stat().st_size + 10_000_000
        if archive.name.endswith((".tgz", ".tar.gz", ".tar")):
            packed: Any = open if archive.suffix == ".tar" else gzip.open
            with packed(archive, "rb") as stream:
                bounded = _Bounded(stream, archive, most)
                with tarfile.open(fileobj=bounded, mode="r:") as tar:
                    _write(archive, folder, _tar_entries(archive, tar), most)
        elif archive.suffix == ".zip":
            with zipfile.ZipFile(archive) as unzipped:
                _write(archive, folder, _zip_entries(archive, unzipped, most), most)
        else:
            shutil.copy(archive, folder / archive.name)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError) as err:
        if isinstance(err, OSError) and err.errno is not None:
            raise  # the disk, not the archive
        raise ValueError(f"{archive}: is damaged ({err}); remove it and try again") from err


Entry = tuple[PurePosixPath, Callable[[], Any]]  # the place inside the folder, how to open it


class _Bounded:
    """A stream of which no more than `most` bytes are read; a tar keeps its headers in memory."""

    def __init__(self, stream: Any, archive: Path, most: int) -> None:
        self.stream, self.archive, self.most = stream, archive, most

    def read(self, size: int = -1) -> bytes:
        self._check(self.stream.tell() + size if size >= 0 else self.most + 1)
        return self.stream.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_SET:
            self._check(offset)
        return self.stream.seek(offset, whence)

    def _check(self, position: int) -> None:
        if position > self.most + tarfile.RECORDSIZE:  # it reads a little ahead
            raise _too_large(self.archive, self.most)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def _too_large(archive: Path, most: int) -> ValueError:
    return ValueError(
        f"{archive}: refused, it unpacks to more than {most / 1e6:.0f} MB, which no archive of photos of its "
        f"size does; get it from another source"
    )


def _zip_entries(archive: Path, packed: zipfile.ZipFile, most: int) -> list[Entry]:
    entries: list[Entry] = []
    if sum(info.file_size for info in packed.infolist()) > most:
        raise _too_large(archive, most)
    for info in packed.infolist():
        if stat.S_ISLNK(info.external_attr >> 16):
            raise _refused(archive, info.filename, "is a link")
        if info.flag_bits & 1:
            raise _refused(archive, info.filename, "needs a password")
        inside = _inside(archive, info.filename)
        if not info.is_dir():
            entries.append((inside, lambda info=info: packed.open(info)))  # type: ignore[misc]
    return entries


def _tar_entries(archive: Path, packed: tarfile.TarFile) -> list[Entry]:
    entries: list[Entry] = []
    for info in packed:
        inside = _inside(archive, info.name)
        if info.issparse():
            raise _refused(archive, info.name, "has holes")
        if info.isfile():
            entries.append((inside, lambda info=info: packed.extractfile(info)))  # type: ignore[misc]
        elif not info.isdir():
            raise _refused(archive, info.name, "is a link or a device")
    return entries


def _inside(archive: Path, name: str) -> PurePosixPath:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", name) or "\0" in name:
        raise _refused(archive, name, "would be written outside its folder")
    return path


def _refused(archive: Path, name: str, why: str) -> ValueError:
    return ValueError(f"{archive}: refused, its entry {name!r} {why}; get it from another source")


def _write(archive: Path, folder: Path, entries: Iterable[Entry], most: int) -> None:
    entries = list(entries)
    left = most
    for inside, opener in tqdm(
        entries, desc=f"unpack {archive.name}", leave=False, disable=len(entries) < 500
    ):
        target = folder / inside
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with _opened(opener) as source, target.open("wb") as out:
                while block := source.read(CHUNK):
                    left -= len(block)
                    if left < 0:
                        raise _too_large(archive, most)
                    out.write(block)
        except OSError as err:
            if err.errno not in OF_THE_ENTRY:
                raise
            why = f"cannot be written there ({os.strerror(err.errno or 0)})"
            raise _refused(archive, str(inside), why) from err


@contextmanager
def _opened(opener: Callable[[], Any]) -> Iterator[IO[bytes]]:
    with opener() as source:
        yield source


# --- the layout of each set ----------------------------------------------------------------------


def _check_counts(dataset: RealDataset, folder: Path, home: Path) -> None:
    for split, expected in dataset.photos.items():
        files = (folder / split).glob("*/*") if (folder / split).is_dir() else ()
        found = sum(p.suffix.lower() in SUFFIXES for p in files)
        if found != expected:
            raise ValueError(
                f"{dataset.title}: {found} photos in {split}/ instead of {expected}; remove "
                f"{', '.join(f.name for f in dataset.files)} from {home} and try again"
            )


def _arrange_hymenoptera(folder: Path) -> None:
    """`hymenoptera_data/train/ants/...` moves up by one folder."""
    inner = folder / "hymenoptera_data"
    if inner.is_dir():
        for entry in list(inner.iterdir()):
            entry.rename(folder / entry.name)
        inner.rmdir()


def _arrange_flowers(folder: Path) -> None:
    """`jpg/image_00001.jpg` and two MATLAB tables become class folders in the official splits."""
    from scipy.io import loadmat

    labels = loadmat(str(folder / "imagelabels.mat"), squeeze_me=True)["labels"]
    splits = loadmat(str(folder / "setid.mat"), squeeze_me=True)
    for split, key in {"train": "trnid", "val": "valid", "test": "tstid"}.items():
        for number in splits[key].tolist():
            label = FLOWERS[int(labels[number - 1]) - 1]
            _move(folder / "jpg" / f"image_{number:05d}.jpg", folder / split / label)
    for name in ("imagelabels.mat", "setid.mat"):
        (folder / name).unlink()
    shutil.rmtree(folder / "jpg")


def _arrange_pets(folder: Path) -> None:
    """`images/NAME_7.jpg` and two lists become class folders; trainval is kept as train."""
    for split, table in {"train": "trainval.txt", "test": "test.txt"}.items():
        for line in (folder / "annotations" / table).read_text(encoding="utf-8").splitlines():
            name = line.split()[0]
            _move(folder / "images" / f"{name}.jpg", folder / split / name.rpartition("_")[0])
    shutil.rmtree(folder / "images")
    shutil.rmtree(folder / "annotations")


def _move(file: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    file.rename(folder / file.name)


# Names in the order of the labels 1 to 102, as torchvision.datasets.Flowers102 gives them.
FLOWERS = (
    """
pink primrose, hard-leaved pocket orchid, canterbury bells, sweet pea, english marigold, tiger
lily, moon orchid, bird of paradise, monkshood, globe thistle, snapdragon, colt's foot, king
protea, spear thistle, yellow iris, globe-flower, purple coneflower, peruvian lily, balloon
flower, giant white arum lily, fire lily, pincushion flower, fritillary, red ginger, grape
hyacinth, corn poppy, prince of wales feathers, stemless gentian, artichoke, sweet william,
carnation, garden phlox, love in the mist, mexican aster, alpine sea holly, ruby-lipped
cattleya, cape flower, great masterwort, siam tulip, lenten rose, barbeton daisy, daffodil,
sword lily, poinsettia, bolero deep blue, wallflower, marigold, buttercup, oxeye daisy, common
dandelion, petunia, wild pansy, primula, sunflower, pelargonium, bishop of llandaff, gaura,
geranium, orange dahlia, pink-yellow dahlia, cautleya spicata, japanese anemone, black-eyed
susan, silverbush, californian poppy, osteospermum, spring crocus, bearded iris, windflower,
tree poppy, gazania, azalea, water lily, rose, thorn apple, morning glory, passion flower,
lotus, toad lily, anthurium, frangipani, clematis, hibiscus, columbine, desert-rose, tree
mallow, magnolia, cyclamen, watercress, canna lily, hippeastrum, bee balm, ball moss, foxglove,
bougainvillea, camellia, mallow, mexican petunia, bromelia, blanket flower, trumpet creeper,
blackberry lily
""".replace("\n", " ")
    .strip()
    .split(", ")
)


def _oxford(name: str, sha256: str, size: int, *folders: str) -> RemoteFile:
    return RemoteFile(name, sha256, size, tuple(f"https://{folder}/{name}" for folder in folders))


_FLOWERS_AT = ("www.robots.ox.ac.uk/~vgg/data/flowers/102", "thor.robots.ox.ac.uk/flowers/102")
_PETS_AT = ("www.robots.ox.ac.uk/~vgg/data/pets/data", "thor.robots.ox.ac.uk/datasets/pets")

DATASETS: dict[str, RealDataset] = {
    "hymenoptera": RealDataset(
        name="hymenoptera",
        title="Hymenoptera (ants and bees)",
        files=(
            RemoteFile(
                "hymenoptera_data.zip",
                "fbc41b31d544714d18dd1230b1e2b455e1557766e13e67f9f5a7a23af7c02209",
                47_286_322,
                (
                    "https://download.pytorch.org/tutorial/hymenoptera_data.zip",
                    "https://web.archive.org/web/2020id_/"
                    "https://download.pytorch.org/tutorial/hymenoptera_data.zip",
                ),
            ),
        ),
        photos={"train": 245, "val": 153},  # 244 and a placeholder, which load_data leaves out
        arrange=_arrange_hymenoptera,
        note="Ants and bees are ImageNet classes: ImageNet weights have seen such photos, with "
        "their labels. Licence of the photos unclear.",
        page="https://docs.pytorch.org/tutorials/beginner/transfer_learning_tutorial.html",
    ),
    "flowers": RealDataset(
        name="flowers",
        title="Oxford 102 Flowers",
        files=(
            _oxford(
                "102flowers.tgz",
                "2d01ecc807db462958cfe3d92f57a8c252b4abd240eb955770201e45f783b246",
                344_862_509,
                *_FLOWERS_AT,
            ),
            _oxford(
                "imagelabels.mat",
                "4903e94206bac23bf772aadf06451916df56b58fc483a62db32a97b82656651d",
                502,
                *_FLOWERS_AT,
            ),
            _oxford(
                "setid.mat",
                "46b8678f91fd95d3c8f4feab80d271a6c834a1dd896fe29fd3e6ad9ce5c8dccd",
                14_989,
                *_FLOWERS_AT,
            ),
        ),
        photos={"train": 1020, "val": 1020, "test": 6149},
        arrange=_arrange_flowers,
        note="Most of the 102 flowers are no ImageNet class. For research; the photos belong to "
        "their authors.",
        page="https://www.robots.ox.ac.uk/~vgg/data/flowers/102/",
    ),
    "pets": RealDataset(
        name="pets",
        title="Oxford-IIIT Pet",
        files=(
            _oxford(
                "images.tar.gz",
                "67195c5e1c01f1ab5f9b6a5d22b8c27a580d896ece458917e61d459337fa318d",
                791_918_971,
                *_PETS_AT,
            ),
            _oxford(
                "annotations.tar.gz",
                "52425fb6de5c424942b7626b428656fcbd798db970a937df61750c0f1d358e91",
                19_173_078,
                *_PETS_AT,
            ),
        ),
        photos={"train": 3680, "test": 3669},
        arrange=_arrange_pets,
        note="Many of the 37 breeds of cats and dogs are ImageNet classes: ImageNet weights have "
        "seen such photos, with their labels. CC BY-SA 4.0.",
        page="https://www.robots.ox.ac.uk/~vgg/data/pets/",
    ),
}
