"""Pure reinforcement-learning mathematics (losses, returns, schedules) and the stores that feed it.

Everything takes and gives arrays or tensors. Networks, environments, settings and files do not
belong here.
"""
