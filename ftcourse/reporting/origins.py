"""What a fine-tuned network inherits from the weights it began with: limits, terms, and their name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ftcourse.models.pocket import HERE

__all__ = ["base_model", "inherited", "origins_of"]

LIMITS = re.compile(r"\*\*What it must not be used for:\*\*\s+(.*?\.)\s*\n\n", re.S)
TERMS = re.compile(r"(The photos are under ImageNet's terms .*?)\n\n", re.S)


def origins_of(weights: str, header: dict[str, Any]) -> list[str]:
    """The weights that a training goes back to, the first ones first; empty for random ones.

    Args:
        weights: what the training began with, as `Settings.weights`.
        header: what that file says of itself (`read_header`), {} if it is none of this package.
    """
    if weights == "none":
        return []
    if Path(weights).suffix not in (".safetensors", ".pt", ".pth"):
        return [weights]
    before = header.get("origins") or ([header["weights"]] if header.get("weights") else [])
    return [*(name for name in before if name != "none"), Path(weights).name]


def base_model(origins: list[str], backbone: str) -> str | None:
    """The name of the weights for a card's header; None where the network began with random ones."""
    if not origins:
        return None
    last = origins[-1]
    if last == "pocket":
        return "ftcourse-resnet18-pocket"
    if backbone.startswith("hf-hub:"):
        return backbone.removeprefix("hf-hub:")
    return last if Path(last).suffix else f"{backbone}-{last}"


def inherited(origins: list[str]) -> list[str]:
    """Sentences on what the weights must not be used for and whose terms hold, for a card and a report."""
    told = []
    for name in origins:
        if name == "pocket":
            card = (HERE / "MODEL_CARD.md").read_text(encoding="utf-8")
            limits, terms = (
                " ".join(found.group(1).split()) if found else ""
                for found in (LIMITS.search(card), TERMS.search(card))
            )
            told.append(f"The pocket weights it began with must not be used for: {limits} {terms}")
        elif not Path(name).suffix:
            told.append(
                f'It began with the weights "{name}", trained on photos under terms of their own (ImageNet\'s: '
                f"research and education), and with the limits that their publisher names."
            )
    if origins and Path(origins[0]).suffix:
        told.append(
            f"What {origins[0]} was made from is not written in it, so the limits of its weights are not known."
        )
    return told
