"""Modes and difficulties of Atari games, which the ALE's vector environment cannot change."""
