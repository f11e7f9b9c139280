"""A run: an agent learns a sequence of tasks, is evaluated, and leaves a run folder."""
