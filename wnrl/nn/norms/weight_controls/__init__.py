"""Records that control weights: variants of weight norm, changes in or after a step, penalties.

Not here: the classical normalizations of weights (`wnrl.nn.norms.weight`) and the layers.
"""
