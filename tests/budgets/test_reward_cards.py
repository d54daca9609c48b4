from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from agenttts.budgets.cards import ModelCard, RewardBlock
from agenttts.budgets.cost_model import CostModel
from agenttts.budgets.loading import load_cards
from agenttts.errors import TaskFileError
from agenttts.models.base import CallUsage


def card(**reward: Any) -> ModelCard:
    return ModelCard.model_validate({"name": "m", "source": "reward", "reward": reward})


@pytest.mark.parametrize(
    ("reward", "fault"),
    [
        ({"api": "classify", "scores": "steps"}, "api classify gives one score"),
        ({"api": "score", "scores": "steps"}, "api score gives one score"),
        ({"api": "pooling", "scores": "steps"}, "at a `tag` after each step"),
        ({"api": "pooling", "judges_whole": True}, "`judges_whole` is read with `scores: steps`"),
        ({"api": "json", "request": "{}"}, "api json needs `request` and `scores_at`"),
        ({"api": "json", "scores_at": "score"}, "api json needs `request` and `scores_at`"),
        ({"api": "pooling", "scores_at": "score"}, "read by api json alone"),
        ({"api": "pooling", "good_column": -1}, "greater than or equal to 0"),
        ({"api": "pooling", "separator": ""}, "at least 1 character"),
        ({"api": "embed"}, "api"),
    ],
)
def test_blocks_that_make_no_sense_are_refused(reward: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        RewardBlock.model_validate(reward)


def test_the_block_and_the_source_belong_together() -> None:
    with pytest.raises(ValidationError, match="source reward needs `reward`"):
        ModelCard(name="m", source="reward")
    with pytest.raises(ValidationError, match="with `source: reward` alone"):
        ModelCard(name="m", source="openai", reward=RewardBlock(api="score"))


def test_a_card_says_what_it_judges() -> None:
    assert card(api="classify").judges == "answer"
    assert card(api="pooling", scores="steps", tag="<s>").judges == "steps"
    assert ModelCard(name="tiny/prm", source="tiny").judges == "steps"
    assert ModelCard(name="tiny/m", source="tiny").judges is None
    assert ModelCard(name="m", source="openai").judges is None


@pytest.mark.parametrize(
    ("request_", "fault"),
    [
        ('{"q": "{{ prompt }}"}', "`request` makes no JSON"),
        ('{"q": {{ promt }}}', "`request` cannot be rendered: 'promt' is undefined"),
        ('{"q": {{ prompt }', "`request` cannot be rendered"),
        ("{{ steps }}", "`request` makes no JSON object"),
    ],
)
def test_a_template_that_makes_no_json_is_told_with_its_card(
    tmp_path: Path, request_: str, fault: str
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "format: 1\nmodels:\n  mine:\n    source: reward\n    reward:\n      api: json\n"
        f"      scores_at: score\n      request: '{request_}'\n"
    )
    with pytest.raises(TaskFileError, match=fault) as caught:
        load_cards(files=[path])
    (mistake,) = caught.value.mistakes
    assert (mistake.line, mistake.key) == (5, "models.mine.reward")
    assert '"steps": {{ steps }}' in mistake.hint


def test_reading_is_all_that_a_reward_model_costs() -> None:
    known = load_cards()
    cost = CostModel(known).charge("qwen2.5-math-prm-7b", CallUsage(100, ()))
    assert cost.flops == pytest.approx(2 * 7.08e9 * 100 + 4 * 28 * 3584 * 5050)


def _counted(*, vocab: int, width: int, layers: int, kv: int, inner: int, bias: bool, head: int) -> int:
    """Parameters of a model with grouped attention and a gated MLP, without a language head."""
    attention = 2 * width * width + 2 * width * kv + (width + 2 * kv if bias else 0)
    return vocab * width + layers * (attention + 3 * width * inner + 2 * width) + width + head


def test_the_catalogues_figures_are_those_of_the_configurations() -> None:
    known = load_cards()
    prm = _counted(
        vocab=152064, width=3584, layers=28, kv=512, inner=18944, bias=True, head=3584 * 3584 + 3584 * 3 + 2
    )
    orm = _counted(vocab=128256, width=4096, layers=32, kv=1024, inner=14336, bias=False, head=4096)
    assert known["qwen2.5-math-prm-7b"].parameters == pytest.approx(prm, rel=1e-3)
    assert known["skywork-reward-v2-8b"].parameters == pytest.approx(orm, rel=1e-3)
