"""Pure reinforcement-learning mathematics (losses, returns, schedules) and the stores that feed it.

Functions and stores here take and return arrays or tensors. Networks, environments, settings and
run folders do not belong here.
"""
