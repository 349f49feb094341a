"""What this machine has: CPUs, memory, devices and software; `python -m wnrl.doctor` prints it.

Anything that asks the operating system or the hardware belongs here. What a run does with the
answer does not.
"""
