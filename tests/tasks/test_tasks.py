"""A task: the same loop learns masks, lists of dicts and dicts of tensors."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models.segmentation import fcn_resnet50
from torchvision.models.segmentation.fcn import FCNHead

import ftcourse as ft
from ftcourse.tasks import Classification, Task, joined, to_device
from tests.conftest import BlobData, Blobs, tiny_resnet

QUIET = {"progress": False, "batch_size": 8, "device": "cpu"}


class Words(torch.utils.data.Dataset):
    """Item: a dict of int64 (5,), and whether token 7 is among them."""

    classes = ("absent", "present")

    def __init__(self, n: int, seed: int) -> None:
        g = torch.Generator().manual_seed(seed)
        self.ids = torch.randint(0, 7, (n, 5), generator=g)
        self.targets = [i % 2 for i in range(n)]
        self.ids[1::2, 2] = 7

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, i: int):
        return {"input_ids": self.ids[i], "attention_mask": torch.ones(5)}, self.targets[i]


class Reader(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embeddings, self.classifier = nn.Embedding(8, 4), nn.Linear(4, 2)
        self.ftcourse_groups = {"embeddings": ["embeddings"], "head": ["classifier"]}

    def forward(self, input_ids, attention_mask):
        x = (self.embeddings(input_ids) * attention_mask[..., None]).amax(1)
        return {"logits": self.classifier(x)}


class TextTask(Classification):
    name = "text"

    def forward(self, model, inputs, targets=None):
        return model(**inputs)["logits"]


class OwnLoss(Task):
    """As a detector: the model is given lists, returns its losses in training and a list of answers otherwise."""

    name, score, columns = "own loss", "found", ("loss", "found")

    @staticmethod
    def collate(items):
        return [x for x, _ in items], [{"labels": torch.tensor([y])} for _, y in items]

    def forward(self, model, inputs, targets=None):
        logits = model(torch.stack(inputs))
        if targets is None:
            return [{"labels": row.argmax().view(1)} for row in logits]
        return {"loss_a": F.cross_entropy(logits, torch.cat([t["labels"] for t in targets]))}

    def loss(self, outputs, targets):
        return sum(outputs.values())

    def metrics(self, batches):
        found, wanted = joined(batches)
        pairs = list(zip(found, wanted, strict=True))
        right = sum(bool(a["labels"] == b["labels"]) for a, b in pairs)
        return {"found": right / len(pairs), "samples": len(pairs)}


def test_a_batch_may_be_a_dict_of_tensors():
    data = BlobData(Words(40, 1), Words(20, 2), Words(20, 3), Words.classes)
    model = Reader()
    stage = ft.Stage("all", epochs=12, lr=5e-2)
    history = ft.finetune(model, data, stage, task=TextTask(), **QUIET)
    assert history.findings == []
    assert history.best["val_accuracy"] == ft.evaluate(model, data.val, task=TextTask())["accuracy"]
    assert history.best["val_accuracy"] >= 0.9


def test_groups_that_a_model_names_itself_are_frozen_and_thawed():
    model = Reader()
    ft.apply_stage(model, ft.Stage("head"))
    assert [p.requires_grad for p in model.parameters()] == [False, True, True]
    assert [r["group"] for r in ft.freeze_report(model).rows] == ["embeddings", "head"]


def test_a_model_with_its_own_losses_and_no_validation_loss(tiny, blobs, tmp_path):
    task = OwnLoss()
    stage = ft.Stage("all", epochs=6, lr=1e-2)
    history = ft.finetune(tiny, blobs, stage, task=task, out_dir=tmp_path, **QUIET)
    assert set(history.epochs[0]) == {
        "epoch", "stage", "train", "train_loss", "val_found", "lr", "seconds",
    }  # fmt: skip
    assert history.best["val_found"] == max(history.column("val_found")) >= 0.9
    assert ft.evaluate(tiny, blobs.val, task=task)["found"] == history.best["val_found"]
    answers, wanted = ft.predict(tiny, blobs.val, task=task, batch_size=7)
    assert len(answers) == len(wanted) == 20 and set(answers[0]) == {"labels"}
    assert "found" in str(history)
    read = type(history).load(tmp_path / "history.json")
    assert read.score == "found" and len(read.plot().axes) >= 2


def test_it_resumes_with_the_task_it_was_trained_with(blobs, tmp_path):
    stages = [ft.Stage("head", epochs=1), ft.Stage("all", epochs=1)]
    whole, broken = tiny_resnet(), tiny_resnet()
    ft.finetune(whole, blobs, stages, task=OwnLoss(), **QUIET)

    def cut(history):
        if len(history.epochs) == 2:
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        ft.finetune(broken, blobs, stages, task=OwnLoss(), out_dir=tmp_path, on_epoch=cut, **QUIET)
    with pytest.raises(ValueError, match="task='own loss', not 'classification'"):
        ft.finetune(tiny_resnet(), blobs, stages, out_dir=tmp_path, resume=True, **QUIET)
    again = tiny_resnet(seed=9)
    ft.finetune(again, blobs, stages, task=OwnLoss(), out_dir=tmp_path, resume=True, **QUIET)
    for a, b in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)


def test_settings_of_classification_are_refused_for_another_task(tiny, blobs):
    with pytest.raises(ValueError, match="own loss"):
        ft.finetune(tiny, blobs, ft.Stage("head"), task=OwnLoss(), mix="mixup", **QUIET)


def test_preflight_tries_the_steps_of_a_task(tiny, blobs):
    wild = ft.Stage("all", epochs=1, lr=1e4, optimizer="sgd")
    names = [f.name for f in ft.preflight(tiny, blobs, wild, task=OwnLoss())]
    assert names == ["learning rate too high"]
    assert ft.preflight(tiny, blobs, ft.Stage("all", epochs=1), task=OwnLoss()) == []


def test_the_default_task_is_classification_to_the_bit(blobs):
    runs = []
    for settings in ({}, {"task": Classification()}):
        model = tiny_resnet()
        history = ft.finetune(model, blobs, ft.Stage("all", epochs=2), **settings, **QUIET)
        runs.append((model, [{**row, "seconds": 0} for row in history.epochs]))
    assert runs[0][1] == runs[1][1]
    for a, b in zip(runs[0][0].parameters(), runs[1][0].parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_resnet_inside_a_segmentation_model_keeps_its_groups():
    model = fcn_resnet50(weights=None, weights_backbone=None, num_classes=3, aux_loss=True)
    groups = ft.layer_groups(model)
    assert list(groups) == ["stem", "layer1", "layer2", "layer3", "layer4", "head"]
    assert groups["layer4"] == [model.backbone["layer4"]]
    assert groups["head"] == [model.classifier, model.aux_classifier]
    counted = sum(p.numel() for ms in groups.values() for m in ms for p in m.parameters())
    assert counted == sum(p.numel() for p in model.parameters())
    ft.apply_stage(model, ft.Stage("head"))
    assert isinstance(model.classifier, FCNHead)
    assert {n.split(".")[0] for n, p in model.named_parameters() if p.requires_grad} == {
        "classifier", "aux_classifier",
    }  # fmt: skip


def test_a_resnet_inside_a_detection_model_keeps_its_groups():
    from torchvision.models.detection import fasterrcnn_resnet50_fpn

    model = fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=3)
    groups = ft.layer_groups(model)
    assert list(groups) == ["stem", "layer1", "layer2", "layer3", "layer4", "head"]
    assert groups["head"] == [model.backbone.fpn, model.rpn, model.roi_heads]
    counted = sum(p.numel() for ms in groups.values() for m in ms for p in m.parameters())
    assert counted == sum(p.numel() for p in model.parameters())


def test_tensors_are_moved_wherever_they_lie():
    moved = to_device({"a": [torch.ones(1)], "b": (torch.ones(2), "text")}, "meta")
    assert moved["a"][0].device.type == "meta" and moved["b"][0].device.type == "meta"
    assert moved["b"][1] == "text"


def test_a_task_without_a_loss_says_so(tiny):
    with pytest.raises(NotImplementedError, match="Task has no loss"):
        Task().loss(torch.zeros(1), torch.zeros(1))
    with pytest.raises(ValueError, match="no samples"):
        ft.predict(tiny, Blobs(0, 0))
