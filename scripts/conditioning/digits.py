"""Classify scikit-learn's digits with a small network of our layers, and measure it on the way.

1,797 images of 8x8 pixels, 10 classes: the first 1,437 in a random order train, in batches of 64,
with Adam, learning rate 0.001. Two hidden layers of 64 units, normalized before their ReLU.
"""

from collections import OrderedDict
from collections.abc import Iterator

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from wnrl.instruments.curvature import Effort, measure
from wnrl.instruments.weight_rows import weight_vectors
from wnrl.nn.networks.initialization import reset_parameters_
from wnrl.nn.networks.q_network import initialized
from wnrl.nn.norms.catalogue import get_norm
from wnrl.optim.step import OptimizerSpec
from wnrl.rl.problem import Problem

POINTS = (0, 100, 400)  # updates at which the curvature is measured
TRAINING_IMAGES = 1_437
EFFORT = Effort(iterations=30, small_rows=64)


def classifier(norm: str, seed: int) -> nn.Module:
    """Return the network at its start."""
    record = get_norm(norm).in_storage("w")

    def hidden(inputs: int) -> nn.Module:
        layers = [record.linear(inputs, 64), record.activation((64,)), nn.ReLU()]
        return nn.Sequential(*(layer for layer in layers if layer is not None))

    def assemble() -> nn.Module:
        parts = {"hidden1": hidden(64), "hidden2": hidden(64), "head": nn.Linear(64, 10)}
        return nn.Sequential(OrderedDict(parts))

    generator = torch.Generator().manual_seed(seed)
    return initialized(assemble, record, generator, reset_parameters_)


def loss(network: nn.Module, inputs: tuple[Tensor, Tensor]) -> Tensor:
    """Return the mean cross-entropy () of a batch of images and labels."""
    images, labels = inputs
    return cross_entropy(network.train()(images), labels)


def readings(norm: str, seed: int) -> Iterator[tuple[int, float, dict[str, float]]]:
    """Train, and yield updates, test accuracy and readings at each of `POINTS`."""
    digits = load_digits()
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(digits.target), generator=generator)
    images = (torch.from_numpy(digits.data).float() / 16)[order]
    labels = torch.from_numpy(digits.target)[order]
    train, test = slice(TRAINING_IMAGES), slice(TRAINING_IMAGES, None)
    network = classifier(norm, seed)
    optimizer = get_norm(norm).optimizer(network, OptimizerSpec("adam", 1e-3))
    for update in range(max(POINTS) + 1):
        if update in POINTS:
            whole = Problem(loss, (images[train], labels[train]), TRAINING_IMAGES)
            vectors = weight_vectors(network, optimizer)
            with torch.no_grad():
                right = network.eval()(images[test]).argmax(dim=1) == labels[test]
            yield update, float(right.float().mean()), measure(network, whole, vectors, EFFORT)
        batch = torch.randint(TRAINING_IMAGES, (64,), generator=generator)
        optimizer.zero_grad()
        loss(network, (images[batch], labels[batch])).backward()
        optimizer.step()
