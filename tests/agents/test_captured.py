"""Acting and updates are closed functions, and capturing them changes no bit.

In place of a GPU there is torch's device `meta`, whose tensors have no values: the code takes the
branches of other devices than the CPU, and what waits for a value, or for its copy on the CPU,
raises. A `Trace` notes each operation, its numbers and its memory; a call that a graph replays must
make the trace of the captured call again. Triton's launches are noted in the same trace.
"""

import importlib
from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from agent_runs import built, configured, content, ticks
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from wnrl.agents.captured import WARM_UP, Captured
from wnrl.agents.catalogue import AGENTS
from wnrl.agents.learner import Learner
from wnrl.agents.on_policy import RolloutPass
from wnrl.config import make_config
from wnrl.envs.vector import ObservationSpec, Step
from wnrl.instruments.instruments import Instruments
from wnrl.kernels import optimizer_launch
from wnrl.nn.norms.catalogue import NORMS
from wnrl.optim import normalizing_step
from wnrl.optim import step as optim_step
from wnrl.optim.normalizing_step import NormalizingOptimizer
from wnrl.optim.step import ClippedStep, set_learning_rate
from wnrl.rl import frame_stacks, replay
from wnrl.rl.frame_stacks import DeviceFrames, HostFrames
from wnrl.rl.replay import Batch
from wnrl.rl.rollout import RolloutBatch
from wnrl.train.build import build_agent, build_network, resolve

ROWS, ACTIONS = 6, 3
IMAGE = (4, 36, 36)
Work = Callable[[], Any]


class Repeated:
    """A stand-in for a CUDA graph on the CPU, which does the captured work again."""

    def __init__(self) -> None:
        self._work: Work = lambda: None
        self._outputs: Any = None
        self._done = False
        self.replays = 0

    def warm_up(self, work: Work) -> Any:
        return work()

    def capture(self, work: Work) -> Any:
        self._work, self._done = work, True  # here the work is done, where a GPU only records it
        self._outputs = self._traced()
        return self._outputs

    def replay(self) -> None:
        self.replays += 1
        if not self._done:
            again = pytree.tree_leaves(self._traced())
            for held, new in zip(pytree.tree_leaves(self._outputs), again, strict=True):
                held.copy_(new)
        self._done = False

    def _traced(self) -> Any:
        return self._work()


class Trace(TorchDispatchMode):
    """Notes each operation with its numbers and memory; refuses one between two devices."""

    active: "Trace | None" = None

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Any] = []
        self._made: dict[int, int] = {}  # memory allocated inside, by its address
        self._lasting: set[int] = set()  # other memory that was read or written
        self._kept: list[Any] = []  # keeps addresses from being used again

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace == "profiler":  # marks of torch's optimizers, without work
            return func(*args, **(kwargs or {}))
        self.note(str(func), (args, kwargs))
        outputs = func(*args, **(kwargs or {}))
        self.note(f"-> {func}", outputs)
        return outputs

    def note(self, name: str, values: Any) -> None:
        """Note an operation's inputs, or its outputs."""
        leaves = pytree.tree_leaves(values)
        tensors = [x for x in leaves if isinstance(x, Tensor)]
        assert all(x.is_meta for x in tensors), f"{name} has a tensor on the CPU"
        for x in tensors:
            memory = x.untyped_storage()._cdata
            if name.startswith("->") and memory not in self._lasting:
                self._made.setdefault(memory, len(self._made))
            elif memory not in self._made:
                self._lasting.add(memory)
        self._kept += tensors
        self.calls.append((name, *map(self._described, leaves)))

    def _described(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return repr(value)
        memory = value.untyped_storage()._cdata
        where = f"made {self._made[memory]}" if memory in self._made else memory
        return where, value.storage_offset(), tuple(value.shape), value.stride(), value.dtype

    def __enter__(self) -> "Trace":
        Trace.active = self
        return super().__enter__()  # type: ignore[no-any-return]  # torch's has no types

    def __exit__(self, *exception: Any) -> None:
        Trace.active = None
        super().__exit__(*exception)


class Traced(Repeated):
    """A stand-in that fails unless each replay makes the captured call's trace again."""

    made: "list[Traced]" = []  # noqa: RUF012  # emptied by the fixture

    def __init__(self) -> None:
        super().__init__()
        self._first: Trace | None = None
        Traced.made.append(self)

    def _traced(self) -> Any:
        with Trace() as trace:
            outputs = self._work()
        self._first = self._first or trace
        for captured, again in zip(self._first.calls, trace.calls, strict=True):
            assert captured == again
        return outputs


# ---- the bookkeeping ----


def test_a_function_is_called_plainly_captured_and_replayed() -> None:
    total, calls = torch.zeros(()), []

    def add(x: Tensor) -> dict[str, Tensor]:
        calls.append(x)
        return {"sum": total.add_(x.sum()), "rows": x * 2}

    captured = Captured(add, Repeated)
    given = torch.zeros(3)
    outputs = []
    for k in range(WARM_UP + 3):
        outputs.append(captured(given.fill_(k)))
    assert [x["rows"][0] for x in outputs[WARM_UP:]] == [2 * k for k in range(WARM_UP, WARM_UP + 3)]
    assert [float(x["sum"]) for x in outputs[WARM_UP:]] == [3 * 6, 3 * 10, 3 * 15]
    assert all(x is given for x in calls[:WARM_UP])
    assert len({id(x) for x in calls[WARM_UP:]}) == 1  # the graph's own memory
    assert calls[-1] is not given


def test_each_shape_of_inputs_has_its_graph() -> None:
    made: list[Repeated] = []

    def make() -> Repeated:
        made.append(Repeated())
        return made[-1]

    captured = Captured(lambda x: x + 1, make)
    for _ in range(WARM_UP + 2):
        for rows in (2, 3):
            assert captured(torch.ones(rows)).tolist() == [2.0] * rows
    assert [graph.replays for graph in made] == [2, 2]


@pytest.mark.parametrize("agent", AGENTS)
def test_an_agent_learns_the_same_bits_captured_or_not(
    agent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Any] = []
    for optimizer in (NormalizingOptimizer, ClippedStep):
        monkeypatch.setattr(optimizer, "capturable", True)  # on the CPU too
        monkeypatch.setattr(optimizer, "write_settings_", lambda self: written.append(self))

    def learnt(make_graph: Any) -> tuple[dict[str, bytes], list[Any]]:
        changes = {"num_envs": 4, "rollout_steps": 4 if agent == "a2c" else 16}
        if agent == "dqn":
            changes = {"warmup_steps": 40, "target_period_steps": 50, "update_period_steps": 2}
            changes["num_envs"] = 4  # two updates at a time
        env, learner = built(configured(agent, **changes))
        learner.learner._make_graph = make_graph
        instruments = learner.learner.observer = Instruments(
            learner.network,
            learner.learner.optimizer,
            41,  # so that a reading's window begins within a pass
            max_grad_norm=0.1,
        )
        env.reset()
        seen: list[Any] = []
        for tick in ticks(env, learner, 0, 10_000):
            numbers = {**(tick.metrics or {}), **instruments.pop_reading()}
            numbers.pop("time/instruments_share", None)
            seen.append({name: float(x).hex() for name, x in numbers.items()})
            if learner.learner.updates > 90:  # of which 16 precede each reading
                break
        return content(learner), seen

    plain = learnt(None)
    assert not written
    assert learnt(Repeated) == plain
    assert len(written) > 4  # once before each graph of updates, which reads them


# ---- closed on a GPU, as far as that can be seen without one ----


class Launch:
    """A Triton kernel whose launches are noted."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getitem__(self, grid: Any) -> Callable[..., None]:
        def launch(*arguments: Any, **options: Any) -> None:
            if Trace.active is not None:
                Trace.active.note(f"{self._name} {grid}", (arguments, options))

        return launch


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """Take a device without values for a GPU, on which the optimizer's step is Triton's."""
    pytest.importorskip("triton", reason="Triton is for Linux")
    from wnrl.kernels import optimizer_step

    for name in ("measure_kernel", "step_kernel"):
        monkeypatch.setattr(optimizer_step, name, Launch(name))
    monkeypatch.setattr(normalizing_step, "use_triton", lambda tensor: True)
    monkeypatch.setattr(optim_step, "_on_gpu", lambda group: True)
    for module in (optimizer_launch, optim_step):
        monkeypatch.setattr(module, "capturing", lambda tensor: Trace.active is not None)
    for kind in ("adam", "adamax", "rmsprop"):
        module = importlib.import_module(f"torch.optim.{kind}")
        monkeypatch.setattr(module, "_get_capturable_supported_devices", lambda: ["meta"])
    Traced.made.clear()
    return torch.device("meta")


def on_gpu(name: str, device: torch.device, **changes: Any) -> Any:
    """An agent for small images whose updates and acting are captured."""
    config = make_config({"env": "Breakout", "agent": name, "num_envs": 2, "threads": 1, **changes})
    parts = resolve(config)
    env: Any = SimpleNamespace(
        observation=ObservationSpec(IMAGE, "uint8", 4), num_actions=ACTIONS, num_envs=2
    )
    agent = build_agent(parts, env, build_network(parts, env)[0], device)
    agent.learner._make_graph = Traced
    return agent


def drawn(dtype: torch.dtype, *shape: int) -> Tensor:
    return torch.empty(ROWS, *shape, dtype=dtype, device="meta")


def update(agent: Any, name: str, clip: float) -> None:
    """Learn from new tensors, as the agent does: twice, A2C once."""
    obs, number = drawn(torch.uint8, *IMAGE), drawn(torch.float32)
    action, valid = drawn(torch.int64), drawn(torch.bool)
    if name == "dqn":
        agent._learn_from(
            *(Batch(obs, action.clone(), number, number.clone(), obs.clone()) for _ in "ab")
        )
        return
    extras = {key: number.clone() for key in ("value", "log_prob", "advantage", "return")}
    rows = RolloutBatch(obs, valid, action, number, number.clone(), valid.clone(), extras)
    two = RolloutPass(rows, torch.empty(2, ROWS // 2, dtype=torch.int64, device="meta"))
    if name == "ppo":
        agent._learn(two, agent.learner.number(clip))
    else:
        agent._learn(two if name == "pqn" else rows)


def check_update(device: torch.device, name: str, **changes: Any) -> int:
    """Learn with other numbers each time; return how often a graph was replayed."""
    agent = on_gpu(name, device, **changes)
    for k in range(WARM_UP + 4):
        set_learning_rate(agent.learner.optimizer, 0.1 / (k + 1))
        update(agent, name, 0.2 / (k + 1))
    assert agent.learner.updates == (WARM_UP + 4) * (1 if name == "a2c" else 2)
    return sum(graph.replays for graph in Traced.made)


CAPTURED = (3, 4)  # of the calls after the warm-up; wnrl's optimizers have no state before it


@pytest.mark.parametrize("norm", ["weight", "none"])
@pytest.mark.parametrize("agent", AGENTS)
def test_every_agents_update_is_closed(agent: str, norm: str, gpu: torch.device) -> None:
    assert check_update(gpu, agent, norm=norm) in CAPTURED


@pytest.mark.parametrize("norm", [name for name in NORMS if name not in ("weight", "none")])
def test_an_update_with_any_normalization_is_closed(norm: str, gpu: torch.device) -> None:
    replays = check_update(gpu, "dqn", norm=norm)
    eager = NORMS[norm].scheduled or norm in ("hyperball", "spectral-grad")  # steps in Python
    assert replays == 0 if eager else replays in CAPTURED


@pytest.mark.parametrize(
    "changes",
    [
        {"weight_storage": "gv"},
        {"double": True, "dueling": True},
        {"norm": "batch", "norm.statistics": "joint"},
        {"optimizer": "rmsprop", "norm": "none"},
        {"optimizer": "adamax", "norm": "none"},
        {"optimizer": "radam", "norm": "none"},
        {"optimizer": "rmsprop-tf", "norm": "none"},
        {"loss": "categorical"},
        {"loss": "categorical", "categorical_targets": "c51", "dueling": True},
    ],
    ids=str,
)
def test_an_update_in_any_variant_is_closed(changes: dict[str, Any], gpu: torch.device) -> None:
    assert check_update(gpu, "dqn", **changes) in CAPTURED


@pytest.mark.parametrize("room", [True, False])
def test_dqn_learns_from_its_replay_without_waiting_for_the_device(
    room: bool, gpu: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device has no values: whatever waits for one, or for a copy on the CPU, raises."""
    if not room:
        monkeypatch.setattr(replay, "frames_for", lambda ring, stack, _: HostFrames(ring, stack))
    agent = on_gpu("dqn", gpu)
    assert type(agent.replay._frames) is (DeviceFrames if room else HostFrames)
    for k in range(8):
        obs = np.full((2, *IMAGE), k + 1, np.uint8)
        agent._acted_on = (obs, np.full(2, k == 0))
        nothing = np.zeros(2, np.bool_)
        agent.observe(Step(np.ones(2, np.int64), np.ones(2, np.float32), *[nothing] * 4, obs))
    for _ in range(WARM_UP + 4):
        agent._learn(2)
    assert sum(graph.replays for graph in Traced.made) in CAPTURED


@pytest.mark.parametrize("name", [*AGENTS, "recurrent dqn"])
def test_acting_sends_one_frame_of_each_environment(
    name: str, gpu: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent, followed = [], []
    joined = frame_stacks.following_stacks

    def noted(stacks: Tensor, frames: np.ndarray, first: Tensor) -> Tensor:
        sent.append(frames.shape)
        followed.append(stacks)
        return joined(stacks, frames, first)

    monkeypatch.setattr(frame_stacks, "following_stacks", noted)
    *kind, name = name.split()
    agent = on_gpu(name, gpu, recurrent=bool(kind)) if kind else on_gpu(name, gpu)
    obs, first = np.zeros((2, *IMAGE), np.uint8), np.zeros(2, np.bool_)

    def act() -> None:
        if name == "dqn":  # at random, since its warm-up has not ended
            with suppress(NotImplementedError):  # a device without values chooses no action
                agent.act(obs, first)
        else:
            agent._collector.inputs(obs, first)

    for _ in range(3):
        act()
    assert sent == [(2, 1, *IMAGE[1:])] * 2
    if name != "dqn":
        agent._collector._newest = (obs, first)
        assert agent._collector.following()[0].shape == (2, *IMAGE)
        act()
        assert followed[-1] is followed[-2]  # a value in between is no step
    restored = agent if name == "dqn" else agent._collector
    restored.load_state_dict(restored.state_dict())
    sent.clear()
    act()
    assert not sent


@pytest.mark.parametrize("norm", ["none", "weight", "batch", "spectral", "weight-standardization"])
def test_acting_is_closed(norm: str, gpu: torch.device) -> None:
    agent = on_gpu("ppo", gpu, norm=norm)
    for _ in range(WARM_UP + 2):
        agent.learner.outputs(drawn(torch.uint8, *IMAGE))
    assert Traced.made[0].replays == 2


def waits(x: Tensor, layer: nn.Module) -> Any:
    return x * float(x.sum())


def depends_on_values(x: Tensor, layer: nn.Module) -> Any:
    return x.nonzero()


def goes_to_the_cpu(x: Tensor, layer: nn.Module) -> Any:
    return x.cpu()


def makes_state_anew(x: Tensor, layer: Any) -> Any:
    layer.state = layer.state + x
    return layer.state


def counts_on_the_host(x: Tensor, layer: Any) -> Any:
    layer.count += 1
    return x * layer.count


@pytest.mark.parametrize(
    ("function", "error"),
    [
        (waits, RuntimeError),
        (depends_on_values, RuntimeError),
        (goes_to_the_cpu, RuntimeError),
        (makes_state_anew, AssertionError),
        (counts_on_the_host, AssertionError),
    ],
)
def test_what_is_not_closed_is_seen(
    function: Any, error: type[Exception], gpu: torch.device
) -> None:
    layer = SimpleNamespace(state=torch.zeros(2, device="meta"), count=0)
    captured = Captured(lambda x: function(x, layer), Traced)

    def call_often() -> None:
        for _ in range(WARM_UP + 3):
            captured(torch.ones(2, device="meta"))

    with pytest.raises(error):
        call_often()


def test_a_penalty_is_added_to_the_loss_but_not_to_its_report() -> None:
    """By hand: d(3 w + w^2) / dw = 3 + 2 w = 7 at w = 2, and a step of 0.1 leads to 1.3."""
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, 2.0)
    optimizer = ClippedStep(torch.optim.SGD(network.parameters(), lr=0.1))
    learner = Learner(network, optimizer, penalty=lambda net: net.weight.square().sum())  # type: ignore[union-attr, operator]

    def loss(net: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
        output = net(x).sum()
        return output, output.detach()

    x = torch.tensor([[3.0]])
    assert learner.step(loss, x, x).item() == 6.0
    assert network.weight.item() == torch.tensor(2.0 - 0.1 * 7).item()
    assert optimizer.grad_norm.item() == 7.0
