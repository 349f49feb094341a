"""Stable-Baselines3's side: what plugs into its algorithms."""

from wnrl.sb3.atari_vec_env import AtariVecEnv

__all__ = ["AtariVecEnv"]
