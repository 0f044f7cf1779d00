"""What a choice of layers costs is counted exactly, and leaves the network alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import ftcourse as ft
from ftcourse.models.cost import count_cost, seconds_per_image
from tests.conftest import tiny_resnet
from tests.models.test_features import everything


def test_parameters_gradients_and_optimizer_state_are_those_of_a_real_step(tiny):
    ft.apply_stage(tiny, ft.Stage(train="layer4"))
    cost = count_cost(tiny, size=32, batch_size=4)
    optimizer = ft.make_optimizer(tiny, ft.Stage(train="layer4"))
    tiny(torch.rand(4, 3, 32, 32)).sum().backward()
    optimizer.step()
    grads = [p.grad for p in tiny.parameters() if p.grad is not None]
    state = [t for s in optimizer.state.values() for k, t in s.items() if k.startswith("exp_avg")]
    assert cost.trainable == sum(g.numel() for g in grads)
    assert cost.gradients == sum(g.nbytes for g in grads)
    assert cost.optimizer == sum(t.nbytes for t in state)
    assert count_cost(tiny, size=32, optimizer="sgd").optimizer == cost.optimizer // 2


def test_flops_of_a_convolution_and_a_linear_layer_are_those_worked_out_by_hand():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 5, 3, bias=False), nn.Linear(5, 2)

        def forward(self, x):
            return self.fc(self.conv(x).mean((2, 3)))

    net = Net()
    conv, linear = 2 * (30 * 30) * 5 * 3 * 9, 2 * 5 * 2
    cost = count_cost(net, size=32)
    assert cost.forward == conv + linear
    # on the way back the linear layer computes two gradients, the first convolution only its weights'
    assert cost.backward == conv + 2 * linear
    net.conv.requires_grad_(False)
    assert count_cost(net, size=32).backward == linear


def test_activations_are_the_bytes_that_a_real_pass_keeps():
    model = ft.train_mode(tiny_resnet())
    kept: dict[int, torch.Tensor] = {}
    own = {t.data_ptr() for t in (*model.parameters(), *model.buffers())}

    def pack(t):
        if t.untyped_storage().data_ptr() not in own:
            kept[t.untyped_storage().data_ptr()] = t
        return t

    images = torch.rand(4, 3, 32, 32)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        loss = model(images).sum()
    real = sum(t.untyped_storage().nbytes() for t in kept.values())
    assert loss.requires_grad
    assert count_cost(model, size=32, batch_size=4).activations == real


def test_freezing_makes_a_step_cheaper_in_each_respect(tiny):
    costs = []
    for train in ("all", "layer4", "head"):
        ft.apply_stage(tiny, ft.Stage(train=train))
        costs.append(count_cost(tiny, size=32))
    everything_, block, head = costs
    for name in ("trainable", "memory", "backward", "activations"):
        assert getattr(everything_, name) > getattr(block, name) > getattr(head, name), name
    assert everything_.forward == block.forward == head.forward
    assert head.activations == 32 * 64 * 4  # 32 rows of 64 features, and nothing else


def test_counting_and_timing_leave_the_network_alone(tiny):
    ft.freeze(tiny, "stem")
    before = everything(tiny)
    count_cost(tiny, size=32)
    seconds = seconds_per_image(tiny, size=32, batch_size=2)
    assert everything(tiny) == before
    assert all(p.grad is None for p in tiny.parameters())
    assert 0 < seconds < 10


def test_an_unknown_optimizer_is_named(tiny):
    with pytest.raises(ValueError, match="'lion'; use 'adamw' or 'sgd'"):
        count_cost(tiny, optimizer="lion")
