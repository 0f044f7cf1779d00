"""Ants or bees: the last block of a pre-trained ResNet and a new head, on few photos."""

import torch
from torch import nn
from torch.utils.data import DataLoader

import ftcourse as ft


def setup(photos):
    """The model, its optimizer, and the photos as the network takes them."""
    preprocess = ft.ResNet18_Pocket_Weights.DEFAULT.transforms(crop_size=64, resize_size=73)
    data = photos.with_transforms(preprocess, preprocess)

    model = ft.load_backbone("resnet18")
    for p in model.parameters():
        p.requires_grad = False
    for p in model.layer4.parameters():
        p.requires_grad = True
    model.fc = nn.Linear(model.fc.in_features, 2)

    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=5e-4, fused=True)  # fused: faster, the same steps
    return model, optimizer, data


def train_one_epoch(model, optimizer, data):
    """One pass over the training photos; returns the mean loss and the accuracy."""
    ft.train_mode(model)
    loss_fn = nn.CrossEntropyLoss()
    total, right = 0.0, 0
    for images, targets in DataLoader(data.train, batch_size=20, shuffle=True):
        logits = model(images)
        loss = loss_fn(logits, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(targets)
        right += (logits.argmax(1) == targets).sum().item()
    return total / len(data.train), right / len(data.train)


@torch.no_grad()
def validate(model, split):
    """The accuracy on a split."""
    model.eval()
    right = 0
    for images, targets in DataLoader(split, batch_size=20):
        right += (model(images).argmax(1) == targets).sum().item()
    return right / len(split)
