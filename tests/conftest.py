"""What the tests share: tiny networks and tiny photos, made on the spot."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchvision.models.resnet import BasicBlock, ResNet

torch.set_num_threads(1)  # the same sums in the same order on every machine


@pytest.fixture(autouse=True)
def no_index(monkeypatch):
    """The user's own index of photos is left alone."""
    monkeypatch.setenv("FTCOURSE_INDEX", "off")


class Blobs(Dataset):
    """Normalised 32x32 images of noise with a bright patch, whose corner is the class."""

    classes = ("left", "right")

    def __init__(self, n: int, seed: int, flip: bool = False) -> None:
        g = torch.Generator().manual_seed(seed)
        pixels = torch.rand(n, 3, 32, 32, generator=g)
        self.targets = [i % 2 for i in range(n)]
        for i, label in enumerate(self.targets):
            pixels[i, :, 4:16, 20 * label : 20 * label + 12] += 1.0
        pixels = pixels.clamp(0, 1)
        mean, std = (
            torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        )
        self.pixels, self.images, self.transform = pixels, (pixels - mean) / std, None
        self.flip = flip
        self.repeats = not flip  # item i is the same whenever it is read

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        x = self.images[i]
        if self.flip and torch.rand(()) < 0.5:  # a random augmentation, to test its random numbers
            x = x.flip(1)
        return x, self.targets[i]


@dataclass
class BlobData:
    train: Dataset
    val: Dataset
    test: Dataset
    classes: tuple[str, ...] = Blobs.classes


@pytest.fixture
def blobs() -> BlobData:
    return BlobData(Blobs(40, 1, flip=True), Blobs(20, 2), Blobs(20, 3))


class TinyResNet(ResNet):
    """torchvision's ResNet, one block a stage and an eighth as wide: small enough to train in a test."""

    def __init__(self, num_classes: int) -> None:
        nn.Module.__init__(self)
        self._norm_layer, self.inplanes, self.dilation = nn.BatchNorm2d, 8, 1
        self.groups, self.base_width = 1, 64
        self.conv1 = nn.Conv2d(3, 8, 7, stride=2, padding=3, bias=False)
        self.bn1, self.relu = nn.BatchNorm2d(8), nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = self._make_layer(BasicBlock, 8, 1)
        self.layer2 = self._make_layer(BasicBlock, 16, 1, stride=2)
        self.layer3 = self._make_layer(BasicBlock, 32, 1, stride=2)
        self.layer4 = self._make_layer(BasicBlock, 64, 1, stride=2)
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(64, num_classes)


def tiny_resnet(num_classes: int = 2, seed: int = 0) -> ResNet:
    torch.manual_seed(seed)
    return TinyResNet(num_classes).eval()


@pytest.fixture
def tiny() -> nn.Module:
    return tiny_resnet()
