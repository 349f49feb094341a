"""wnrl: deep reinforcement learning with weight-normalized networks, and honest comparisons."""

__version__ = "0.1.0"
