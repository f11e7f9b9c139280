"""Make the leaderboard's page of the rows that are committed.

    python scripts/leaderboard.py

A row that does not follow its protocol is refused, with all that is wrong with all of them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lifelong_rl.analysis.leaderboard import write_board
from lifelong_rl.analysis.rows import read_rows
from lifelong_rl.errors import UserError
from lifelong_rl.runs.protocol import read_protocol

ROOT = Path(__file__).parents[1]


def make_page(folder: Path, version: str) -> str:
    """The page of the rows of a version of the protocol."""
    rows = [row for row in read_rows(folder) if row.protocol == version]
    return write_board(rows, read_protocol(version))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=Path, default=ROOT / "docs/leaderboard")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/leaderboard.md")
    parser.add_argument("--protocol", default="v1")
    given = parser.parse_args()
    try:
        page = make_page(given.rows, given.protocol)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    given.out.write_text(page, encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
