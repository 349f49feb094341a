"""PPO and A2C against stable-baselines3's own `train`: the same steps, loss and gradients.

Both see the same observations, actions and rewards, with every end of an episode that there is.
What follows from them (values, log probabilities, advantages, minibatch, loss) each computes for
itself. Between acting and learning the weights move, so that the ratios differ from 1.
"""

from typing import Any, NamedTuple

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import A2C as SB3A2C
from stable_baselines3 import PPO as SB3PPO
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import Tensor, nn

from wnrl.agents.a2c import A2C, A2CConfig
from wnrl.agents.a2c import EXTRAS as A2C_EXTRAS
from wnrl.agents.learner import Learner
from wnrl.agents.ppo import EXTRAS as PPO_EXTRAS
from wnrl.agents.ppo import PPO, PPOConfig
from wnrl.envs.vector import Step
from wnrl.nn.networks.actor_critic import ActorCritic, build_actor_critic
from wnrl.nn.networks.spec import NetworkSpec
from wnrl.nn.norms.catalogue import get_norm
from wnrl.optim.step import OptimizerSpec
from wnrl.rl.rollout import Rollout

# What row k of each environment brings: game over, a time limit, a lost life or none of them. The
# row after one of the first two is a final observation, one in each environment: SB3, which has no
# such rows, then has as many steps of each.
EVENTS = ("...g..l..", ".....t...", ".......t.")
ROWS, ENVS, ACTIONS = len(EVENTS[0]), len(EVENTS), 4
GAMMA, GAE_LAMBDA, CLIP, VALUE_COEF, ENTROPY_COEF = 0.9, 0.8, 0.2, 0.7, 0.3
SHAPES = {"cnn": ((4, 84, 84), "uint8"), "mlp": ((6,), "float32")}
# Of a gradient's length and of a loss: float32, and sums over 24 rows in another order.
ROUNDING = 1e-5


class Played(NamedTuple):
    """What environments and an agent did; SB3's side begins from here."""

    obs: np.ndarray  # (ROWS + 1, ENVS, *shape)
    actions: np.ndarray  # (ROWS, ENVS)
    rewards: np.ndarray  # (ROWS, ENVS)


def events(kinds: str) -> np.ndarray:
    """(ROWS, ENVS) bool."""
    return np.array([[event in kinds for event in env] for env in EVENTS]).T


ENDS = events("gt")
FINAL = np.concatenate([np.zeros((1, ENVS), bool), ENDS[:-1]])  # rows that are final observations
FIRST = np.concatenate([np.ones((1, ENVS), bool), FINAL])  # observations 0 to ROWS


def observations(kind: str, generator: np.random.Generator) -> np.ndarray:
    shape, dtype = SHAPES[kind]
    size = (ROWS + 1, ENVS, *shape)
    if dtype == "uint8":
        return generator.integers(0, 256, size, np.uint8)
    return generator.standard_normal(size).astype(np.float32)


def play(agent: PPO | A2C, kind: str) -> Played:
    """Fill the agent's rollout."""
    generator = np.random.default_rng(0)
    obs, actions = observations(kind, generator), []
    rewards = generator.standard_normal((ROWS, ENVS)).astype(np.float32) * 2
    for k in range(ROWS):
        actions.append(agent.act(obs[k], FIRST[k]))
        agent.observe(
            Step(
                actions[k],
                np.where(FINAL[k], np.float32(0), rewards[k]),
                terminated=events("g")[k],
                truncated=events("t")[k],
                life_lost=events("l")[k],
                first=FIRST[k + 1],
                obs=obs[k + 1],
            )
        )
    return Played(obs, np.stack(actions), rewards)


class Spaces(gymnasium.Env[Any, Any]):
    """An environment for SB3 to read the spaces of."""

    def __init__(self, kind: str) -> None:
        shape, dtype = SHAPES[kind]
        low, high = (0, 255) if dtype == "uint8" else (-np.inf, np.inf)
        self.observation_space = spaces.Box(low, high, shape, np.dtype(dtype).type)
        self.action_space = spaces.Discrete(ACTIONS)


def sb3_model(kind: str, algorithm: type[SB3PPO] | type[SB3A2C], normalize: bool) -> Any:
    steps = ROWS - 1
    special: dict[str, Any] = {}
    if algorithm is SB3PPO:
        special = {"batch_size": steps * ENVS, "n_epochs": 1, "clip_range": CLIP}
    model = algorithm(
        "CnnPolicy" if kind == "cnn" else "MlpPolicy",
        DummyVecEnv([lambda: Spaces(kind)] * ENVS),
        n_steps=steps,
        gamma=GAMMA,
        gae_lambda=GAE_LAMBDA,
        ent_coef=ENTROPY_COEF,
        vf_coef=VALUE_COEF,
        max_grad_norm=float("inf"),
        normalize_advantage=normalize,
        policy_kwargs={} if kind == "cnn" else {"activation_fn": nn.ReLU},
        device="cpu",
        **special,
    )
    model.set_logger(configure(None, []))
    return model


@torch.no_grad()
def copy_weights(network: ActorCritic, policy: nn.Module) -> None:
    """Ours into SB3's: the torsos, the policy's head, the value's, in this order in both."""
    for own, other in zip(network.parameters(), policy.parameters(), strict=True):
        assert own.shape == other.shape
        other.copy_(own)


@torch.no_grad()
def fill(model: Any, played: Played) -> np.ndarray:
    """Add the played steps to SB3's buffer as its `collect_rollouts` does.

    Returns:
        (ENVS,) whether the last step of each ended its episode.
    """
    buffer, policy = model.rollout_buffer, model.policy
    buffer.reset()
    steps: list[list[Any]] = []
    for n in range(ENVS):
        done = True
        own = []
        for k in np.flatnonzero(~FINAL[:, n]):
            obs = torch.from_numpy(played.obs[k, None, n])
            action = torch.tensor([played.actions[k, n]])
            value, log_prob, _ = policy.evaluate_actions(obs, action)
            reward = played.rewards[k, n]
            if EVENTS[n][k] == "t":  # SB3's bootstrap at a time limit
                after = torch.from_numpy(played.obs[k + 1, None, n])
                reward = reward + GAMMA * policy.predict_values(after).item()
            own.append((played.obs[k, n], action[0], reward, done, value[0, 0], log_prob[0]))
            done = EVENTS[n][k] in "gtl"  # EpisodicLifeEnv makes a lost life a done
        own.append(done)
        steps.append(own)
    for row in zip(*(own[:-1] for own in steps), strict=True):
        obs, action, reward, begins, value, log_prob = zip(*row, strict=True)
        buffer.add(
            np.stack(obs),
            np.array(action),
            np.array(reward),
            np.array(begins),
            torch.stack(value),
            torch.stack(log_prob),
        )
    return np.array([own[-1] for own in steps])


def sb3_gradients(model: Any) -> list[Tensor]:
    """Let SB3's `train` run, and take the gradients that it steps by."""
    seen: list[list[Tensor]] = []
    step = model.policy.optimizer.step

    def recorded(*args: Any, **kwargs: Any) -> Any:
        seen.append([p.grad.clone() for p in model.policy.parameters()])
        return step(*args, **kwargs)

    model.policy.optimizer.step = recorded
    model.train()
    assert len(seen) == 1
    return seen[0]


def our_agent(
    algorithm: type[SB3PPO] | type[SB3A2C], network: ActorCritic, kind: str, normalize: bool
) -> PPO | A2C:
    shape, dtype = SHAPES[kind]
    settings: dict[str, Any] = {
        "num_envs": ENVS,
        "rollout_steps": ROWS,
        "gamma": GAMMA,
        "gae_lambda": GAE_LAMBDA,
        "value_coef": VALUE_COEF,
        "entropy_coef": ENTROPY_COEF,
        "normalize_advantage": normalize,
        "clip_rewards": False,
    }
    built: dict[str, Any] = {
        "learning_rate": lambda steps: 1e-3,
        "generator": np.random.default_rng(1),
    }
    optimizer = OptimizerSpec("adam").build([{"params": list(network.parameters())}])
    learner = Learner(network, optimizer)
    if algorithm is SB3A2C:
        rollout = Rollout(ROWS, ENVS, shape, dtype, A2C_EXTRAS)
        return A2C(learner, rollout, A2CConfig(**settings), **built)
    rollout = Rollout(ROWS, ENVS, shape, dtype, PPO_EXTRAS)
    config = PPOConfig(**settings, epochs=1, minibatches=1)
    return PPO(learner, rollout, config, clip=lambda steps: CLIP, **built)


def our_gradients(agent: PPO | A2C) -> tuple[dict[str, Tensor], list[Tensor]]:
    """Metrics of one update, and the gradients that it stepped by."""
    seen: list[list[Tensor]] = []
    step = agent.learner.optimizer.step

    def recorded() -> Any:
        seen.append([p.grad.clone() for p in agent.network.parameters() if p.grad is not None])
        return step()

    agent.learner.optimizer.step = recorded  # type: ignore[method-assign]
    metrics = agent.update()
    assert metrics is not None
    assert len(seen) == 1
    return metrics, seen[0]


@torch.no_grad()
def move_weights(network: ActorCritic) -> None:
    """As updates might: every layer a little, the policy's so that some ratios are clipped."""
    generator = torch.Generator().manual_seed(2)
    for parameter in network.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        parameter += 0.1 * parameter.abs().mean() * noise
    network.policy.weight += 0.5 * torch.randn(network.policy.weight.shape, generator=generator)


@pytest.mark.parametrize("normalize", [False, True], ids=["raw", "normalized"])
@pytest.mark.parametrize("algorithm", [SB3PPO, SB3A2C], ids=["ppo", "a2c"])
@pytest.mark.parametrize("kind", SHAPES)
def test_loss_and_gradients_equal_stable_baselines3s(
    kind: str, algorithm: type[SB3PPO] | type[SB3A2C], normalize: bool
) -> None:
    network = build_actor_critic(
        NetworkSpec(*SHAPES[kind], ACTIONS, norm=get_norm("none"), separate=kind == "mlp"),
        torch.Generator().manual_seed(0),
    )
    agent = our_agent(algorithm, network, kind, normalize)
    model = sb3_model(kind, algorithm, normalize)
    copy_weights(network, model.policy)
    played = play(agent, kind)
    done = fill(model, played)

    move_weights(network)
    copy_weights(network, model.policy)
    with torch.no_grad():
        last = model.policy.predict_values(torch.from_numpy(played.obs[ROWS]))
    model.rollout_buffer.compute_returns_and_advantage(last, done)
    expected = sb3_gradients(model)
    metrics, gradients = our_gradients(agent)

    for own, other in zip(gradients, expected, strict=True):
        assert other.norm() > 0
        assert (own - other).norm() <= ROUNDING * other.norm()
    logged = model.logger.name_to_value
    policy = "train/policy_gradient_loss" if algorithm is SB3PPO else "train/policy_loss"
    same = (policy, "train/value_loss", "train/entropy_loss", "train/explained_variance")
    pairs = {
        **{name: logged[name] for name in same},
        "train/loss": logged[policy]
        + VALUE_COEF * logged["train/value_loss"]
        + ENTROPY_COEF * logged["train/entropy_loss"],
    }
    if algorithm is SB3PPO:
        assert pairs["train/loss"] == pytest.approx(logged["train/loss"], rel=ROUNDING)
        pairs |= {name: logged[name] for name in ("train/approx_kl", "train/clip_fraction")}
        assert 0.1 < logged["train/clip_fraction"] < 0.9  # both sides of the clip are seen
    for name, value in pairs.items():
        assert metrics[name].item() == pytest.approx(value, rel=ROUNDING, abs=1e-6), name
