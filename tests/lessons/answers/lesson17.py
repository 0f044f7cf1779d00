"""Answers to the questions of lesson 17."""

from __future__ import annotations

import warnings

import numpy as np
import torch
import torch.nn.functional as F

NAMES = {"torch": torch, "F": F}

# ----------------------------------------------------------------------------------------- 17.2


def by_einsum(maps, gradients):
    heat = torch.einsum("c,chw->hw", gradients.flatten(1).mean(1), maps).clamp(min=0)
    return heat / heat.max()


def in_a_loop(maps, gradients):
    heat = torch.zeros(maps.shape[1:])
    for one, gradient in zip(maps, gradients, strict=True):
        heat += gradient.mean() * one
    heat = heat.numpy()
    return np.maximum(heat, 0) / heat.max()


def summed_weights(maps, gradients):
    """A sum in place of the mean: the same after the division."""
    heat = torch.relu((gradients.sum(dim=(1, 2), keepdim=True) * maps).sum(dim=0))
    return heat.div(heat.amax())


def by_tensordot(maps, gradients):
    heat = torch.tensordot(gradients.mean(-1).mean(-1), maps, dims=1)
    heat[heat < 0] = 0
    return heat / torch.max(heat)


def by_matrix(maps, gradients):
    c, h, w = maps.shape
    heat = F.relu(gradients.reshape(c, -1).mean(1) @ maps.reshape(c, -1)).reshape(h, w)
    return F.normalize(heat, p=float("inf"), dim=(0, 1))


def heat_in_numpy(maps, gradients):
    weights = gradients.numpy().mean(axis=(1, 2), keepdims=True)
    heat = np.clip((weights * maps.numpy()).sum(axis=0), 0, None)
    return heat / heat.max()


def weighted(maps, gradients):
    return (gradients.mean((1, 2))[:, None, None] * maps).sum(0)


def top(heat):
    return heat / heat.max()


def spoils_maps(maps, gradients):
    maps *= gradients.mean((1, 2), keepdim=True)
    return top(maps.sum(0).relu())


# ----------------------------------------------------------------------------------------- 17.3


def by_hand(logits, targets, candidates):
    best, found = float("inf"), None
    for t in candidates:
        log_p = (logits / t).log_softmax(1)
        loss = -log_p[torch.arange(len(targets)), targets].mean()
        if loss < best:
            best, found = loss, t
    return found


def as_tensor(logits, targets, candidates):
    losses = torch.stack([F.cross_entropy(logits / t, targets) for t in candidates])
    return torch.tensor(candidates)[losses.argmin()]


def by_dict(logits, targets, candidates):
    losses = {t: torch.nn.CrossEntropyLoss()(logits / t, targets) for t in candidates}
    return min(losses, key=losses.get)


def in_numpy(logits, targets, candidates):
    z = logits.numpy()[None] / np.array(candidates)[:, None, None]
    log_p = z - np.log(np.exp(z).sum(2, keepdims=True))
    losses = -log_p[:, np.arange(len(targets)), targets.numpy()].mean(1)
    return candidates[int(losses.argmin())]


def by_sorting(logits, targets, candidates):
    return sorted((F.cross_entropy(logits / t, targets).item(), t) for t in candidates)[0][1]


def by_sums(logits, targets, candidates):
    losses = [
        F.nll_loss(F.log_softmax(logits / t, 1), targets, reduction="sum") for t in candidates
    ]
    return candidates[losses.index(min(losses))]


def the_place(logits, targets, candidates):
    return int(np.argmin([F.cross_entropy(logits / t, targets) for t in candidates]))


def chosen(score, least=True):
    def attempt(logits, targets, candidates):
        pick = min if least else max
        return pick(candidates, key=lambda t: float(score(logits / t, targets)))

    return attempt


def accuracy(z, y):
    return (z.argmax(1) == y).float().mean()


def confidence_gap(z, y):
    return (z.softmax(1).amax(1).mean() - accuracy(z, y)).abs()


def unweighted_ece(z, y):
    p, right = z.softmax(1).amax(1), (z.argmax(1) == y).float()
    gaps = []
    for k in range(10):
        here = (p > k / 10) & (p <= (k + 1) / 10)
        if here.any():
            gaps.append((p[here].mean() - right[here].mean()).abs())
    return torch.stack(gaps).mean()


def in_place(logits, targets, candidates):
    """The temperatures multiply up."""
    losses = []
    for t in candidates:
        logits /= t
        losses.append(F.cross_entropy(logits, targets).item())
    return candidates[losses.index(min(losses))]


def loss_itself(logits, targets, candidates):
    return min(F.cross_entropy(logits / t, targets) for t in candidates)


def first_that_rises(logits, targets, candidates):
    """Right where the candidates are in order."""
    losses = [F.cross_entropy(logits / t, targets).item() for t in candidates]
    for i in range(len(losses) - 1):
        if losses[i + 1] > losses[i]:
            return candidates[i]
    return candidates[-1]


# ----------------------------------------------------------------------------------------- 17.5


def bytes_in_numpy(w):
    w = w.numpy()
    scale = float(np.abs(w).max()) / 127
    return torch.from_numpy(np.rint(w / scale).astype(np.int8)), scale


def by_torch(w):
    scale = (w.abs().max() / 127).item()
    return torch.clamp(torch.round(w / scale), -128, 127).to(torch.int8), scale


def by_aminmax(w):
    low, high = w.aminmax()
    scale = torch.maximum(-low, high) / 127
    return [(w / scale + 0.5).floor().char(), scale]


def by_quantize(w):
    scale = w.abs().max().item() / 127
    with warnings.catch_warnings():  # newer PyTorch tells that it will go
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(w, scale, 0, torch.qint8).int_repr(), scale


def in_integers(w):
    scale = w.abs().amax() / 127
    return torch.round(w.double() / scale).to(torch.int32), float(scale)


def by_norm(w):
    scale = torch.linalg.vector_norm(w, ord=float("inf")).item() / 127
    return torch.tensor([round(x / scale) for x in w.flatten().tolist()]).view_as(w).char(), scale


def steps(w, scale, whole=torch.round):
    return whole(w / scale).to(torch.int8), scale


def spoils_w(w):
    scale = w.abs().max().item() / 127
    return w.div_(scale).round_().to(torch.int8), scale


# ----------------------------------------------------------------------------------------- 17.6


def by_flattening(w):
    scales = w.flatten(1).abs().amax(1).view(-1, *[1] * (w.ndim - 1)) / 7
    return torch.round(w / scales).char(), scales


def by_rows(w):
    pairs = [(row / (row.abs().max() / 7), row.abs().max() / 7) for row in w]
    scales = torch.stack([scale for _, scale in pairs])
    return (
        torch.stack([q for q, _ in pairs]).round().to(torch.int8),
        scales.reshape(-1, *[1] * (w.ndim - 1)),
    )


def four_in_numpy(w):
    x = w.numpy()
    scales = np.abs(x).reshape(len(x), -1).max(1).reshape(-1, *[1] * (x.ndim - 1)) / 7
    return np.rint(x / scales).astype(np.int8), scales


def clipped(w):
    """A little less than the largest weight; what is farther out is cut off."""
    scales = 0.9 * w.abs().amax(tuple(range(1, w.ndim)), keepdim=True) / 7
    return (w / scales).round().clamp(-7, 7).to(torch.int8), scales


def by_searching(w):
    """The best of several clips for each row."""
    rows, best = w.flatten(1), None
    top = rows.abs().amax(1, keepdim=True) / 7
    for share in (1.0, 0.85, 0.7):
        q = (rows / (share * top)).round().clamp(-7, 7)
        error = (q * share * top - rows).square().sum(1, keepdim=True)
        found = (error, q, share * top)
        best = found if best is None else tuple(
            torch.where(error < best[0], new, old) for new, old in zip(found, best, strict=True)
        )  # fmt: skip
    return best[1].view_as(w).to(torch.int8), best[2].view(-1, *[1] * (w.ndim - 1))


def in_ints(w):
    scales = torch.linalg.vector_norm(w.flatten(1), ord=float("inf"), dim=1) / 7
    scales = scales.view(-1, *[1] * (w.ndim - 1))
    return [(w / scales).round().long(), scales.double()]


def of_the_whole(w):
    return by_torch_four(w, w.abs().max() / 7)


def by_torch_four(w, scales, whole=torch.round):
    return whole(w / scales).to(torch.int8), scales


def per_row(w, steps=7.0):
    return w.abs().amax(tuple(range(1, w.ndim)), keepdim=True) / steps


def spoils_rows(w):
    scales = per_row(w)
    return w.div_(scales).round_().to(torch.int8), scales


RIGHT = {
    "first_cure": ["b", "B", "b)", ["b"], {"b"}, " b "],
    "cam": [by_einsum, in_a_loop, summed_weights, by_tensordot, by_matrix, heat_in_numpy],
    "best_temperature": [by_hand, as_tensor, by_dict, in_numpy, by_sorting, by_sums],
    "wrong_line": ["c", " C ", ["c"], {"c"}, "(c)", "c."],
    "to_int8": [bytes_in_numpy, by_torch, by_aminmax, by_quantize, in_integers, by_norm],
    "to_int4": [by_flattening, by_rows, four_in_numpy, clipped, by_searching, in_ints],
}

WRONG = {
    "to_int4": [
        (of_the_whole, "one scale for all rows"),
        (lambda w: (of_the_whole(w)[0], float(w.abs().max() / 7)), "one scale for all rows"),
        (lambda w: by_torch_four(w, per_row(w), torch.trunc), "nearest whole number"),
        (lambda w: by_torch_four(w, per_row(w, 8.0)), "-7 to 7"),
        (lambda w: by_torch_four(w, per_row(w, 127.0)), "-7 to 7"),
        (lambda w: by_torch_four(w, per_row(w, 2.0)), "its own largest weight"),
        (lambda w: by_torch_four(w, w.amax(tuple(range(1, w.ndim)), keepdim=True) / 7), "-7 to 7"),
        (lambda w: by_torch_four(w, w.abs() / 7), "at most one for each"),
        (lambda w: (by_flattening(w)[0], by_flattening(w)[1].flatten()), "keepdim=True"),
        (lambda w: (by_flattening(w)[0], 1 / by_flattening(w)[1]), "its own largest weight"),
        (lambda w: (by_flattening(w)[0].flatten(), 1.0), "one q for each weight"),
        (lambda w: ((w / per_row(w)).round(), per_row(w)), "torch.int8"),
        (lambda w: by_flattening(w)[0], "return q, scales"),
        (lambda w: None, "returns nothing"),
        (spoils_rows, "it changes w"),
    ],
    "first_cure": [
        ("a", "raises the score"),
        ("c", "raises the score"),
        ("d", "raises the score"),
        ("a, b", "raises the score"),
        ("b and c", "raises the score"),
        ("abcd", "raises the score"),
        ("e", "a letter in quotes"),
        ("the copy", "a letter in quotes"),
        (2, "a letter in quotes"),
        ([], "a letter in quotes"),
    ],
    "cam": [
        (weighted, "clip at 0"),
        (lambda m, g: top(weighted(m, g)), "clip at 0"),
        (lambda m, g: weighted(m, g).relu(), "divide by the maximum"),
        (lambda m, g: top(weighted(m, g).abs()), "not .abs()"),
        (lambda m, g: top((m * g).sum(0).relu()), "one weight a channel"),
        (lambda m, g: top((g.mean((1, 2)).relu()[:, None, None] * m).sum(0)), "not the weights"),
        (lambda m, g: top((g.mean((1, 2)).abs()[:, None, None] * m).sum(0).relu()), "signs"),
        (lambda m, g: top((g.mean((1, 2))[:, None, None] * m).relu().sum(0)), "after the sum"),
        (lambda m, g: top(m.sum(0)), "how much each channel counts"),
        (lambda m, g: by_einsum(g, m), "exchanged"),
        (lambda m, g: by_einsum(m, g)[None], "sum over the channels"),
        (spoils_maps, "it changes maps"),
        (lambda m, g: None, "return"),
        (lambda m, g: m.mean(0), "one weight a channel"),
        (lambda m, g: by_einsum(m, g).sum(0), "the shape is"),
        (lambda m, g: m @ g, "one weight a channel"),
    ],
    "best_temperature": [
        (the_place, "return the candidate itself"),
        (loss_itself, "return the candidate that has it"),
        (lambda x, y, c: min(c, key=lambda t: F.cross_entropy(x * t, y).item()), "divides"),
        (chosen(F.cross_entropy, least=False), "smallest"),
        (chosen(accuracy, least=False), "Accuracy does not"),
        (chosen(lambda z, y: F.cross_entropy(z.softmax(1), y)), "takes the logits"),
        (chosen(confidence_gap), "looks at each photo"),
        (chosen(unweighted_ece), "try each candidate"),
        (chosen(lambda z, y: (z.softmax(1) - F.one_hot(y, z.shape[1])).square().mean()), "squared"),
        (in_place, "it changes logits"),
        (first_that_rises, "try each candidate"),
        (lambda x, y, c: None, "return"),
        (lambda x, y, c: 1.0, "always 1"),
        (lambda x, y, c: c, "one candidate"),
        (lambda x, y, c: min(c, key=lambda t: F.cross_entropy(x / t)), "try each candidate"),
    ],
    "wrong_line": [
        ("a", "range of the numbers"),
        ("b", "range of the numbers"),
        ("d", "range of the numbers"),
        ("a, c", "range of the numbers"),
        ("c and d", "range of the numbers"),
        ("abcd", "range of the numbers"),
        ("e", "a letter in quotes"),
        ("line c is wrong", "a letter in quotes"),
        (3, "a letter in quotes"),
        ([], "a letter in quotes"),
    ],
    "to_int8": [
        (lambda w: steps(w, w.abs().max().item() / 127, torch.trunc), ".round() first"),
        (lambda w: steps(w, w.abs().max().item() / 127, torch.floor), ".round() first"),
        (lambda w: steps(w, w.max().item() / 127), "largest *absolute* weight"),
        (lambda w: steps(w, -w.min().item() / 127), "largest *absolute* weight"),
        (lambda w: steps(w, (w.max() - w.min()).item() / 255), "largest *absolute* weight"),
        (lambda w: steps(w, w.abs().max().item() / 128), "no int8 holds"),
        (lambda w: steps(w, w.abs().max().item() / 255), "run over"),
        (lambda w: steps(w, w.abs().max().item()), "only -1, 0 and 1"),
        (lambda w: steps(w, 1.9 / 127), "how large is a step"),
        (lambda w: (by_torch(w)[0], 1 / by_torch(w)[1]), "upside down"),
        (lambda w: (by_torch(w)[0], w.abs().max().item()), "divided by 127"),
        (lambda w: ((w / by_torch(w)[1]).round(), by_torch(w)[1]), "torch.int8"),
        (lambda w: w.to(torch.int8), "return q, scale"),
        (lambda w: by_torch(w)[::-1], "the bytes, then the scale"),
        (lambda w: by_torch(w.flatten()), "how large is a step"),
        (lambda w: None, "returns nothing"),
        (spoils_w, "it changes w"),
    ],
}

_FACTOR = "the division by the maximum takes a common factor away"
EQUIVALENT = {
    "cam": {"method 1: mean -> sum": _FACTOR, "method 2: sum -> mean": _FACTOR},
}
