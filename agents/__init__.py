"""Agents: one file each, the algorithm first and its settings below it; imported as `wnrl.agents`.

What several agents share has a file of its own. No agent inherits from another, and nothing outside
asks which agent it has: each is a record in `wnrl.agents.catalogue`.
"""
