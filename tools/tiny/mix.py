"""Average two checkpoints of one training: `python tools/tiny/mix.py EARLIER LATER --share 0.6 --folder OUT`."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch


def main() -> None:
    """Read both, average their weights, write a checkpoint that `export.py` reads."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("earlier", type=Path)
    parser.add_argument("later", type=Path)
    parser.add_argument("--share", type=float, default=0.6, help="of the later one")
    parser.add_argument("--folder", type=Path, required=True)
    arguments = parser.parse_args()
    earlier, later = (
        torch.load(folder / "checkpoint.pt", weights_only=True)
        for folder in (arguments.earlier, arguments.later)
    )
    later["network"] = {
        name: torch.lerp(weights, later["network"][name], arguments.share)
        for name, weights in earlier["network"].items()
    }
    arguments.folder.mkdir(parents=True, exist_ok=True)
    torch.save(later, arguments.folder / "checkpoint.pt")
    (arguments.folder / "recipe.json").write_text((arguments.later / "recipe.json").read_text())


if __name__ == "__main__":
    main()
