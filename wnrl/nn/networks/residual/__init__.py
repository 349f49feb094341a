"""Torsos of residual blocks: IMPALA's for images, SimBa's for vectors.

Not here: plain torsos and the table of all of them (`wnrl.nn.networks.torsos`).
"""
