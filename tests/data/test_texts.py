"""Pocket Texts: the counts of the card, spans that match, and no text in two splits."""

from __future__ import annotations

import itertools
import re
from collections import Counter

import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from ftcourse.data.texts import HERE, LABELS, SPLITS, messages, questions


def test_each_split_has_a_third_of_each_label():
    counts = Counter((m.split, m.label) for m in messages())
    per_label = {"train": 130, "val": 30, "test": 60}
    assert counts == {(s, label): per_label[s] for s in SPLITS for label in LABELS}
    assert len(messages()) == 660


def test_messages_are_clean_lines_of_a_few_words():
    for m in messages():
        assert m.text == m.text.strip() and m.text and "\t" not in m.text
        assert len(m.text.split()) <= 32, m.text
    words = [len(m.text.split()) for m in messages()]
    assert 12 < sum(words) / len(words) < 15


def test_an_unknown_split_is_refused_with_the_names_there_are():
    with pytest.raises(ValueError, match="'dev'; there are: train, val, test"):
        messages("dev")
    with pytest.raises(ValueError, match="there are: train, val, test"):
        questions("dev")


def test_no_message_is_a_copy_or_nearly_one_of_another():
    texts = [m.text for m in messages()]
    plain = [" ".join(re.findall(r"\w+", t.lower())) for t in texts]
    assert len(set(plain)) == len(texts)
    grams = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 4)).fit_transform(plain)
    close = (grams @ grams.T).toarray()
    pairs = [
        (texts[i], texts[j])
        for i, j in itertools.combinations(range(len(texts)), 2)
        if close[i, j] > 0.65
    ]
    assert pairs == []


def test_a_bag_of_words_does_not_solve_the_messages():
    train, test = messages("train"), messages("test")
    words = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b|[?!]")
    model = make_pipeline(words, LogisticRegression(C=3, max_iter=1000))
    model.fit([m.text for m in train], [m.label for m in train])
    score = model.score([m.text for m in test], [m.label for m in test])
    assert 0.5 < score < 0.75, score  # a third is chance


def test_there_are_six_questions_on_each_of_forty_contexts():
    per_context = Counter(q.context for q in questions())
    assert set(per_context.values()) == {6} and len(per_context) == 40
    assert Counter(q.split for q in questions()) == {"train": 156, "val": 24, "test": 60}
    ids = [q.id for q in questions()]
    assert len(set(ids)) == len(ids)


def test_answers_are_whole_words_at_their_offsets():
    for q in questions():
        assert q.answers and q.question.endswith("?")
        for a in q.answers:
            end = a.start + len(a.text)
            assert q.context[a.start : end] == a.text, q.id
            around = q.context[max(0, a.start - 1) : a.start], q.context[end : end + 1]
            assert not any(c.isalnum() for c in around), (q.id, a.text)


def test_all_questions_on_a_context_are_in_one_split():
    where = {q.context: q.split for q in questions()}
    assert all(where[q.context] == q.split for q in questions())
    texts = [q.question for q in questions()]
    assert len(set(texts)) >= len(texts) - 2  # "When was the wreck found?" may be asked twice


def test_the_card_is_in_the_package_and_names_the_counts():
    card = (HERE / "README.md").read_text(encoding="utf-8")
    for fact in ("660 messages", "240 questions", "390", "Apache-2.0", "language model"):
        assert fact in card
