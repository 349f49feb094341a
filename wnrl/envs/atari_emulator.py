"""The ALE's C++ vector environment, opened with settings that hide no reward and no end."""

from ale_py.vector_env import AtariVectorEnv

from wnrl.envs.protocols import AtariProtocol


def open_emulator(
    rom: str,
    num_envs: int,
    protocol: AtariProtocol,
    *,
    num_threads: int = 0,
    colour: bool = False,
) -> AtariVectorEnv:
    """Open the emulators. Nothing in them clips rewards or resets a game at a lost life.

    Args:
        rom: a playable ROM id of `wnrl.envs.games` (the ALE ends the process on some others).
        num_envs: number of emulators.
        protocol: how the game is played.
        num_threads: emulator threads; 0 is one per environment, at most one per core.
        colour: return whole colour frames (1, 210, 160, 3) instead of stacks of gray ones. The game
            takes the same course.
    """
    height, width = (210, 160) if colour else (protocol.screen_pixels,) * 2
    return AtariVectorEnv(
        rom,
        num_envs,
        num_threads=num_threads,
        max_num_frames_per_episode=protocol.max_episode_frames,
        repeat_action_probability=protocol.repeat_action_probability,
        full_action_space=protocol.full_action_space,
        autoreset_mode="NextStep",
        img_height=height,
        img_width=width,
        grayscale=not colour,
        stack_num=1 if colour else protocol.stack,
        frameskip=protocol.frameskip_frames,
        noop_max=protocol.noop_max,
        episodic_life=False,  # would really reset the game at each lost life
        life_loss_info=False,  # would drop the reward after a lost life and report it as an end
        reward_clipping=False,  # learners clip; scores need the raw rewards
        use_fire_reset=protocol.fire_reset,
    )
