"""Train the tiny family: `python tools/tiny/train.py tiny/xs`. See README.md beside it.

The data depend on the step alone, the schedule on the step count, so a rerun trains the same model, and one that was
interrupted goes on where it stopped.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (as PyTorch itself calls it)

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from network import Muon, Network, Shape  # noqa: E402  (found through the path set above)

from agenttts.models.tiny import problems as tasks  # noqa: E402
from agenttts.models.tiny import tokenizer as text  # noqa: E402


@dataclass(frozen=True)
class Recipe:
    """How one model is trained."""

    width: int
    layers: int
    heads: int
    hidden: int
    steps: int
    curriculum: int
    """Steps over which the problems grow from one step to full length."""
    batch: int = 3600
    """Tokens a step at most, padding included."""
    muon_rate: float = 0.02
    adam_rate: float = 0.01
    decay_from: float = 0.4
    """Share of the steps after which the rate falls, linearly to 0."""


RECIPES = {
    "xs": Recipe(32, 2, 2, 96, steps=6000, curriculum=1200),
    "s": Recipe(48, 3, 2, 128, steps=7500, curriculum=1200),
    "m": Recipe(64, 3, 2, 176, steps=7500, curriculum=1500),
    "l": Recipe(96, 4, 3, 256, steps=8000, curriculum=1800),
}
DOCUMENTS_A_CHUNK = 2048


@lru_cache(maxsize=1)
def held_out() -> frozenset[str]:
    """Return texts and plans of the problems that are never trained on."""
    lines = (ROOT / "tasks/tiny/problems.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    return frozenset(itertools.chain.from_iterable((row["text"], row["plan"]) for row in rows))


def documents(seed: str, lengths: tuple[int, int]) -> Iterator[tuple[list[int], int]]:
    """Yield token numbers of a document and the length of its prompt, one for each stage in turn."""
    for problem in tasks.problems(seed, held_out(), lengths):
        for prompt, completion in (
            (f"translate: {problem.text}", problem.plan),
            (f"solve: {problem.plan}", problem.trace),
        ):
            head = text.encode_prompt(prompt)
            yield [*head, *text.encode(completion), text.END], len(head)


def lengths_at(step: int, curriculum: int) -> tuple[int, int]:
    """Return fewest and most steps of the problems of a chunk that begins at this training step."""
    if step >= curriculum:
        return tasks.MIN_STEPS, tasks.MAX_STEPS
    return 1, 1 + step * tasks.MAX_STEPS // curriculum


def batches(recipe: Recipe, seed: str) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield tokens and targets, shape (rows, time), targets -1 where nothing is learnt; rows are of similar length."""
    step = 0
    for chunk in itertools.count():
        stream = documents(f"{seed}-{chunk}", lengths_at(step, recipe.curriculum))
        groups = _groups(list(itertools.islice(stream, DOCUMENTS_A_CHUNK)), recipe.batch)
        for i in np.random.default_rng(chunk).permutation(len(groups)):
            step += 1
            yield _pad(groups[i])


def _groups(docs: list[tuple[list[int], int]], size: int) -> list[list[tuple[list[int], int]]]:
    """Split documents into batches of similar length that hold `size` tokens at most."""
    docs.sort(key=lambda doc: -len(doc[0]))
    groups = []
    while docs:
        rows = size // len(docs[0][0])
        groups.append(docs[:rows])
        docs = docs[rows:]
    return groups


def _pad(docs: list[tuple[list[int], int]]) -> tuple[torch.Tensor, torch.Tensor]:
    longest = max(len(tokens) for tokens, _ in docs)
    tokens = np.zeros((len(docs), longest), dtype=np.int64)
    targets = np.full((len(docs), longest), -1, dtype=np.int64)
    for row, (doc, prompt) in enumerate(docs):
        tokens[row, : len(doc)] = doc
        targets[row, prompt - 1 : len(doc) - 1] = doc[prompt:]
    return torch.from_numpy(tokens[:, :-1]), torch.from_numpy(targets[:, :-1])


class Trainer:
    """One model, its optimisers and the step it is at."""

    def __init__(self, recipe: Recipe, seed: int, *, compiled: bool = False) -> None:
        torch.manual_seed(seed)
        self.recipe, self.step = recipe, 0
        shape = Shape(recipe.width, recipe.layers, recipe.heads, recipe.hidden, len(text.vocabulary()))
        self.network = Network(shape)
        self.forward = torch.compile(self.network, dynamic=True) if compiled else self.network
        named = list(self.network.named_parameters())
        matrices = [p for name, p in named if _is_matrix(name)]
        self.others = [p for name, p in named if not _is_matrix(name)]
        self.muon = Muon(matrices, recipe.muon_rate)
        self.adam = torch.optim.AdamW(self.others, lr=recipe.adam_rate, betas=(0.9, 0.95), weight_decay=0.0)

    def scale(self) -> float:
        """Return the rate at this step relative to the full rate."""
        done = self.step / self.recipe.steps
        return min(1.0, (self.step + 1) / 100, (1 - done) / (1 - self.recipe.decay_from))

    def update(self, tokens: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Learn from one batch and return its loss in nats a token."""
        hidden = self.forward(tokens)
        learnt = targets >= 0
        return self.learn(F.cross_entropy(self.network.logits(hidden[learnt]), targets[learnt]))

    def learn(self, loss: torch.Tensor) -> torch.Tensor:
        """Do one step down the gradient of a loss; return the loss."""
        for parameter in self.network.parameters():
            parameter.grad = None
        loss.backward()
        scale = self.scale()
        self.muon.step(scale)
        self.adam.param_groups[0]["lr"] = self.recipe.adam_rate * scale
        self.adam.step()
        self.step += 1
        return loss.detach()

    def state(self) -> dict[str, object]:
        """Return all that is needed to go on."""
        return {
            "network": self.network.state_dict(),
            "muon": self.muon.buffers,
            "adam": self.adam.state_dict(),
            "step": self.step,
        }

    def restore(self, path: Path) -> None:
        """Go on from a checkpoint, if there is one."""
        if path.exists():
            state = torch.load(path, weights_only=True)
            self.network.load_state_dict(state["network"])
            self.muon.buffers = state["muon"]
            self.adam.load_state_dict(state["adam"])
            self.step = state["step"]


def _is_matrix(name: str) -> bool:
    """Return whether Muon trains the parameter; embeddings, gains and shifts are left to AdamW."""
    return name.rsplit(".", 1)[-1] in {"qkv", "out", "gate_up", "down"}


def train(trainer: Trainer, folder: Path, data_seed: str, until: int) -> None:
    """Train to the step `until`, leaving a checkpoint now and then in the folder."""
    recipe = trainer.recipe
    stream = itertools.islice(batches(recipe, data_seed), trainer.step, None)
    started, first, seen, mean = time.time(), trainer.step, 0, 0.0
    while trainer.step < until:
        tokens, targets = next(stream)
        loss = float(trainer.update(tokens, targets))
        seen += tokens.numel()
        mean = loss if not mean else 0.98 * mean + 0.02 * loss
        if trainer.step % 100 == 0:
            speed = seen / (time.time() - started)
            left = (time.time() - started) / (trainer.step - first) * (until - trainer.step)
            print(
                f"step {trainer.step} loss {mean:.4f} tokens/s {speed:.0f} left {left / 60:.1f} min",
                flush=True,
            )
        if trainer.step % 500 == 0 or trainer.step == until:
            save(trainer, folder)


def save(trainer: Trainer, folder: Path) -> None:
    """Write the checkpoint whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(trainer.state(), folder / "new.pt")
    (folder / "new.pt").replace(folder / "checkpoint.pt")
    (folder / "recipe.json").write_text(json.dumps(asdict(trainer.recipe)))


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=sorted(RECIPES))
    parser.add_argument("--folder", type=Path, required=True, help="where checkpoints go")
    parser.add_argument("--until", type=int, help="stop at this step, short of the recipe's last")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data-seed", default="train")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    recipe = RECIPES[arguments.model]
    trainer = Trainer(recipe, arguments.seed, compiled=True)
    trainer.restore(arguments.folder / "checkpoint.pt")
    train(trainer, arguments.folder, arguments.data_seed, arguments.until or recipe.steps)


if __name__ == "__main__":
    main()
