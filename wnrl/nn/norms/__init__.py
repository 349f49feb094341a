"""Normalizations: the record of one, the catalogue of all, and their placement in a network.

Networks, agents and optimizers do not belong here; they receive a record and never ask its name.
"""
