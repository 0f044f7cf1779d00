"""The default recipe: which stages for how many photos, and epochs shared out in its proportions."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftcourse.training import recipes
from ftcourse.training.recipes import default_size, recipe, resolve_strategy
from ftcourse.training.stages import Stage

quick = settings(max_examples=100, deadline=None)
strategies = st.sampled_from(recipes.STRATEGIES)
some = st.integers(1, 100_000)

# The epochs of head, last block and everything, for fewer than 20, fewer than 500, and 500 or more training photos
# a class. These numbers were chosen by measurements; whoever changes one changes it here, too.
FEW, MANY, PLENTY = (8, 12, 12), (5, 6, 12), (2, 3, 8)


def told(stages):
    return [(stage.label, stage.epochs) for stage in stages]


@pytest.mark.parametrize(
    ("photos", "auto", "epochs"),
    [
        (1, 2, FEW),
        (19, 2, FEW),
        (20, 3, MANY),
        (499, 3, MANY),
        (500, 3, PLENTY),
        (10**6, 3, PLENTY),
    ],
)
def test_how_many_photos_a_class_decide_what_auto_means_and_how_long_each_stage_lasts(
    photos, auto, epochs
):
    pairs = list(zip(("head", "layer4", "all"), epochs, strict=True))
    for classes in (1, 7):
        assert told(recipe("auto", photos * classes, classes)) == pairs[:auto]
        for name, n in (("head", 1), ("layer4", 2), ("full", 3)):
            assert told(recipe(name, photos * classes, classes)) == pairs[:n]
        # a fraction of a photo more counts
        assert told(recipe("full", photos * classes, classes)) == told(
            recipe("full", photos * classes + classes - 1, classes)
        )


def test_how_fast_each_stage_learns():
    head, block, everything = recipe("full", 300, 3)
    assert head == Stage("head", epochs=head.epochs, lr=1e-2)
    assert block == Stage("layer4", epochs=block.epochs, lr=5e-4, head_lr=1e-3)
    whole = Stage("all", epochs=everything.epochs, lr=3e-4, head_lr=1e-3, layer_decay=0.7)
    assert everything == whole
    (scratch,) = recipe("full", 300, 3, from_scratch=True)
    assert scratch == Stage("all", epochs=scratch.epochs, lr=1e-3)


def test_another_network_trains_its_own_last_block_where_a_resnet_trains_layer4():
    stages = recipe("full", 300, 3, last="blocks.9")
    assert told(stages) == list(zip(("head", "blocks.9", "all"), MANY, strict=True))
    assert told(recipe("full", 300, 3, 2, last="blocks.9")) == [("head", 1), ("all", 1)]


@quick
@given(strategies, some, st.integers(1, 50), st.booleans())
def test_auto_is_one_of_the_others_and_they_are_themselves(strategy, photos, classes, from_scratch):
    name = resolve_strategy(strategy, photos, classes, from_scratch)
    if strategy != "auto":
        assert name == strategy
    elif from_scratch:
        assert name == "full"
    else:
        assert name == ("layer4" if photos / classes < 20 else "full")
        assert name == resolve_strategy(strategy, photos, classes)
    args = (photos, classes, None, from_scratch)
    assert recipe(strategy, *args) == recipe(name, *args)


@quick
@given(some, st.integers(1, 50))
def test_from_scratch_everything_learns_at_once_for_as_long_and_the_other_strategies_as_asked(
    photos, classes
):
    usual = recipe("full", photos, classes)
    for strategy in ("auto", "full"):
        assert told(recipe(strategy, photos, classes, from_scratch=True)) == [
            ("all", sum(stage.epochs for stage in usual))
        ]
        (asked,) = recipe(strategy, photos, classes, epochs=7, from_scratch=True)
        assert asked.epochs == 7
    for strategy in ("head", "layer4"):
        args = (strategy, photos, classes)
        assert recipe(*args, from_scratch=True) == recipe(*args)
        assert recipe(*args, epochs=5, from_scratch=True) == recipe(*args, epochs=5)


@quick
@given(strategies, some, st.integers(1, 50), st.integers(1, 60))
def test_epochs_asked_for_are_shared_out_whole_and_the_last_stage_is_never_dropped(
    strategy, photos, classes, epochs
):
    usual, asked = recipe(strategy, photos, classes), recipe(strategy, photos, classes, epochs)
    assert sum(stage.epochs for stage in asked) == epochs
    assert all(stage.epochs >= 1 for stage in asked)
    labels = [stage.label for stage in usual]
    n = min(epochs, len(labels))
    assert [stage.label for stage in asked] == labels[: n - 1] + labels[
        -1:
    ]  # the middle goes first
    rates = {s.label: (s.lr, s.head_lr, s.layer_decay) for s in usual}
    assert all((s.lr, s.head_lr, s.layer_decay) == rates[s.label] for s in asked)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=3), st.integers(0, 12))
def test_no_other_sharing_out_is_nearer_to_the_proportions(weights, more):
    total = len(weights) + more
    shares = recipes._share_out(total, weights)

    def distance(parts):
        return sum((s - w * total / sum(weights)) ** 2 for s, w in zip(parts, weights, strict=True))

    others = itertools.product(range(1, total + 1), repeat=len(weights))
    nearest = min(distance(parts) for parts in others if sum(parts) == total)
    assert sum(shares) == total and min(shares) >= 1
    assert distance(shares) == pytest.approx(nearest)


def test_of_equals_the_first_gets_the_odd_epoch():
    assert recipes._share_out(3, [5, 5]) == [2, 1]
    assert recipes._share_out(4, [1, 1, 1]) == [2, 1, 1]


@pytest.mark.parametrize("epochs", [0, -3])
def test_no_epochs_are_refused(epochs):
    with pytest.raises(ValueError, match=f"epochs={epochs}"):
        recipe("full", 300, 3, epochs=epochs)
    with pytest.raises(ValueError, match="use auto, head, layer4, full"):
        resolve_strategy("fulll", 300, 3)


@pytest.mark.parametrize(
    ("crop", "side"), [([96], 96), ((64, 80), 64), (72, 72), (None, 128), (0, 128), (50.0, 50)]
)
def test_the_side_is_that_of_the_weights_transforms_or_128(crop, side):
    found = default_size(SimpleNamespace(crop_size=crop))
    assert found == side and type(found) is int
    assert default_size(None) == default_size(object()) == 128


def test_the_table_reads_upwards_and_has_a_row_for_any_number_of_photos():
    limits = [row.below for row in recipes.TABLE]
    assert limits == sorted(limits) and limits[-1] == math.inf
