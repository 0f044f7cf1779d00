"""A run goes to a hub and comes back: a server on loopback, or an object that notes what it is asked."""

# fixtures are imported, and then named as arguments
# ruff: noqa: F401, F811

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest

from ftcourse.shipping import hub
from ftcourse.shipping.hub import download_run, push
from tests.shapes import photos, run
from tests.test_cli import ftcourse

pytest.importorskip("huggingface_hub")
SHA = "0123456789abcdef0123456789abcdef01234567"


class FakeApi:
    """Notes what it is asked for."""

    public = False
    asked: ClassVar[list] = []

    def create_repo(self, repo, private, exist_ok):
        self.asked.append(("repo", repo, private, exist_ok))

    def repo_info(self, repo):
        return SimpleNamespace(private=not self.public)

    def create_branch(self, repo, branch, exist_ok):
        self.asked.append(("branch", branch))

    def create_commit(self, repo, operations, commit_message, revision):
        files = {one.path_in_repo: Path(one.path_or_fileobj).read_bytes() for one in operations}
        self.asked.append(("commit", repo, revision, files))
        return SimpleNamespace(oid=SHA)


@pytest.fixture
def asked(monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "HfApi", FakeApi)
    monkeypatch.setattr(FakeApi, "asked", [])
    return FakeApi.asked


@pytest.fixture
def card(tmp_path):
    (tmp_path / "card.md").write_text("# A card")
    return tmp_path / "card.md"


def test_a_run_is_one_commit_of_model_description_card_and_report_without_photos(run, card, asked):
    assert push(run, "me/shapes", card, revision="v1", private=True) == f"hub:me/shapes@{SHA}"
    assert asked[:2] == [("repo", "me/shapes", True, True), ("branch", "v1")]
    _, repo, revision, files = asked[2]
    assert (repo, revision, len(asked)) == ("me/shapes", "v1", 3)
    assert set(files) == {
        "model.safetensors", "preprocessor_config.json", "README.md", "report.md", "curves.png", "confusion.png",
    }  # fmt: skip
    assert files["README.md"] == b"# A card"
    assert files["model.safetensors"] == (run / "model.safetensors").read_bytes()


def test_a_public_repository_gets_nothing_that_should_be_private(run, card, asked, monkeypatch):
    monkeypatch.setattr(FakeApi, "public", True)
    with pytest.raises(ValueError, match="is public already"):
        push(run, "me/shapes", card, private=True)
    assert [kind for kind, *_ in asked] == ["repo"]


@pytest.mark.parametrize("name", ["shapes", "a/b/c", "me/shapes@v1", "../x/y", "me/sh apes", ""])
def test_what_is_no_name_of_a_repository_is_refused_before_the_hub_is_asked(run, card, asked, name):
    with pytest.raises(ValueError, match=r"owner/name|--revision"):
        push(run, name, card)
    assert not asked


def test_without_a_model_or_a_card_nothing_is_uploaded(run, card, asked, tmp_path):
    with pytest.raises(FileNotFoundError, match="no trained model"):
        push(tmp_path, "me/shapes", card)
    with pytest.raises(FileNotFoundError, match=r"none\.md: not there"):
        push(run, "me/shapes", tmp_path / "none.md")
    assert not asked


def test_what_the_hub_answers_is_one_sentence(run, card, asked, monkeypatch):
    def refuse(*args, **kwargs):
        raise RuntimeError("Client error", 403) from None

    monkeypatch.setattr(FakeApi, "create_commit", refuse)
    with pytest.raises(ConnectionError, match=r"me/shapes: the hub did not do it .RuntimeError"):
        push(run, "me/shapes", card)


def test_without_the_extra_it_is_named(run, card, monkeypatch):
    monkeypatch.setattr(hub.importlib.util, "find_spec", lambda name: None)
    for ask in (lambda: push(run, "me/shapes", card), lambda: download_run("hub:me/shapes")):
        with pytest.raises(ImportError, match=r'pip install "ftcourse\[hub\]"'):
            ask()


@pytest.fixture
def served(run, tmp_path):
    """A hub on loopback with `me/shapes`, one commit, and `me/empty`. Yields the environment for it."""
    files = {"model.safetensors": (run / "model.safetensors").read_bytes(), "secret.py": b"print()"}
    repos = {"me/shapes": files, "me/empty": {"README.md": b"nothing"}}

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self):
            at = self.path.split("?")[0].strip("/").split("/")
            if at[:2] == ["api", "models"]:
                at = at[2:]
                found = repos.get("/".join(at[:2]))
                known = at[2:3] != ["revision"] or at[3] in ("main", SHA)
                body = {
                    "id": "/".join(at[:2]),
                    "sha": SHA,
                    "private": False,
                    "tags": [],
                    "downloads": 0,
                }
                if at[2:3] == ["tree"]:
                    body = [
                        {"type": "file", "path": n, "size": len(c), "oid": SHA}
                        for n, c in (found or {}).items()
                    ]
                else:
                    body["siblings"] = [{"rfilename": name} for name in found or {}]
                self.answer(json.dumps(body).encode() if found is not None and known else None)
            else:
                self.answer(repos.get("/".join(at[:2]), {}).get(at[-1]))

        do_HEAD = do_GET

        def answer(self, body):
            self.send_response(404 if body is None else 200)
            if body is None:
                self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("ETag", f'"{hashlib.sha256(body or b"").hexdigest()}"')
            self.send_header("X-Repo-Commit", SHA)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body or b"")

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield {
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    server.shutdown()
    server.server_close()


CODE = """
import sys, warnings
from ftcourse.shipping.hub import download_run
for name in sys.argv[1:]:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            folder = download_run(name)
            print(sorted(p.name for p in folder.iterdir()), (folder / "model.safetensors").stat().st_size)
        except OSError as err:
            print(type(err).__name__, err)
    print([str(one.message) for one in told if "pinned" in str(one.message)])
"""


def test_a_run_comes_back_from_the_hub_and_says_whether_it_is_pinned(run, served):
    import os

    names = ["hub:me/shapes", f"hub:me/shapes@{SHA}", "hub:me/empty@main", "hub:me/none"]
    done = subprocess.run(
        [sys.executable, "-c", CODE, *names],
        capture_output=True,
        text=True,
        env={**os.environ, **served},
    )
    assert done.returncode == 0, done.stderr
    found = done.stdout.splitlines()
    size = (run / "model.safetensors").stat().st_size
    assert found[0] == found[2] == f"['model.safetensors'] {size}"  # and not what else lies there
    assert "is not pinned" in found[1] and f"hub:me/shapes@{SHA}" in found[1]
    assert found[3] == "[]"
    assert "FileNotFoundError hub:me/empty: has no model.safetensors" in found[4]
    assert found[6].startswith(
        "ConnectionError hub:me/none: the hub did not do it (there is no such"
    )
