"""A run on a hub of models (Hugging Face's, or the one that HF_ENDPOINT names): put there, and brought back.

Source: https://huggingface.co/docs/huggingface_hub/guides/upload
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ftcourse.shipping.inference import load_run
from ftcourse.shipping.preprocessing import CONFIG, config_of
from ftcourse.training.checkpoints import write_atomic

__all__ = ["download_run", "push"]

MODEL = "model.safetensors"
ALSO = ("report.md", "curves.png", "confusion.png")  # not worst.png: it shows the photos
NAME = re.compile(r"(?:hub:)?([\w.-]+/[\w.-]+)(?:@([\w./-]+))?", re.ASCII)


def push(
    run: str | os.PathLike,
    repo: str,
    card: str | os.PathLike,
    *,
    revision: str | None = None,
    private: bool = False,
) -> str:
    """Upload a run as one commit: its model, `preprocessor_config.json`, the card as README.md, the report.

    Args:
        run: a run's folder.
        repo: owner/name; it is made if it is not there.
        card: the model card.
        revision: a branch, made if it is not there; "main" by default.
        private: only the owner sees it. A repository that is there and public is refused.

    Returns:
        The name by which `download_run` finds this very commit, hub:owner/name@commit.

    Raises:
        ImportError: huggingface_hub is not installed.
        FileNotFoundError: there is no trained model, or no card.
        ValueError: `repo` is no such name, or is public.
        ConnectionError: the hub cannot be reached, or does not allow it.
    """
    hub, folder = _hub(), Path(run)
    repo, more = _parts(repo)
    if more:
        raise ValueError(f"{repo}@{more}: give the branch as revision (--revision)")
    config = config_of(load_run(folder).meta)  # also: the model is one
    if not (folder / CONFIG).exists():  # a run from before there was one
        write_atomic(folder / CONFIG, json.dumps(config, indent=1).encode())
    files = {MODEL: folder / MODEL, CONFIG: folder / CONFIG, "README.md": Path(card)}
    files |= {name: folder / name for name in ALSO if (folder / name).exists()}
    if missing := next((path for path in files.values() if not path.exists()), None):
        raise FileNotFoundError(f"{missing}: not there, so nothing was uploaded")
    added = [
        hub.CommitOperationAdd(path_in_repo=n, path_or_fileobj=str(p)) for n, p in files.items()
    ]
    api = hub.HfApi()
    with _told(repo):
        api.create_repo(repo, private=True if private else None, exist_ok=True)
        if private and not api.repo_info(repo).private:
            raise ValueError(
                f"{repo}: is public already; make it private first, or leave out --private"
            )
        if revision:
            api.create_branch(repo, branch=revision, exist_ok=True)
        done = api.create_commit(repo, added, commit_message="A run of ftcourse", revision=revision)
    return f"hub:{repo}@{done.oid}"


def download_run(name: str) -> Path:
    """A folder with the model, its description and its report, of hub:owner/name@revision; in the hub's cache.

    Without a revision it warns that what is under the name may change, and says which commit it is today.

    Raises:
        ImportError: huggingface_hub is not installed.
        ValueError: no such kind of name.
        FileNotFoundError: there is no `model.safetensors`.
        ConnectionError: the hub cannot be reached, or has no such repository.
    """
    hub = _hub()
    repo, revision = _parts(name)
    with _told(f"hub:{repo}" + (f"@{revision}" if revision else "")):
        allowed = [MODEL, CONFIG, "README.md", *ALSO]
        folder = Path(hub.snapshot_download(repo, revision=revision, allow_patterns=allowed))
    if not (folder / MODEL).exists():
        raise FileNotFoundError(f"hub:{repo}: has no {MODEL}, so it is no run of ftcourse")
    if revision is None:
        warnings.warn(
            f"hub:{repo} is not pinned, and may be another model tomorrow; now it is hub:{repo}@{folder.name}",
            stacklevel=2,
        )
    return folder


def _hub() -> Any:
    if importlib.util.find_spec("huggingface_hub") is None:
        raise ImportError('the hub needs huggingface_hub: pip install "ftcourse[hub]"')
    import huggingface_hub

    return huggingface_hub


def _parts(name: str) -> tuple[str, str | None]:
    """owner/name, and the revision if there is one."""
    found = NAME.fullmatch(name)
    if not found:
        raise ValueError(
            f"{name!r}: a repository is named owner/name, one to read hub:owner/name@revision"
        )
    return found[1], found[2]


@contextmanager
def _told(name: str) -> Iterator[None]:
    """What the hub's client raises, of several libraries' kinds, in one sentence."""
    try:
        yield
    except ValueError:
        raise
    except Exception as err:
        status = getattr(getattr(err, "response", None), "status_code", None)
        reason = {
            401: "it asks who you are: `hf auth login`, or set HF_TOKEN",
            403: "your token does not allow it; one with the right to write does",
            404: "there is no such repository or revision, or you may not see it",
        }.get(status or 0, f"{type(err).__name__}: {' '.join(str(err).split())[:160]}")
        raise ConnectionError(f"{name}: the hub did not do it ({reason})") from err
