"""The studies of generative and recurrent models: their losses, layers and data."""

import math

import pytest
import torch
from script_modules import load_script

from wnrl.nn import WNLSTM, WNConv2d, WNConvTranspose2d, WNLinear, get_norm

generation = load_script("applications/generation.py")
copying = load_script("applications/copying.py")
POINTS = copying.POINTS


def test_the_bound_is_what_it_is_by_hand() -> None:
    """Four pixels of probability 1/2 cost 4 log 2; KL of N(1, 4) is (1 + 4 - 1 - log 4) / 2."""
    images = torch.tensor([1.0, 0.0, 0.5, 0.25]).reshape(1, 1, 2, 2)
    even, code = torch.zeros(1, 1, 2, 2), torch.zeros(1, 1)
    bound = generation.negative_bound(images, generation.Bound(even, code, code))
    assert bound.item() == pytest.approx(4 * math.log(2))
    found = generation.Bound(even, code + 1.0, code + math.log(4.0))
    divergence = (1 + 4 - 1 - math.log(4)) / 2
    assert generation.negative_bound(images, found).item() == pytest.approx(
        4 * math.log(2) + divergence
    )


def test_weight_normalization_reaches_encoder_and_decoder() -> None:
    network = generation.Autoencoder(get_norm("weight"), side=8)
    kinds = [type(layer) for layer in network.modules() if hasattr(layer, "storage")]
    encoder = [WNConv2d, WNConv2d, WNLinear]
    assert kinds == [*encoder, WNLinear, WNConvTranspose2d, WNConvTranspose2d]
    images = torch.rand(3, 1, 8, 8)
    assert network(images, torch.zeros(3, generation.CODE)).logits.shape == images.shape


@pytest.mark.parametrize("variant", generation.VARIANTS, ids=lambda variant: variant.name)
def test_an_autoencoder_learns_one_pattern(variant: "generation.Variant") -> None:
    pattern = (torch.arange(64).reshape(1, 1, 8, 8) % 3 == 0).float()
    images = generation.Images(pattern.expand(50, 1, 8, 8), pattern.expand(5, 1, 8, 8))
    run = generation.train(images, variant, 1e-2, seed=1, steps=2 * POINTS)
    assert run.losses[0] > 30  # 64 log 2 = 44 nats by guessing
    assert run.last_loss < 0.5 * run.losses[0]
    assert run.held_out["held_out_loss"] < 40


def test_a_sequence_shows_symbols_pauses_and_asks_for_them() -> None:
    symbols, answers = copying.sequences(5, torch.Generator().manual_seed(0))
    assert torch.equal(symbols[: copying.SHOWN], answers)
    assert (symbols[copying.SHOWN : -copying.SHOWN] == copying.BLANK).all()
    assert (symbols[-copying.SHOWN :] == copying.CUE).all()
    assert len(symbols) == 2 * copying.SHOWN + copying.PAUSE
    assert 0 <= answers.min() <= answers.max() < copying.SYMBOLS


@pytest.mark.parametrize("variant", copying.VARIANTS, ids=lambda variant: variant.name)
def test_a_copier_beats_guessing(variant: "copying.Variant") -> None:
    run = copying.train(variant, 1e-2, seed=1, steps=3 * POINTS)
    assert run.losses[0] == pytest.approx(math.log(copying.SYMBOLS), abs=0.1)
    assert run.last_loss < 1.0
    assert run.held_out["error_percent"] < 60  # 75 by guessing


def test_the_copier_of_weight_normalization_has_its_lstm() -> None:
    assert type(copying.Copier(get_norm("weight")).lstm) is WNLSTM
    assert type(copying.Copier(get_norm("none")).lstm) is torch.nn.LSTM


@pytest.mark.slow
def test_frames_of_breakout_are_recorded_again() -> None:
    one, other = generation.breakout_images(), generation.breakout_images()
    assert torch.equal(one.train, other.train)
    assert (one.train.shape, one.held_out.shape) == ((800, 1, 84, 84), (200, 1, 84, 84))
    assert 0.1 < one.train.mean() < 0.3
    assert len(torch.unique(one.train.flatten(1), dim=0)) > 500  # the ball moves
