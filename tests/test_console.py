"""The command as a process of its own: closed pipes, odd consoles, kills, and accounts without a home."""

# fixtures are imported, and then named as arguments
# ruff: noqa: F401, F811

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ftcourse import cli
from ftcourse.reporting import report
from ftcourse.reporting.report import Settings, bytes_of_a_run, train_and_report
from ftcourse.shipping import inference
from ftcourse.training import checkpoints
from ftcourse.training.checkpoints import write_atomic
from ftcourse.training.locks import locked
from tests.shapes import own_photos, photos, run
from tests.test_cli import QUICK, ftcourse, told

COMMAND = [sys.executable, "-m", "ftcourse"]
ROOT = str(Path(cli.__file__).parents[1])


def environment(**more):
    return {**os.environ, "PYTHONPATH": ROOT, "OMP_NUM_THREADS": "1", **more}


def process(*words, **more):
    own = more.pop("env", environment())
    return subprocess.run([*COMMAND, *map(str, words)], capture_output=True, env=own, **more)


posix = pytest.mark.skipif(os.name != "posix", reason="signals and bytes in file names are POSIX's")

# -- any error ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        KeyError("val"), RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos\nmore"),
        AssertionError(), ZeroDivisionError("division by zero"), RecursionError("maximum depth"),
        MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), TypeError("x\ny"),
        UnicodeEncodeError("ascii", "ä", 0, 1, "ordinal not in range"), StopIteration(), OSError(errno.EIO, "x"),
    ],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_an_error_of_any_kind_is_one_line_and_exit_code_2(photos, monkeypatch, error):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(inference, "find_photos", fail)
    line = told("predict", "run", photos)
    if isinstance(error, KeyError):
        assert "KeyError: 'val' (in test_console.py, line" in line and "FTCOURSE_DEBUG=1" in line
    if "memory" in str(error) or isinstance(error, MemoryError):
        assert "not enough memory" in line and "--batch-size" in line


def test_a_network_that_cannot_take_the_size_is_told_before_anything_is_written(photos, tmp_path):
    words = ["train", photos, "--out", tmp_path / "run", "--weights", "none"]
    line = told(*words, "--backbone", "vit_b_16")
    assert (
        "vit_b_16 cannot take images of 128x128 pixels" in line and "choose another --size" in line
    )
    assert "inception_v3 cannot take" in told(*words, "--backbone", "inception_v3", "--size", 48)
    assert not (tmp_path / "run").exists()


@posix
def test_ctrl_c_while_packages_are_read_is_one_line(tmp_path):
    (tmp_path / "torch.py").write_text(
        "print('reading', flush=True)\nimport time\ntime.sleep(60)\n"
    )
    own = environment(PYTHONPATH=os.pathsep.join([str(tmp_path), ROOT]))
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    # a job in the background of a shell ignores Ctrl-C, and what it starts does so as well
    heard = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    with subprocess.Popen(
        [*COMMAND, "audit", str(tmp_path)], env=own, text=True, **pipes, **heard
    ) as started:
        assert started.stdout.readline() == "reading\n"
        started.send_signal(signal.SIGINT)
        assert started.wait() == 130
        assert started.stderr.read() == "ftcourse: interrupted\n"


@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], ["train", "--help"], ["predict", "-h"]]
)
def test_help_and_version_import_no_torch(words):
    code = (
        "import sys; from ftcourse.cli import app; app(sys.argv[1:], standalone_mode=False); "
        "found = {'torch', 'torchvision', 'numpy', 'PIL', 'sklearn'} & set(sys.modules); assert not found, found"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, env=environment()
    )
    assert done.stdout and done.returncode == 0, done.stderr


# -- pipes -------------------------------------------------------------------------------------


@posix
def test_training_into_closed_pipes_goes_on_to_the_end(photos, tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    words = [*COMMAND, "train", str(photos), "--out", str(tmp_path / "run"), *QUICK]
    done = subprocess.run(words, stdout=writer, stderr=writer, env=environment())
    os.close(writer)
    assert done.returncode == 0
    assert (tmp_path / "run" / "model.safetensors").exists() and (
        tmp_path / "run" / "report.md"
    ).exists()


@posix
def test_answers_into_a_closed_pipe_are_no_success(photos):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*COMMAND, "audit", str(photos)], stdout=writer, stderr=subprocess.PIPE, env=environment()
    )
    os.close(writer)
    assert done.returncode == 141 and done.stderr == b""


# -- names and consoles ------------------------------------------------------------------------


@posix
def test_names_in_any_encoding_work_with_a_console_of_any_encoding(photos, tmp_path):
    odd = tmp_path / "shapes"
    shutil.copytree(photos / "circle", odd / "\u8702")
    shutil.copytree(photos / "square", odd / os.fsdecode(b"caf\xe9"))
    shutil.copytree(photos / "stripes", odd / (formula := r"$\bad$"))
    run = tmp_path / "run"
    ascii_ = environment(PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    done = process("train", odd, "--out", run, *QUICK, env=ascii_)
    assert done.returncode == 0, done.stderr
    told = json.loads((run / "report.json").read_text())
    assert told["classes"] == sorted(["\u8702", "caf\udce9", formula])
    assert "caf\\\\udce9" in (run / "report.md").read_text(encoding="utf-8")
    windows = environment(PYTHONIOENCODING="cp1252", PYTHONUTF8="0")
    for words in (["evaluate", run, odd], ["card", run], ["predict", run, odd]):
        done = process(*words, env=windows)
        assert done.returncode == 0, done.stderr
    assert b"\\u8702" in done.stdout and b"caf\\udce9" in done.stdout


def test_a_file_name_cannot_move_the_cursor_or_begin_a_line(run, tmp_path, photos):
    if os.name != "posix":
        pytest.skip("no such names here")
    odd = tmp_path / "a\n\x1b[2Jb.png"
    shutil.copy(photos / "circle" / "00.png", odd)
    text = ftcourse("predict", run, odd).stdout
    assert len(text.splitlines()) == 1 and "\x1b" not in text and "a\\n\\x1b[2Jb.png" in text


@posix
def test_an_account_without_a_home_can_train(photos, tmp_path):
    (tmp_path / "file").write_text("no folder can be made here")
    poor = environment(HOME=str(tmp_path / "file" / "home"), TMPDIR=str(tmp_path))
    for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR"):
        poor.pop(name, None)
    done = process("train", photos, "--out", tmp_path / "run", *QUICK, env=poor)
    assert done.returncode == 0, done.stderr
    assert process("progress", env=poor).returncode == 0


# -- the disk ----------------------------------------------------------------------------------


def test_a_disk_that_is_too_small_is_told_before_training(photos, tmp_path, monkeypatch):
    usage = shutil._ntuple_diskusage(10**9, 10**9 - 60_000_000, 60_000_000)
    monkeypatch.setattr(report.shutil, "disk_usage", lambda path: usage)
    line = told("train", photos, "--out", tmp_path / "run", *QUICK)
    (needed,) = re.findall(r"needs about (\d+) MB, and 60 MB are free", line)
    assert 150 < int(needed) < 250 and not (tmp_path / "run").exists()


def test_the_estimate_is_what_a_run_takes(photos, tmp_path):
    train_and_report(
        photos, tmp_path / "run", Settings(strategy="layer4", epochs=2, size=32), progress=False
    )
    sizes = {p.name: p.stat().st_size for p in (tmp_path / "run").iterdir()}
    from ftcourse.models.backbones import load_backbone, replace_head
    from ftcourse.training.recipes import recipe

    model = replace_head(load_backbone("resnet18"), 3)
    needed = bytes_of_a_run(model, recipe("layer4", 18, 3, 2))
    assert sum(sizes.values()) < needed < 2 * sizes["checkpoint.pt"] + 10_000_000


def test_a_disk_that_fills_up_is_one_sentence_also_when_torch_has_its_own_words(
    tmp_path, monkeypatch
):
    import torch

    class Full:
        def __init__(self, file):
            self.file, self.room = file, 50_000

        def write(self, data):
            self.room -= len(data)
            if self.room < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return self.file.write(data)

        def __getattr__(self, name):
            return getattr(self.file, name)

    watched = checkpoints._Watched
    monkeypatch.setattr(checkpoints, "_Watched", lambda file: watched(Full(file)))
    with pytest.raises(OSError, match="No space left on device") as caught:
        write_atomic(tmp_path / "c.pt", lambda file: torch.save({"w": torch.zeros(10**6)}, file))
    assert caught.value.errno == errno.ENOSPC and caught.value.filename == str(tmp_path / "c.pt")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_in_training_names_the_run_and_how_to_go_on(photos, tmp_path, monkeypatch):
    def full(path, state):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("ftcourse.training.runs.save_checkpoint", full)
    line = told_of_training("train", photos, "--out", tmp_path / "run", *QUICK)
    assert (
        f"{tmp_path / 'run'}: the disk is full (No space left on device" in line
        and "--resume" in line
    )


def told_of_training(*words):
    """The last line: the bar of the epochs comes before it."""
    result = ftcourse(*words, code=2)
    assert "Traceback" not in result.stderr
    return result.stderr.splitlines()[-1]


# -- folders of runs ---------------------------------------------------------------------------


def test_settings_alone_and_leftovers_of_a_kill_are_no_run(photos, tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    (out / ".settings.json.123.part").write_text("{")
    (out / ".checkpoint.pt.123.part").write_bytes(b"half")
    assert "no run to resume" in told("train", photos, "--out", out, "--resume")
    (out / "settings.json").write_text("{")
    ftcourse("train", photos, "--out", out, *QUICK)
    assert not [p.name for p in out.iterdir() if p.name.startswith(".")]
    assert "not empty" in told("train", photos, "--out", out)


def test_leftovers_of_a_kill_are_removed_when_the_run_goes_on(photos, tmp_path, run):
    out = Path(shutil.copytree(run, tmp_path / "run"))
    (out / ".checkpoint.pt.99.part").write_bytes(b"half")
    (out / ".mine.part").write_text("of somebody else")
    settings = ["--strategy", "layer4", "--epochs", 2, "--size", 32, "--batch-size", 8]
    ftcourse("train", photos, "--out", out, *settings, "--resume")
    assert [p.name for p in out.iterdir() if p.name.startswith(".")] == [".mine.part"]


def test_a_second_run_into_the_same_folder_is_refused(photos, tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    with locked(out / ".lock"):
        line = told("train", photos, "--out", out, *QUICK)
    assert f"another run is being written there (process {os.getpid()})" in line
    ftcourse("train", photos, "--out", out, *QUICK)


def test_the_parts_of_the_time_never_exceed_it():
    clock = report.Clock()
    for name in ("data", "baselines", "training", "test"):
        time.sleep(0.06)
        clock.lap(name)
    for trained in (0.0, 0.05, 500.0):
        told = clock.times(trained)
        assert sum(told["times"].values()) <= told["seconds"] + 1e-9
        assert told["times"]["training"] >= max(
            0.1, trained - 0.05
        )  # also with what is not of an epoch
