"""Settings of the agents: hyperparameters with help, default and source. They need no torch.

The algorithms are in the files of the same names in `wnrl.agents`.
"""
