"""Imports envs before any test imports mujoco: envs chooses how to render without a display."""

import envs  # noqa: F401
