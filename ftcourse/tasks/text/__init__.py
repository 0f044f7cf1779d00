"""Text: classification, and questions whose answer is a piece of a text, on a pre-trained encoder.

The encoder is a plain model of `transformers`; what is new is one linear layer. The stages are those of images:

    encoder, tokenizer = text.load_encoder("minilm")             # offline, from the extra `text`
    data = text.load_messages(tokenizer)                         # train, val and test splits, and classes
    model = text.TextClassifier(encoder, num_classes=len(data.classes))
    ft.finetune(model, data, ft.Stage(train="layer.4", epochs=3, lr=1e-4, head_lr=1e-3),
                task=text.TextClassification(tokenizer))

Layer groups: "embeddings", "layer.0", ..., "head". Question answering has `load_questions`, `SpanFinder` and
`QuestionAnswering` in their place, and SQuAD's two measures, `exact_match` and `f1`.
"""

from ftcourse.tasks.text.batches import TextData
from ftcourse.tasks.text.classification import (
    TextClassification,
    TextClassifier,
    Texts,
    classify,
    load_messages,
    mean_pool,
)
from ftcourse.tasks.text.encoder import load_encoder
from ftcourse.tasks.text.questions import (
    QuestionAnswering,
    QuestionWindows,
    Span,
    SpanFinder,
    Window,
    answer,
    best_span,
    exact_match,
    f1,
    load_questions,
    normalise,
    spans,
)

__all__ = [
    "QuestionAnswering", "QuestionWindows", "Span", "SpanFinder", "TextClassification",
    "TextClassifier", "TextData", "Texts", "Window", "answer", "best_span", "classify", "exact_match", "f1",
    "load_encoder", "load_messages", "load_questions", "mean_pool", "normalise", "spans",
]  # fmt: skip
