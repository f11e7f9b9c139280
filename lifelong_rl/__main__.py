"""`python -m lifelong_rl` is `lifelong-rl`."""

import sys

from lifelong_rl.cli import main

sys.exit(main())
