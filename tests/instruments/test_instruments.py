"""Readings come when due, say what is known by construction, and change nothing of a run."""

import copy
import math
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

from wnrl.instruments.instruments import STATES, Instruments
from wnrl.nn import SpectralLinear, StandardizedLinear, WNLinear, weight_norm_groups
from wnrl.optim.step import ClippedStep, StepOptimizer
from wnrl.optim.weight_norm import WNSGD
from wnrl.optim.wrapped_step import ScheduledStep
from wnrl.train import command
from wnrl.train.storage.checkpoint import Checkpoints

OBS = torch.tensor([[1.0, 0.0]] * STATES)  # as many as a reading looks at


class Clock:
    """Time that passes when told, a second per question."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        self.seconds += 1.0
        return self.seconds


def linear(weight: list[list[float]]) -> nn.Linear:
    layer = nn.Linear(len(weight[0]), len(weight), bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight))
    return layer


def sgd(network: nn.Module, lr: float = 0.1, max_norm: float = math.inf) -> ClippedStep:
    return ClippedStep(torch.optim.SGD(network.parameters(), lr), max_norm)


def update(watch: Instruments, optimizer: StepOptimizer, obs: Tensor = OBS) -> dict[str, float]:
    """A step on the gradients that are there; the reading that it gave."""
    watch.before_step(obs)
    optimizer.step()
    watch.after_step()
    return {tag: float(value) for tag, value in watch.pop_reading().items()}


def due(watch: Instruments, optimizer: StepOptimizer, updates: int, obs: Tensor) -> list[int]:
    return [k for k in range(1, updates + 1) if update(watch, optimizer, obs)]


def test_readings_are_taken_at_the_start_and_at_every_nth_update() -> None:
    network = linear([[1.0, 0.0]])
    assert due(Instruments(network, sgd(network), 5), sgd(network), 16, OBS) == [1, 5, 10, 15]
    third = OBS[: STATES // 3]  # the first reading has to wait for 4 batches of 42
    assert due(Instruments(network, sgd(network), 5), sgd(network), 16, third) == [4, 5, 10, 15]
    assert due(Instruments(network, sgd(network), 2), sgd(network), 5, OBS[:1]) == [2, 4]
    assert due(Instruments(network, sgd(network), 0), sgd(network), 5, OBS) == []


def test_a_reading_is_given_once() -> None:
    network = linear([[1.0, 0.0]])
    watch = Instruments(network, sgd(network), 1)
    watch.before_step(OBS)
    watch.after_step()
    assert watch.pop_reading() != {}
    assert watch.pop_reading() == {}


def test_one_step_of_known_gradient_turns_a_row_by_a_known_angle() -> None:
    network = linear([[2.0, 0.0], [0.0, 3.0]])
    network.weight.grad = torch.tensor([[0.0, 5.0], [0.0, 6.0]])
    reading = update(Instruments(network, sgd(network), 1), sgd(network))
    # The first row goes from (2, 0) to (2, -0.5); the second stays on its line.
    assert reading["norm/angle/"] == pytest.approx(math.atan(0.25) / 2)
    assert reading["norm/gradient_cosine/"] == pytest.approx(0.5)  # 0 and 1
    assert reading["norm/gradient_step/"] == pytest.approx(0.1 * math.sqrt(61 / 13))


def test_a_gradients_step_has_the_rate_that_a_schedule_gave_that_step() -> None:
    network = linear([[2.0, 0.0]])
    optimizer = ScheduledStep(sgd(network), lambda updates: 0.5 / (1 + updates))
    watch, steps = Instruments(network, optimizer, 1), []
    for _ in range(2):
        with torch.no_grad():
            network.weight.copy_(torch.tensor([[2.0, 0.0]]))
        network.weight.grad = torch.tensor([[0.0, 4.0]])
        steps.append(update(watch, optimizer)["norm/gradient_step/"])
    assert steps == pytest.approx([0.1 * 0.5 * 2, 0.1 * 0.25 * 2])


def test_the_angle_is_that_of_the_weight_which_the_layer_computes_with() -> None:
    layer = StandardizedLinear(3, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[11.0, 9.0, 10.0]]))
    layer.weight.grad = torch.tensor([[0.0, -20.0, 20.0]])  # to (11, 11, 8)
    obs = torch.ones(STATES, 3)
    reading = update(Instruments(layer, sgd(layer), 1), sgd(layer), obs)
    # Without their means: from (1, -1, 0) to (1, 1, -2).
    assert reading["norm/angle/"] == pytest.approx(math.pi / 2)
    # The gradient is that of the Parameter, mean included.
    assert reading["norm/gradient_cosine/"] == pytest.approx(20 / math.sqrt(800 * 302))


def test_reading_does_not_move_a_layers_singular_vector() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(SpectralLinear(3, 4), nn.ReLU(), nn.Linear(4, 2)).train()
    before = network.state_dict()["0.weight_u"].clone()
    reading = update(Instruments(network, sgd(network), 1), sgd(network), torch.ones(STATES, 3))
    assert "norm/angle/0" in reading
    assert torch.equal(network.state_dict()["0.weight_u"], before)
    assert all(module.training for module in network.modules())


def test_churn_is_what_one_update_did_to_greedy_actions() -> None:
    network = linear([[2.0, 0.0], [1.0, 3.0]])
    obs = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).repeat(STATES // 2, 1)  # actions 0 and 1
    network.weight.grad = torch.tensor([[15.0, 0.0], [0.0, 0.0]])  # 2 becomes 0.5
    reading = update(Instruments(network, sgd(network), 1), sgd(network), obs)
    assert reading["norm/policy_churn"] == 0.5


def test_the_states_of_a_reading_are_those_of_several_batches_though_one_buffer_held_them() -> None:
    network = linear([[1.0]])
    watch, buffer, seen = Instruments(network, sgd(network), 4), torch.zeros(STATES // 4, 1), []
    for k in range(8):
        buffer.fill_(k)
        seen.append(update(watch, sgd(network), buffer).get("norm/preactivation_mean/"))
    assert seen == [None, None, None, 1.5, None, None, None, 5.5]


def test_an_output_that_is_no_table_of_values_has_no_churn() -> None:
    network = nn.Sequential(linear([[2.0, 0.0]]), nn.Flatten(0))
    assert "norm/policy_churn" not in update(Instruments(network, sgd(network), 1), sgd(network))


def test_clipped_updates_are_counted_since_the_last_reading() -> None:
    network = linear([[1.0, 1.0]])
    optimizer = sgd(network, lr=0.0, max_norm=2.0)
    watch = Instruments(network, optimizer, 4, max_grad_norm=2.0)
    seen = []
    for k, norm in enumerate([3.0, 1.0, 2.0, 2.1, 1.0, 9.0, 1.0, 1.0]):
        if k == 6:  # the run is stopped here, and goes on
            state = watch.state_dict()
            watch = Instruments(network, optimizer, 4, max_grad_norm=2.0)
            watch.load_state_dict(state)
        network.weight.grad = torch.tensor([[norm, 0.0]])
        seen.append(update(watch, optimizer).get("norm/gradient_clipped"))
    assert seen == [1.0, None, None, pytest.approx(1 / 3), None, None, None, 0.25]


def test_what_a_reading_counted_is_kept_until_somebody_takes_it() -> None:
    layer = WNLinear(2, 2, bias=False)
    optimizer = sgd(layer, lr=0.0)
    watch = Instruments(layer, optimizer, 2, max_grad_norm=2.0)

    def learn(norm: float, gains: list[float]) -> None:
        with torch.no_grad():
            layer.weight_g.copy_(torch.tensor(gains)[:, None])
        layer.weight_g.grad = torch.tensor([[norm], [0.0]])
        watch.before_step(OBS)
        optimizer.step()
        watch.after_step()

    def told() -> list[float]:
        reading = watch.pop_reading()
        return [float(reading[f"norm/{tag}"]) for tag in ("gradient_clipped", "g_sign_flips/")]

    learn(9.0, [1.0, 1.0])  # the run's first reading
    assert told() == [1.0, 0.0]
    for norm, gains in [(9.0, [-1.0, 1.0]), (1.0, [-1.0, 1.0]), (9.0, [1.0, -1.0]), (1.0, [1, 1])]:
        learn(norm, gains)  # readings after the first and the third
    assert told() == [pytest.approx(2 / 3), 3.0]  # one flip, then two
    learn(1.0, [1.0, 1.0])
    assert told() == [0.0, 1.0]  # of two updates; the gain that came back


@pytest.mark.parametrize("storage", ["w", "gv"])
def test_a_step_across_v_lengthens_it_as_section_2_1_says(storage: str) -> None:
    layer = WNLinear(2, 1, bias=False, storage=storage)
    layer.set_weight_(torch.tensor([[3.0, 4.0]]))
    optimizer: StepOptimizer = sgd(layer, 0.5)
    if storage == "w":
        optimizer = WNSGD(weight_norm_groups(layer), lr=0.5)
    watch = Instruments(layer, optimizer, 1)
    (layer.weight * torch.tensor([[-4.0, 3.0]])).sum().backward()
    reading = update(watch, optimizer)
    # dL/dv = (-4, 3) at w = v = (3, 4): c = 0.5 * 5 / 5, ||v'|| = sqrt(1 + c^2) ||v||
    assert reading["norm/v_norm/"] == pytest.approx(5 * math.sqrt(1.25))
    assert reading["norm/angle/"] == pytest.approx(math.atan(0.5))
    assert reading["norm/g_50/"] == pytest.approx(5.0)


def test_growth_drift_and_flips_are_measured_from_the_first_and_the_last_reading() -> None:
    layer = WNLinear(2, 2, bias=False)
    network = nn.Sequential(layer)
    optimizer = sgd(network, lr=1.0)
    watch = Instruments(network, optimizer, 1)
    obs = torch.tensor([[1.0, 0.0], [-1.0, 0.0]]).repeat(STATES // 2, 1)
    gains = [[1.0, 1.0], [-2.0, 1.0], [-4.0, -1.0]]
    readings = []
    for k, gain in enumerate(gains):
        with torch.no_grad():
            layer.weight_g.copy_(torch.tensor(gain)[:, None])
            layer.weight_v.copy_(torch.tensor([[1.0, 0.0], [1.0, 0.0]]) * (1 + k))
        readings.append(update(watch, optimizer, obs))
    assert [reading["norm/g_sign_flips/0"] for reading in readings] == [0.0, 1.0, 1.0]
    assert [reading["norm/v_growth/0"] for reading in readings] == [1.0, 2.0, 3.0]
    assert [reading["norm/v_norm/0"] for reading in readings] == [1.0, 2.0, 3.0]
    assert [reading["norm/g_50/0"] for reading in readings] == [1.0, -0.5, -2.5]
    # Units of spread |g|: from (1, 1) to (4, 1).
    assert readings[2]["norm/preactivation_stretch/0"] == pytest.approx(math.sqrt(17 / 2))
    assert readings[2]["norm/preactivation_shift/0"] == pytest.approx(0.0)


def test_a_state_from_before_v_norm_and_flips_had_their_names_is_continued() -> None:
    layer = WNLinear(2, 1, bias=False)
    layer.set_weight_(torch.tensor([[3.0, 4.0]]))
    optimizer = sgd(layer, lr=0.0)
    watch = Instruments(layer, optimizer, 1)
    update(watch, optimizer)
    state = watch.state_dict()
    del state["flips"]
    state["first"]["v_length/"] = state["first"].pop("v_norm/") / 2
    watch = Instruments(layer, optimizer, 1)
    watch.load_state_dict(state)
    assert update(watch, optimizer)["norm/v_growth/"] == pytest.approx(2.0)


def test_drift_is_measured_from_statistics_that_have_settled() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 2))
    obs = torch.randn(STATES, 2)
    watch = Instruments(network, sgd(network, 0.0), 1)
    network.train()
    for _ in range(200):  # the running statistics settle on this batch
        network(obs)
        reading = update(watch, sgd(network, 0.0), obs)
    assert reading["norm/preactivation_stretch/0"] == pytest.approx(1.0, rel=0.01)
    assert reading["norm/preactivation_shift/0"] == pytest.approx(0.0, abs=0.01)
    assert reading["norm/statistics_gap/1"] == pytest.approx(0.0, abs=0.01)
    assert reading["norm/statistics_variance_ratio/1"] == pytest.approx(1.0, rel=0.01)


def test_the_rank_of_known_features_is_reported() -> None:
    network = nn.Sequential(linear([[1.0, 0.0], [0.0, 1.0]]), nn.ReLU(), linear([[1.0, 1.0]]))
    obs = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).repeat(STATES // 2, 1)
    reading = update(Instruments(network, sgd(network), 1), sgd(network), obs)
    assert (reading["norm/srank"], reading["norm/effective_rank"]) == pytest.approx((2.0, 2.0))


def test_a_network_that_has_diverged_is_read_as_not_a_number() -> None:
    network = nn.Sequential(linear([[math.nan, 0.0]]), nn.ReLU(), linear([[1.0]]))
    reading = update(Instruments(network, sgd(network), 1), sgd(network))
    assert math.isnan(reading["norm/srank"])
    assert math.isnan(reading["norm/effective_rank"])
    assert math.isnan(reading["norm/angle/0"])
    for tau in ("0", "0.025", "0.1"):
        assert math.isnan(reading[f"norm/dormant_{tau}/0"])


def test_the_share_of_the_time_is_that_since_the_last_reading() -> None:
    network, clock = linear([[1.0, 0.0]]), Clock()
    watch = Instruments(network, sgd(network), 2, now=clock)
    shares = []
    for _ in range(4):
        shares.append(update(watch, sgd(network)).get("time/instruments_share"))
        clock.seconds += 6.0
    # A reading takes 1 s before the step, which takes 1 s, and 1 s after it; it asks once more. The
    # first interval has one update's other 6 s in it, the second has two.
    assert shares == [None, pytest.approx(2 / 10), None, pytest.approx(2 / 16)]


def test_a_state_is_continued_as_if_never_stopped() -> None:
    torch.manual_seed(0)
    batches = [torch.randn(STATES // 4, 3) for _ in range(20)]

    def built() -> tuple[nn.Module, ClippedStep, Instruments]:
        network = nn.Sequential(WNLinear(3, 5), nn.ReLU(), WNLinear(5, 2))
        optimizer = sgd(network)
        return network, optimizer, Instruments(network, optimizer, 6, max_grad_norm=0.5)

    whole = built()
    start = copy.deepcopy(whole[0].state_dict())
    expected = [_learn(*whole, obs) for obs in batches]
    for stop in (2, 8, 10):  # before the first reading, between two, on the way to one
        parts = built()
        parts[0].load_state_dict(start)
        seen = [_learn(*parts, obs) for obs in batches[:stop]]
        resumed = built()
        resumed[0].load_state_dict(parts[0].state_dict())
        resumed[2].load_state_dict(parts[2].state_dict())
        seen += [_learn(*resumed, obs) for obs in batches[stop:]]
        assert seen == expected
        assert sum(bool(reading) for reading in seen) == 4


def _learn(
    network: nn.Module, optimizer: ClippedStep, watch: Instruments, obs: Tensor
) -> dict[str, float]:
    optimizer.zero_grad()
    network(obs).square().mean().backward()
    reading = update(watch, optimizer, obs)
    reading.pop("time/instruments_share", None)
    return reading


TOY = ["--env=toy/Catch", "--warmup-steps=200", "--no-calibrate", "--no-wall-time"]
TOY.append("--update-period-steps=4")  # learning takes most of the time of a run


def run(folder: Path, *arguments: str) -> Path:
    assert command.main([*arguments, f"--run-dir={folder}"]) == 0
    return folder


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return {
        tag: [(point.step, point.value) for point in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
        if tag.startswith("norm/")
    }


@pytest.mark.parametrize(
    "flags",
    [
        ["--norm=batch", "--norm.statistics=joint"],
        ["--norm=spectral"],
        ["--norm=weight", "--weight-storage=gv"],
    ],
)
def test_a_run_ends_with_the_same_bytes_with_instruments_and_without(
    tmp_path: Path, flags: list[str]
) -> None:
    arguments = [*TOY, *flags, "--steps=440", "--eval-every-steps=220"]
    watched = run(tmp_path / "watched", *arguments, "--instruments-every-updates=2")
    plain = run(tmp_path / "plain", *arguments, "--instruments-every-updates=0")
    ends = [Checkpoints(folder).latest() for folder in (watched, plain)]
    weights = [(end.path / "network.pt").read_bytes() for end in ends if end is not None]
    assert weights[0] == weights[1]
    assert (watched / "episodes.csv").read_bytes() == (plain / "episodes.csv").read_bytes()
    assert len(scalars(watched)["norm/angle/head"]) > 20
    assert scalars(plain) == {}


def test_a_run_that_goes_on_reads_what_one_never_stopped_reads(tmp_path: Path) -> None:
    arguments = [*TOY, "--norm=weight-mean", "--instruments-every-updates=4"]
    arguments += ["--eval-every-steps=200", "--schedule-steps=500"]
    whole = run(tmp_path / "whole", *arguments, "--steps=420")
    parts = run(tmp_path / "parts", *arguments, "--steps=333")
    assert command.main(["--resume", str(parts), "--steps=420"]) == 0
    read = scalars(whole)
    assert read == scalars(parts)
    assert {"norm/angle/head", "norm/value_gap", "norm/policy_churn"} <= set(read)
    assert any(tag.startswith("norm/v_growth/torso.") for tag in read)
