"""Answers to the questions of lesson 05."""

from __future__ import annotations

import time

import torch
from torch import nn
from torch.nn import functional as F

NAMES = {"torch": torch, "F": F, "time": time}

# ------------------------------------------------------------------------------------------ 5.2


def best_of_several(run, wait, repeats=5):
    """Each waited for; the first, which takes longer, is never the best."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        wait()
        times.append(time.perf_counter() - start)
    return min(times)


def waits_for_each(run, wait, repeats=5):
    run()
    wait()
    total = 0.0
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        wait()
        total += time.perf_counter() - start
    return total / repeats


def warms_up_longer(run, wait, repeats=5):
    for _ in range(3):
        run()
    wait()
    start = time.time()
    [run() for _ in range(repeats)]
    wait()
    return (time.time() - start) / repeats


def as_a_tensor(run, wait, repeats=5):
    return torch.tensor(warms_up_longer(run, wait, repeats))


def in_nanoseconds(run, wait, repeats=5):
    run(), wait()
    start = time.monotonic_ns()
    for _ in range(repeats):
        run()
    wait()
    return (time.monotonic_ns() - start) / repeats / 1e9


def the_median(run, wait, repeats=5):
    times = []
    for _ in range(repeats + 1):
        wait()
        start = time.perf_counter()
        run()
        wait()
        times.append(time.perf_counter() - start)
    return sorted(times[1:])[repeats // 2]


def timing(
    warm=True, wait_first=True, wait_last=True, divide=lambda n: n, times=lambda n: n, early=False
):
    """A clock of which one piece can be left out."""

    def attempt(run, wait, repeats=5):
        start = time.perf_counter()
        if warm:
            run()
        if wait_first:
            wait()
        if not early:
            start = time.perf_counter()
        for _ in range(times(repeats)):
            run()
        if wait_last:
            wait()
        return (time.perf_counter() - start) / divide(repeats)

    return attempt


def five_by_heart(run, wait, repeats=5):
    return timing()(run, wait, 5)


# ------------------------------------------------------------------------------------------ 5.3


def epoch(
    start=lambda: 0.0,
    add=lambda total, loss, n: total + loss.detach() * n,
    end=lambda total, n, k: total.item() / n,
    zero=True,
    step=True,
):
    """An epoch of which one piece can be another one."""

    def attempt(model, batches, optimizer):
        total, photos = start(), 0
        for x, y in batches:
            if zero:
                optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            if step:
                optimizer.step()
            total = add(total, loss, len(y))
            photos += len(y)
        return end(total, photos, len(batches))

    return attempt


def with_a_list(model, batches, optimizer):
    losses, sizes = [], []
    for x, y in batches:
        loss = F.cross_entropy(model(x), y)
        model.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
        sizes.append(len(y))
    return (torch.stack(losses) * torch.tensor(sizes)).sum() / sum(sizes)


def with_sums(model, batches, optimizer):
    loss_fn = nn.CrossEntropyLoss(reduction="sum")
    total = torch.zeros(1)
    for x, y in batches:
        loss = loss_fn(model(x), y)
        optimizer.zero_grad(set_to_none=True)
        (loss / len(y)).backward()
        optimizer.step()
        with torch.no_grad():
            total += loss
    return float(total) / sum(len(y) for _, y in batches)


def a_running_mean(model, batches, optimizer):
    mean, photos = torch.tensor(0.0), 0
    for x, y in batches:
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        photos += y.size(0)
        mean += (loss.data - mean) * y.size(0) / photos
    return mean


OF_LESSON_04 = {"add": lambda t, loss, n: t + loss.item() * n, "end": lambda t, n, k: t / n}

RIGHT = {
    "all_moved": ["b, d", "DB", ["b", "d"], {"d", "b"}, "b and d", "b & d", "d b"],
    "measure": [
        waits_for_each,
        best_of_several,
        warms_up_longer,
        as_a_tensor,
        in_nanoseconds,
        the_median,
    ],
    "train_epoch": [
        epoch(),
        with_a_list,
        with_sums,
        a_running_mean,
        epoch(end=lambda total, n, k: total / n),
        epoch(start=lambda: torch.zeros((), dtype=torch.float64), end=lambda t, n, k: float(t / n)),
    ],
}

WRONG = {
    "all_moved": [
        ("a", "do not move in place"),
        ("b, c, d", "three things must be"),
        ("a, b, d", "do not move in place"),
        ("c", "three things must be"),
        ("b", "1 more is true"),
        ("d", "1 more is true"),
        ("x", "a letter in quotes"),
        ("both", "a letter in quotes"),
        (2, "a letter in quotes"),
        (["b", 4], "a letter in quotes"),
        ([], "a letter in quotes"),
    ],
    "measure": [
        (timing(wait_last=False), "before the last look at the clock"),
        (timing(wait_first=False, wait_last=False), "before you read the clock"),
        (timing(warm=False), "the first run"),
        (timing(wait_first=False), "after the warm-up as well"),
        (timing(early=True), "start before the warm-up"),
        (timing(divide=lambda n: 1), "divide by repeats"),
        (timing(times=lambda n: n - 1), "more runs than the clock saw"),
        (timing(divide=lambda n: n + 1), "more runs than the clock saw"),
        (timing(divide=lambda n: n - 1), "divide by repeats"),
        (timing(times=lambda n: n + 1), "not one more"),
        (lambda run, wait, repeats: 1000 * timing()(run, wait, repeats), "not milliseconds"),
        (lambda run, wait, repeats: timing()(run, wait, 1), "by the clock"),
        (five_by_heart, "by the clock"),
        (lambda run, wait, repeats: None, "returns nothing"),
        (lambda run, wait, repeats: 0.03, "with the parentheses"),
        (lambda run, wait, repeats: [timing()(run, wait, repeats)], "return the seconds"),
        (lambda run, wait, repeats: f"{timing()(run, wait, repeats)} s", "no text"),
        (lambda run, wait: 0.02, "when does run() return"),
    ],
    "train_epoch": [
        (epoch(**OF_LESSON_04), "once, after the loop"),
        (epoch(add=lambda t, loss, n: t + float(loss) * n, end=lambda t, n, k: t / n), "6 times"),
        (epoch(add=lambda t, loss, n: t + loss.tolist() * n, end=lambda t, n, k: t / n), "6 times"),
        (epoch(add=lambda t, loss, n: t + loss.detach().cpu() * n), "7 times"),
        (epoch(add=lambda t, loss, n: t + loss.detach().numpy() * n), "6 times"),
        (epoch(add=lambda t, loss, n: t + loss.detach() * n if loss > 0 else t), "7 times"),
        (epoch(end=lambda t, n, k: [t.item(), t.item()][0] / n), "2 times"),
        (
            epoch(add=lambda t, loss, n: t + loss.detach(), end=lambda t, n, k: t / k),
            "as lesson 04 does",
        ),
        (epoch(end=lambda t, n, k: t.item()), "divide by the number of photos"),
        (
            epoch(add=lambda t, loss, n: t + loss.detach(), end=lambda t, n, k: t),
            "sum over the batches",
        ),
        (epoch(add=lambda t, loss, n: loss.detach(), end=lambda t, n, k: t), "of the last batch"),
        (epoch(zero=False), "old gradients"),
        (epoch(step=False), "have not moved"),
        (
            epoch(add=lambda t, loss, n: t + 2 * loss.detach() * n),
            "is the mean loss over the photos",
        ),
        (lambda model, batches, optimizer: None, "returns nothing"),
        (epoch(end=lambda t, n, k: None), "returns nothing"),
        (epoch(end=lambda t, n, k: [t / n, n]), "the mean loss over the photos"),
    ],
}

EQUIVALENT = {
    "measure": {
        "constant: 5 -> 6": "the default of repeats, which the check never leaves to the function",
    },
}
