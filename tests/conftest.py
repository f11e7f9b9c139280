"""For all tests."""

from __future__ import annotations

import torch

torch.set_num_threads(1)  # networks here are small: threads would only wait for each other
