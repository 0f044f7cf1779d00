"""Layer groups: each parameter is in exactly one, whatever the network; the head gives the logits."""

from __future__ import annotations

import copy
import random

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torchvision import models
from torchvision.models import regnet
from torchvision.transforms import v2

import ftcourse as ft
from ftcourse.models.groups import group_parameters, head_of, head_outputs
from tests.conftest import BlobData, Blobs, TinyResNet, tiny_resnet

RESNET = ["stem", "layer1", "layer2", "layer3", "layer4", "head"]
QUIET = {"progress": False, "batch_size": 8, "preflight": False, "device": "cpu"}


def assert_partition(model: nn.Module) -> None:
    """Each parameter of the model is in exactly one of its groups, of which the last is the head."""
    groups = group_parameters(model)
    assert list(groups) == list(ft.layer_groups(model))
    assert list(groups)[-1] == "head"
    ids = [id(p) for parameters in groups.values() for p in parameters]
    assert len(ids) == len(set(ids))
    assert set(ids) == {id(p) for p in model.parameters()}


# -- torchvision's classifiers -----------------------------------------------------------------


@pytest.fixture
def on_meta(monkeypatch):
    """torchvision's models without numbers; RegNet reckons its widths with tensors, which need some."""
    widths = regnet.BlockParams.from_init_params.__func__

    def with_numbers(cls, *args, **kwargs):
        with torch.device("cpu"):
            return widths(cls, *args, **kwargs)

    monkeypatch.setattr(regnet.BlockParams, "from_init_params", classmethod(with_numbers))
    with torch.device("meta"):
        yield


@pytest.mark.filterwarnings("ignore:.*init_weights.*", "ignore:The default weight initialization")
@pytest.mark.parametrize("name", models.list_models(module=models))
def test_each_parameter_of_each_classifier_of_torchvision_is_in_one_group(on_meta, name):
    model = models.get_model(name, weights=None)
    assert head_outputs(head_of(model)[1]) == 1000
    ft.replace_head(model, 7)
    head = head_of(model)[1]
    assert head_outputs(head) == 7
    assert_partition(model)
    assert [id(p) for p in group_parameters(model)["head"]] == [id(p) for p in head.parameters()]
    modules = [m for group in ft.layer_groups(model).values() for m in group]
    assert sum(p.numel() for m in modules for p in m.parameters()) == sum(
        p.numel() for p in model.parameters()
    )


@pytest.mark.filterwarnings("ignore:.*init_weights.*", "ignore:The default weight initialization")
@pytest.mark.parametrize("name", ["googlenet", "inception_v3", "squeezenet1_1", "vit_b_32"])
def test_networks_with_second_heads_or_without_a_linear_one_learn_the_new_classes(on_meta, name):
    model = ft.replace_head(models.get_model(name, weights=None), 7).train()
    assert model(torch.zeros(2, 3, 224, 224)).shape == (2, 7)
    assert model.eval()(torch.zeros(2, 3, 224, 224)).shape == (2, 7)


def test_a_resnet_has_the_groups_that_its_paper_names():
    model = tiny_resnet()
    groups = ft.layer_groups(model)
    assert list(groups) == RESNET
    assert groups["stem"] == [model.conv1, model.bn1] and groups["head"] == [model.fc]


def test_the_class_token_of_a_vision_transformer_trains_with_the_first_group(on_meta):
    model = models.vit_b_32(weights=None)
    ft.freeze(model)
    assert not model.class_token.requires_grad
    ft.unfreeze(model, "conv_proj")
    assert model.class_token.requires_grad
    assert ft.freeze_report(model)._total()["parameters"] == sum(
        p.numel() for p in model.parameters()
    )


# -- users' classes ----------------------------------------------------------------------------


class Body(nn.Module):
    """A network that is no ResNet, with a linear layer of its own at the end."""

    def __init__(self, outputs: int = 6) -> None:
        super().__init__()
        self.early, self.late = nn.Linear(3, 5), nn.Linear(5, outputs)

    def forward(self, x):
        return self.late(torch.relu(self.early(x.mean((2, 3)))))


class Holds(nn.Module):
    """Only holds a network, under the name that its user likes."""

    def __init__(self, name: str, network: nn.Module) -> None:
        super().__init__()
        self.add_module(name, network)
        self.name = name

    def forward(self, x):
        return self.get_submodule(self.name)(x)


class Outside(Holds):
    """A head of its own behind the network; registered before it if `first`."""

    def __init__(
        self, name: str, network: nn.Module, features: int, head: str, first: bool
    ) -> None:
        nn.Module.__init__(self)
        own = nn.Linear(features, 2)
        for key, module in (
            ((head, own), (name, network)) if first else ((name, network), (head, own))
        ):
            self.add_module(key, module)
        self.name, self.head_name = name, head

    def forward(self, x):
        return self.get_submodule(self.head_name)(super().forward(x))


def headless() -> nn.Module:
    network = tiny_resnet()
    network.fc = nn.Identity()
    return network


@pytest.mark.parametrize("name", ["backbone", "model", "net", "encoder"])
def test_a_class_that_only_holds_a_resnet_has_its_groups(name):
    model = Holds(name, tiny_resnet())
    assert list(ft.layer_groups(model)) == RESNET
    assert head_of(model)[0] == f"{name}.fc"
    assert_partition(model)


def test_what_has_no_parameters_in_front_of_a_network_or_behind_it_is_looked_through():
    front = nn.Sequential(v2.Normalize([0.5] * 3, [0.5] * 3), tiny_resnet())
    for model, head in ((front, "1.fc"), (nn.Sequential(tiny_resnet(), nn.Flatten()), "0.fc")):
        assert list(ft.layer_groups(model)) == RESNET
        assert head_of(model)[0] == head
        assert_partition(model)


@pytest.mark.parametrize("name", ["backbone", "model", "net", "encoder"])
@pytest.mark.parametrize("head", ["fc", "head", "classifier"])
@pytest.mark.parametrize("first", [True, False])
def test_a_head_outside_of_the_resnet_is_the_head_wherever_it_is_registered(name, head, first):
    model = Outside(name, headless(), 64, head, first)
    assert list(ft.layer_groups(model)) == RESNET
    assert head_of(model)[0] == head
    assert_partition(model)


@pytest.mark.parametrize("name", ["backbone", "model", "trunk"])
@pytest.mark.parametrize("head", ["fc", "head"])
@pytest.mark.parametrize("first", [True, False])
def test_a_linear_layer_at_the_end_of_the_body_is_not_the_head(name, head, first):
    model = Outside(name, Body(), 6, head, first)
    assert list(ft.layer_groups(model)) == ["early", "late", "head"]
    assert head_of(model)[0] == head
    assert_partition(model)
    ft.replace_head(model, 3)
    assert model(torch.zeros(2, 3, 4, 4)).shape == (2, 3)


def test_blocks_of_a_backbone_are_groups_by_their_numbers():
    blocks = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 6, 3), nn.AvgPool2d(2), nn.Flatten()
    )
    model = Outside("backbone", blocks, 6, "fc", first=False)
    assert list(ft.layer_groups(model)) == ["backbone.0", "backbone.2", "head"]
    assert_partition(model)


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("lraspp_mobilenet_v3_large", {"classifier"}),
        ("ssdlite320_mobilenet_v3_large", {"head"}),
        ("fasterrcnn_mobilenet_v3_large_320_fpn", {"backbone", "rpn", "roi_heads"}),
    ],
)
def test_in_a_detector_the_head_is_all_that_is_not_the_backbone(name, head):
    model = models.get_model(name, weights=None, weights_backbone=None)
    assert_partition(model)
    names = {id(p): n.split(".")[0] for n, p in model.named_parameters()}
    assert {names[id(p)] for p in group_parameters(model)["head"]} == head


def test_the_head_moves_with_all_and_nothing_else_moves_with_head(blobs):
    for stage, expected in (("all", None), ("head", {"head"})):
        model = Outside("body", Body(), 6, "head", first=True)
        before = {k: v.clone() for k, v in model.state_dict().items()}
        ft.finetune(model, blobs, ft.Stage(stage, epochs=1, lr=1e-2), **QUIET)
        moved = {
            k.split(".")[0] for k, v in model.state_dict().items() if not torch.equal(v, before[k])
        }
        assert moved == (expected or {"head", "body"})


class Mlp(nn.Module):
    """A head of two layers, under the name `head`, in front of which stands a bare parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))
        self.body = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4))
        self.head = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))

    def forward(self, x):
        return self.head(self.body(x.mean((2, 3)) * self.scale))


def test_a_child_called_head_is_the_head_as_a_whole():
    model = Mlp()
    groups = group_parameters(model)
    assert {id(p) for p in groups["head"]} == {id(p) for p in model.head.parameters()}
    assert groups["body.0"][0] is model.scale  # what the model holds itself is nearest to the input
    assert_partition(model)
    assert head_of(model)[0] == "head.2"


class HeadFirst(nn.Module):
    """What is called head is a layer in the middle."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 4)
        self.fc = nn.Linear(4, 2)

    def forward(self, x):
        return self.fc(self.head(x.mean((2, 3))))


def test_a_child_called_head_that_does_not_give_the_logits_is_told():
    with pytest.raises(
        ValueError, match=r"HeadFirst: its 'head' does not give the logits\. Name the"
    ):
        ft.layer_groups(HeadFirst())


class Tied(nn.Module):
    """The first layer's weight is the last one's, too."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.middle, self.fc = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3)
        self.fc.weight = self.embed.weight

    def forward(self, x):
        return self.fc(self.middle(self.embed(x.mean((2, 3)))))


def test_tied_weights_count_once_for_the_group_nearer_to_the_input(blobs):
    model = Tied()
    assert_partition(model)
    assert {g: len(ps) for g, ps in group_parameters(model).items()} == {
        "embed": 2, "middle": 2, "head": 1,
    }  # fmt: skip
    ft.finetune(
        model, blobs, ft.Stage("all", epochs=1), **QUIET
    )  # no parameter twice in the optimizer


def test_a_network_in_a_wrapper_of_torch_has_the_same_groups_as_without(blobs):
    plain = tiny_resnet()
    average = torch.optim.swa_utils.AveragedModel(plain)
    for model in (
        nn.DataParallel(plain),
        torch.compile(plain),
        average,
        nn.DataParallel(Holds("net", plain)),
    ):
        assert list(ft.layer_groups(model)) == RESNET
        assert_partition(model)
        where, head = head_of(model)
        assert model.get_submodule(where) is head and where.endswith("fc")
    compiled = torch.compile(plain, backend="eager")
    before = {k: v.clone() for k, v in plain.state_dict().items()}
    ft.finetune(compiled, blobs, ft.Stage("head", epochs=1, lr=1e-2), **QUIET)
    moved = {k for k, v in plain.state_dict().items() if not torch.equal(v, before[k])}
    assert moved == {"fc.weight", "fc.bias"}


def test_blocks_in_a_wrapper_of_torch_have_the_names_that_they_have_without():
    plain = nn.Sequential(nn.Flatten(), nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    for model in (plain, torch.compile(plain), nn.DataParallel(plain)):
        assert list(ft.layer_groups(model)) == ["1", "head"]


def test_the_freeze_report_knows_in_a_wrapper_how_far_the_weights_have_moved():
    model = ft.load_backbone("resnet18", num_classes=3)
    rows = ft.freeze_report(model).rows
    assert [row["moved"] for row in rows] == [0, 0, 0, 0, 0, "new"]
    for wrapper in (nn.DataParallel(model), torch.compile(model), Holds("backbone", model)):
        assert ft.freeze_report(wrapper).rows == rows


def test_a_network_that_is_trained_by_several_processes_has_the_same_groups():
    torch.distributed.init_process_group(
        "gloo", store=torch.distributed.HashStore(), rank=0, world_size=1
    )
    try:
        model = nn.parallel.DistributedDataParallel(tiny_resnet())
        assert list(ft.layer_groups(model)) == RESNET
        assert_partition(model)
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize("save", [None, ["fc"]])
@pytest.mark.parametrize("target", ["conv1", r".*\.conv2|fc"])
def test_adapters_of_peft_belong_to_the_group_of_the_layer_that_they_adapt(save, target):
    peft = pytest.importorskip("peft")
    target = ["conv1"] if save else target
    config = peft.LoraConfig(r=2, target_modules=target, modules_to_save=save)
    model = peft.get_peft_model(tiny_resnet(), config)
    assert list(ft.layer_groups(model)) == RESNET
    assert_partition(model)
    ft.apply_stage(model, ft.Stage("all", only="lora_"))
    names = [n for n, p in model.named_parameters() if p.requires_grad]
    assert all("lora_" in n or ".fc." in n for n in names) and any("lora_" in n for n in names)
    ft.replace_head(model, 5)
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 5)
    assert_partition(model)


@pytest.mark.filterwarnings("ignore")
def test_a_text_encoder_names_its_groups_and_keeps_them_with_adapters():
    peft, transformers = pytest.importorskip("peft"), pytest.importorskip("transformers")
    from ftcourse.tasks.text import TextClassifier

    config = transformers.BertConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16, vocab_size=20
    )  # fmt: skip
    model = TextClassifier(transformers.BertModel(config, add_pooling_layer=False), 3)
    names = ["embeddings", "layer.0", "layer.1", "head"]
    lora = peft.LoraConfig(r=2, target_modules=["query", "value"])
    adapted = peft.inject_adapter_in_model(lora, copy.deepcopy(model))
    for network in (model, adapted, torch.compile(model)):
        assert list(ft.layer_groups(network)) == names
        assert_partition(network)
        assert head_of(network)[1].out_features == 3


# -- groups that a user names ------------------------------------------------------------------


def named(groups) -> nn.Module:
    model = Mlp()
    model.ftcourse_groups = groups
    return model


def test_groups_that_the_user_names_may_hold_parameters_and_are_looked_for_in_wrappers():
    model = named({"in": ["scale", "body.0"], "body": ["body.2"], "head": ["head"]})
    for wrapped in (model, nn.DataParallel(model), Holds("backbone", model)):
        groups = group_parameters(wrapped)
        assert list(groups) == ["in", "body", "head"] and groups["in"][0] is model.scale
        assert_partition(wrapped)
        assert head_of(wrapped)[1] is model.head[2]


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"body": ["body"], "head": ["head"]}, r"1 parameters are in no layer group \(scale\).*ftcourse_groups ="),
        ({"body": ["scale", "boddy"], "head": ["head"]}, r"group 'body' names boddy, which.*body, head"),
        ({"a": ["scale", "body"], "b": ["body.0"], "head": ["head"]}, r"body\.0\.weight is in two groups, 'a'"),
        ({"head": ["head"], "body": ["scale", "body"]}, 'whose last key is "head"'),
        ({}, 'whose last key is "head"'),
    ],
)  # fmt: skip
def test_groups_that_do_not_hold_each_parameter_once_are_refused(groups, message):
    for use in (ft.layer_groups, ft.freeze, head_of):
        with pytest.raises(ValueError, match=message):
            use(named(groups))


class Branches(nn.Module):
    """Cannot be traced, and no name tells its head."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(3, 2), nn.Linear(3, 2)

    def forward(self, x):
        return self.one(x.mean((2, 3))) if x.sum() > 0 else self.two(x.mean((2, 3)))


def test_a_model_whose_head_is_not_plain_is_refused_with_the_way_to_name_it():
    with pytest.raises(ValueError, match=r"Branches has no layer.*model\.ftcourse_groups = \{"):
        ft.layer_groups(Branches())
    with pytest.raises(ValueError, match="it has no parameters"):
        head_of(nn.Sequential(nn.Flatten(), nn.ReLU()))
    two = Branches()
    two.ftcourse_groups = {"one": ["one"], "head": ["two"]}
    assert head_of(two)[0] == "two"


class Chance(nn.Module):
    """Draws numbers and makes a constant while it is traced."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(3, 3), nn.Linear(3, 2)

    def forward(self, x):
        noise = torch.rand(3) + random.random() + np.random.rand()
        return self.two(self.one(x.mean((2, 3))) + noise)


def test_looking_for_the_head_leaves_no_trace():
    model = Chance().train()
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    inside = set(vars(model))
    assert head_of(model)[0] == "two"
    assert set(vars(model)) == inside and all(m.training for m in model.modules())
    after = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    assert torch.equal(before[0], after[0]) and before[1:] == after[1:]


# -- freezing in any order ---------------------------------------------------------------------

CALLS = st.lists(
    st.tuples(st.booleans(), st.lists(st.sampled_from(RESNET), max_size=3)), max_size=6
)


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(calls=CALLS)
def test_each_parameter_trains_as_the_last_call_says_that_names_its_group(calls):
    model = TinyResNet(2)
    expected = dict.fromkeys(RESNET, True)
    for thaw, names in calls:
        (ft.unfreeze if thaw else ft.freeze)(model, *names)
        expected |= dict.fromkeys(names or RESNET, thaw)
    for group, parameters in group_parameters(model).items():
        assert {p.requires_grad for p in parameters} == {expected[group]}
    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.training == module.weight.requires_grad or not calls, name


def test_an_unknown_group_is_refused_before_anything_is_switched(tiny):
    with pytest.raises(ValueError, match="no layer group 'layer9'; this model has: stem, layer1"):
        ft.freeze(tiny, "stem", "layer9")
    assert all(p.requires_grad for p in tiny.parameters())


def test_features_and_grad_cam_work_where_the_head_is_a_convolution(on_meta):
    with torch.device("cpu"):
        model = ft.replace_head(models.squeezenet1_1(weights=None), 2)
        split = [(torch.zeros(3, 64, 64), 0)] * 3
        assert ft.embed(model, split).shape == (3, 512)


def test_a_split_of_a_network_with_a_head_of_convolution_trains():
    with torch.random.fork_rng():
        model = ft.replace_head(models.squeezenet1_1(weights=None), 2)
    data = BlobData(Blobs(8, 1), Blobs(4, 2), Blobs(4, 3))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    ft.finetune(model, data, ft.Stage("head", epochs=1), **(QUIET | {"preflight": True}))
    moved = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert moved == {"classifier.1.weight", "classifier.1.bias"}


def test_a_head_that_is_replaced_is_found_anew():
    model = Outside("body", Body(), 6, "out", first=True)
    assert head_of(model)[1] is model.out
    model.out = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3))
    assert head_of(model)[1] is model.out[2]
    assert_partition(model)


# -- a head that is known by its name alone ----------------------------------------------------------


class Undecided(nn.Module):
    """It computes otherwise for other numbers, so that it cannot be traced."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.add_module(name, nn.Linear(4, 2))
        self.body = nn.Linear(4, 4)
        self.last = name

    def forward(self, x):
        if x.sum() > 0:
            x = self.body(x)
        return self.get_submodule(self.last)(x)


@pytest.mark.parametrize("name", ["classifier", "score", "fc"])
def test_of_a_network_that_cannot_be_traced_the_child_with_a_heads_name_is_the_head(name):
    model = Undecided(name)
    assert ft.layer_groups(model)["head"] == [model.get_submodule(name)]


def test_a_network_that_cannot_be_traced_and_names_no_head_asks_for_its_groups():
    with pytest.raises(ValueError, match="ftcourse_groups"):
        ft.layer_groups(Undecided("answers"))


class Named(nn.Module):
    """Several answers in a dict."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        self.body = nn.Linear(4, 4)
        self.answers = nn.ModuleDict({name: nn.Linear(4, 2) for name in names})

    def forward(self, x):
        x = self.body(x).relu()
        return {name: layer(x) for name, layer in self.answers.items()}


@pytest.mark.parametrize(
    ("names", "head"), [(("aux", "logits"), "logits"), (("aux", "out"), "out"), (("a", "b"), "a")]
)
def test_of_several_answers_the_logits_come_from_the_head(names, head):
    model = Named(*names)
    assert head_of(model) == (f"answers.{head}", model.answers[head])
