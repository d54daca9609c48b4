"""Write a checkpoint into the package in half precision: `python tools/tiny/export.py xs /tmp/tiny/run/xs`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import save_file

WEIGHTS = Path(__file__).resolve().parents[2] / "agenttts/models/tiny/weights"


def main() -> None:
    """Read the command line and write the weights and their configuration."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    recipe = json.loads((arguments.folder / "recipe.json").read_text())
    state = torch.load(arguments.folder / "checkpoint.pt", weights_only=True)
    tensors = {name: value.half().contiguous() for name, value in state["network"].items()}
    config = {
        "format": 1,
        "width": recipe["width"],
        "layers": recipe["layers"],
        "heads": recipe["heads"],
        "hidden": recipe["hidden"],
        "parameters": sum(value.numel() for value in tensors.values()),
        "trained_steps": state["step"],
    }
    save_file(tensors, WEIGHTS / f"{arguments.model}.safetensors")
    (WEIGHTS / f"{arguments.model}.json").write_text(json.dumps(config, indent=1) + "\n")


if __name__ == "__main__":
    main()
