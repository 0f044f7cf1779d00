"""Inside a network: filters, feature maps, how far layers moved, the space of features, the loss around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor, nn

from ftcourse.plots.images import _show, pixels
from ftcourse.plots.style import Theme, bare, drawing, finish, sheet

__all__ = [
    "plot_embeddings",
    "plot_feature_maps",
    "plot_filters",
    "plot_landscape",
    "plot_movement",
]


def plot_filters(
    model: nn.Module,
    layer: str | None = None,
    count: int = 64,
    path: str | Path | None = None,
    *,
    theme: str | None = None,
) -> Figure:
    """The first filters of a convolution, each stretched to its own range.

    Args:
        layer: its name; by default the first convolution. Filters on three channels are shown as colours,
            others by their first channel.

    Raises:
        ValueError: there is no such convolution.
    """
    convolutions = {n: m for n, m in model.named_modules() if isinstance(m, nn.Conv2d)}
    if not convolutions or (layer is not None and layer not in convolutions):
        some = ", ".join(list(convolutions)[:6]) or "none"
        raise ValueError(f"no convolution {layer!r} in this model; it has: {some}, ...")
    name = layer or next(iter(convolutions))
    weight = convolutions[name].weight.detach().float().cpu()
    chosen = weight[:count] if weight.shape[1] == 3 else weight[:count, :1]
    n = len(chosen)
    columns = min(16, n)
    rows = -(-n // columns)
    with drawing(theme) as t:
        fig, axes = sheet(rows, columns, figsize=(0.62 * columns, 0.62 * rows + 0.5), squeeze=False)
        for k, ax in enumerate(axes.flat):
            bare(ax)
            if k < n:
                _show(ax, chosen[k])
        shape = "×".join(str(v) for v in weight.shape[1:])
        _headline(fig, f"{name}: {n} of {len(weight)} filters, each {shape}")
    return finish(fig, t, path)


def _headline(fig: Figure, text: str) -> None:
    fig.suptitle(text, fontsize=14, fontweight="bold", x=0.01, ha="left")


def plot_feature_maps(
    model: nn.Module,
    image: Tensor,
    layers: Sequence[str] | None = None,
    count: int = 8,
    path: str | Path | None = None,
    *,
    theme: str | None = None,
) -> Figure:
    """What a photo becomes on its way: the strongest channels of some layers, one row a layer.

    Args:
        image: float32 (3, H, W), preprocessed for the model.
        layers: names of modules with outputs (1, C, h, w); by default those of a ResNet's stem and stages.
        count: channels a layer, those with the largest mean.

    Raises:
        ValueError: a layer that is not there, or whose output is no map.
    """
    from ftcourse.models.features import activations

    names = list(layers) if layers is not None else _stages(model)
    maps = activations(model, image.unsqueeze(0), names)
    for name, value in maps.items():
        if value.ndim != 4:
            raise ValueError(f"{name}: gives {tuple(value.shape)}, which is no map (1, C, h, w)")
    with drawing(theme) as t:
        fig, axes = sheet(
            len(maps),
            count + 1,
            figsize=(1.16 * (count + 1) + 0.9, 1.22 * len(maps) + 0.5),
            squeeze=False,
        )
        for ax in axes.flat:
            bare(ax)
        for row, (name, value) in zip(axes, maps.items(), strict=True):
            strongest = value[0].mean((1, 2)).argsort(descending=True)[:count]
            for ax, channel in zip(row[1:], strongest.tolist(), strict=False):
                ax.imshow(pixels(value[0, channel]), cmap="magma")
            _, channels, height, width = value.shape
            row[0].set_ylabel(
                f"{name}\n{channels}×{height}×{width}",
                rotation=0,
                ha="right",
                va="center",
                fontsize=11,
            )
        _show(axes[0, 0], image)
        _headline(fig, f"The {count} strongest of each layer's feature maps")
    return finish(fig, t, path)


def _stages(model: nn.Module) -> list[str]:
    have = dict(model.named_modules())
    wanted = ["relu", "layer1", "layer2", "layer3", "layer4"]
    if not all(name in have for name in wanted):
        raise ValueError("this model is no ResNet: say which `layers` to show, by their names")
    return wanted


def plot_movement(
    models: Any,
    path: str | Path | None = None,
    *,
    layers: bool = False,
    statistics: bool = True,
    theme: str | None = None,
) -> Figure:
    """How far each layer group, or layer, has moved from the weights that were loaded, ‖w - w₀‖ / ‖w₀‖.

    Args:
        models: a model that `load_backbone` loaded, its `freeze_report`, or a dict {title: such a one} to
            compare several.
        layers: one bar for each convolution and linear layer in place of each group; takes models, no reports.
        statistics: show BatchNorm's running statistics of each group as well.

    Raises:
        ValueError: the model was not loaded by `load_backbone`, so that nothing is known to compare with.
    """
    from ftcourse.models.freezing import FreezeReport, freeze_report

    given = models if isinstance(models, Mapping) else {"": models}
    if layers:
        rows, statistics = {k: _layer_movement(m) for k, m in given.items()}, False
    else:
        rows = {
            k: (m if isinstance(m, FreezeReport) else freeze_report(m)).rows
            for k, m in given.items()
        }
    groups = [row["group"] for row in next(iter(rows.values()))]
    if all(row["moved"] is None for mine in rows.values() for row in mine):
        raise ValueError("nothing is known of the weights before: load the model by load_backbone")
    with drawing(theme) as t:
        n, height = len(rows), 0.34 if layers else 0.52
        fig, axes = sheet(
            1, n, figsize=(5.4 * n if n > 1 else 7.4, height * len(groups) + 1.9), sharey=True,
            sharex=True, squeeze=False,
        )  # fmt: skip
        for ax, (title, mine) in zip(axes[0], rows.items(), strict=True):
            _movement(ax, mine, statistics, t)
            ax.set_title(title or f"How far each {'layer' if layers else 'group'} has moved")
        axes[0, 0].set_yticks(range(len(groups)), groups)
        axes[0, 0].set_ylim(len(groups) - 0.45, -0.55)
        for ax in axes[0]:
            ax.set_xlabel("distance from the loaded weights, relative")
        if statistics:
            handles, labels = axes[0, 0].get_legend_handles_labels()
            fig.legend(handles, labels, loc="outside upper right", ncols=2)
    return finish(fig, t, path)


def _layer_movement(model: nn.Module) -> list[dict[str, Any]]:
    """Rows as those of a freeze report, one for each module with a matrix of its own."""
    from ftcourse.models.backbones import origin_of

    origin = origin_of(model)
    before = origin.reference if origin else {}
    rows = []
    for name, module in model.named_modules():
        weight = module._parameters.get("weight")
        if weight is None or weight.ndim < 2:
            continue
        then = before.get(f"{name}.weight")
        moved: float | str | None = None
        if then is not None and then.shape != weight.shape:
            moved = "new"
        elif then is not None:
            now = weight.detach().float().cpu()
            moved = float((now - then.cpu()).norm() / then.norm().clamp(min=1e-30))
        rows.append({"group": name, "moved": moved, "stats_moved": None})
    return rows


def _movement(ax: Any, rows: list[dict[str, Any]], statistics: bool, t: Theme) -> None:
    series = [("moved", "weights", t.colours[0], -0.19 if statistics else 0.0)]
    if statistics:
        series.append(("stats_moved", "BatchNorm's statistics", t.colours[1], 0.19))
    height = 0.34 if statistics else 0.55
    values = [r[key] for key, *_ in series for r in rows if isinstance(r[key], float)]
    top = max([*values, 1e-6])
    for key, label, colour, shift in series:
        y = [i + shift for i, r in enumerate(rows) if isinstance(r[key], float)]
        x = [r[key] for r in rows if isinstance(r[key], float)]
        ax.barh(y, x, height, color=colour, label=label)
        for yy, xx in zip(y, x, strict=True):
            text = "0" if xx == 0 else f"{xx:.2g}"
            ax.annotate(
                text, (xx, yy), xytext=(5, 0), textcoords="offset points", va="center", fontsize=11,
                color=t.muted if xx == 0 else t.ink,
            )  # fmt: skip
    for i, row in enumerate(rows):
        if row["moved"] == "new":
            ax.annotate(
                "new: nothing to compare with", (0, i), xytext=(5, 0), textcoords="offset points",
                va="center", color=t.muted, style="italic", fontsize=11,
            )  # fmt: skip
    ax.set_xlim(0, max(1.18 * top, ax.get_xlim()[1]))
    ax.grid(axis="y", visible=False)


def plot_embeddings(
    features: Mapping[str, Any],
    targets: Sequence[int],
    classes: Sequence[str],
    path: str | Path | None = None,
    *,
    theme: str | None = None,
) -> Figure:
    """Photos as points, by their features' two main directions (PCA); one panel for each network.

    Args:
        features: {title: float (N, D)}, such as {"before": ..., "after": ...}, as `ftcourse.embed` gives them.
            Each panel has a PCA of its own: fine-tuning makes another space.
        targets: N class indices.
    """
    from sklearn.decomposition import PCA

    y = np.asarray(targets)
    with drawing(theme) as t:
        n = len(features)
        fig, axes = sheet(1, n, figsize=(4.9 * n, 4.9), squeeze=False)
        for ax, (title, value) in zip(axes[0], features.items(), strict=True):
            pca = PCA(n_components=2, svd_solver="full")
            points = pca.fit_transform(np.asarray(value, dtype=np.float64))
            for k, name in enumerate(classes):
                mine = points[y == k]
                ax.scatter(
                    mine[:, 0], mine[:, 1], s=46, marker="osD^vPX"[k % 7], alpha=0.75, label=name,
                    color=t.colours[k % len(t.colours)], edgecolor=t.paper, linewidth=0.6,
                )  # fmt: skip
            share = 100 * pca.explained_variance_ratio_
            ax.set(xlabel=f"1st direction, {share[0]:.0f} % of the variance", title=title)
            ax.set_ylabel(f"2nd direction, {share[1]:.0f} %")
            ax.set(xticks=[], yticks=[])
            ax.margins(0.06)
        handles, labels = axes[0, 0].get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside lower center", ncols=min(6, len(labels)))
    return finish(fig, t, path)


def plot_landscape(
    found: Any, path: str | Path | None = None, *, theme: str | None = None
) -> Figure:
    """The loss on the way between networks: a curve for two, a map for three.

    Args:
        found: what `ftcourse.loss_landscape(model, split, states)` returns.
    """
    with drawing(theme) as t:
        if found.loss.ndim == 1:
            fig, ax = sheet(figsize=(7.4, 4.2))
            _path(ax, found, t)
        else:
            fig, ax = sheet(figsize=(6.9, 5.4))
            _plane(fig, ax, found, t)
    return finish(fig, t, path)


def _path(ax: Any, found: Any, t: Theme) -> None:
    colour, other = t.colours[0], t.colours[1]
    ax.plot(found.x, found.loss, color=colour)
    for at, name in zip((0.0, 1.0), found.names, strict=True):
        i = int(np.argmin(np.abs(found.x - at)))
        ax.plot(found.x[i], found.loss[i], "o", ms=11, color=colour, mec=t.paper, mew=1.5, zorder=4)
        ax.annotate(
            name, (at, found.loss[i]), xytext=(0, 14), textcoords="offset points", ha="center",
            fontweight="bold", bbox={"boxstyle": "round,pad=0.15", "fc": t.paper, "ec": "none", "alpha": 0.8},
        )  # fmt: skip
    ax.set(xlabel="share of the way", ylabel="loss (nats)", title="The loss along the way")
    ax.yaxis.label.set_color(colour)
    ax.margins(y=0.16)
    right = ax.twinx()
    right.plot(found.x, 100 * found.accuracy, color=other, ls=(0, (5, 1.5)))
    right.set_ylabel("accuracy (%)", color=other)
    right.grid(False)
    right.margins(y=0.16)


def _plane(fig: Figure, ax: Any, found: Any, t: Theme) -> None:
    # contour steps that grow, as losses do towards the rim
    low, high = float(found.loss.min()), float(np.quantile(found.loss, 0.97))
    levels = low + (high - low) * np.linspace(0, 1, 13) ** 1.6
    levels = np.maximum.accumulate(levels + np.arange(13) * 1e-9)
    image = ax.contourf(found.x, found.y, found.loss, levels=levels, cmap="cividis_r", extend="max")
    ax.contour(
        found.x, found.y, found.loss, levels=levels, colors="#FFFFFF", linewidths=0.5, alpha=0.5
    )
    places = found.places
    for k in range(1, len(places)):
        ax.annotate(
            "", places[k], xytext=places[k - 1],
            arrowprops={"arrowstyle": "-|>", "color": "#101418", "lw": 1.8, "shrinkA": 9, "shrinkB": 9},
        )  # fmt: skip
    for k, ((px, py), name) in enumerate(zip(places, found.names, strict=True)):
        ax.plot(px, py, "oDs"[k], ms=11, color="#FFFFFF", mec="#101418", mew=1.8, zorder=5)
        ax.annotate(
            name, (px, py), xytext=(0, 13), textcoords="offset points", ha="center", color="#101418",
            fontweight="bold", zorder=6,
            bbox={"boxstyle": "round,pad=0.2", "fc": "#FFFFFF", "ec": "none", "alpha": 0.8},
        )  # fmt: skip
    bar = fig.colorbar(image, ax=ax, pad=0.02)
    bar.set_label("loss (nats)")
    bar.outline.set_visible(False)
    ax.set(xticks=[], yticks=[], title="The loss in the plane of three networks")
    across, up = np.ptp(found.x), np.ptp(found.y)
    ax.set_xlabel(f"distance, {across:.2g} in all")  # the two axes have scales of their own
    ax.set_ylabel(f"distance, {up:.2g} in all")
    ax.grid(False)
