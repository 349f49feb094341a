"""The process of a command: its start, its signals, its output, and what ends it early.

Code that deals with the operating system's side of a command belongs here. `entry`, `output` and
`stop_signals` are needed before torch is loaded, and import little.
"""
