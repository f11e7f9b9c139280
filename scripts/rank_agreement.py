"""Tell how alike the leaderboard and published tables rank methods, on a page of its own.

python scripts/rank_agreement.py
"""

from __future__ import annotations

import argparse
from pathlib import Path

from lifelong_rl.analysis.rank_agreement import read_published, write_agreement
from lifelong_rl.analysis.rows import read_rows

ROOT = Path(__file__).parents[1]


def make_page(folder: Path, published: Path, version: str) -> str:
    """The page of the rows of a version of the protocol."""
    rows = [row for row in read_rows(folder) if row.protocol == version]
    return write_agreement(rows, *read_published(published))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=Path, default=ROOT / "docs/leaderboard")
    parser.add_argument(
        "--published", type=Path, default=ROOT / "docs/results/published_tables.json"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "docs/rank_agreement.md")
    parser.add_argument("--protocol", default="v1")
    given = parser.parse_args()
    page = make_page(given.rows, given.published, given.protocol)
    given.out.write_text(page, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
