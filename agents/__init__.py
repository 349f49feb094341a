"""Agents. Imported as `wnrl.agents`; no agent inherits from another."""
