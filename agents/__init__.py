"""Agents: one file each with the algorithm; settings are in `settings/`. Import as `wnrl.agents`.

What several agents share has a file of its own. No agent inherits from another, and nothing outside
asks which agent it has: each is a record in `wnrl.agents.catalogue`.
"""
