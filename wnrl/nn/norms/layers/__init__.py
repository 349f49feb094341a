"""Layers of the normalizations that torch does not have.

Plain `nn.Module`s that know nothing of agents or the catalogue. Weight normalization has its own
folder (`wnrl.nn.weight_norm`).
"""
