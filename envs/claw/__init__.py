"""The claw: its observation, its controller, and what its tasks have in common."""
