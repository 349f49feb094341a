"""Atari games, Gymnasium environments and toys behind one vector interface, with their seeds.

Learners, replays and everything that a run writes do not belong here.
"""
