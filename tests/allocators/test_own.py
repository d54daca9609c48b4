"""Allocators that do not come with the package are named by module and class."""

from pathlib import Path

import pytest

from agenttts.allocators.base import Allocator, make_allocator
from agenttts.errors import InputError

OWN = """
class Mine:
    def propose(self, archive, space, k, rng):
        return []

class NoAllocator:
    pass

broken = None
"""


@pytest.fixture(autouse=True)
def _module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_allocator_of_a_user.py").write_text(OWN)
    (tmp_path / "own_allocator_that_raises.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)


def test_a_class_of_a_module_is_made():
    made = make_allocator("own_allocator_of_a_user:Mine")
    assert isinstance(made, Allocator)
    assert type(made).__module__ == "own_allocator_of_a_user"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("no_such_module_of_a_user:Mine", "ModuleNotFoundError.*PYTHONPATH"),
        ("own_allocator_of_a_user:Yours", "AttributeError"),
        ("own_allocator_that_raises:Mine", "ZeroDivisionError"),
        ("own_allocator_of_a_user:NoAllocator", "`propose` or `converse`"),
        ("own_allocator_of_a_user:broken", "`propose` or `converse`"),
    ],
)
def test_what_is_none_is_refused_with_the_reason(name: str, why: str):
    with pytest.raises(InputError, match=why):
        make_allocator(name)
