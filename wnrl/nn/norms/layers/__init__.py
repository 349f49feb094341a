"""Layers of the normalizations that torch does not have: plain `nn.Module`s.

Nothing here knows agents or the catalogue. Weight normalization is in `wnrl.nn.weight_norm`.
"""
