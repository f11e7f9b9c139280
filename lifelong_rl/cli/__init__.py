"""The command line. One file per command; torch is imported only when a command needs it."""

from lifelong_rl.cli.main import main

__all__ = ["main"]
