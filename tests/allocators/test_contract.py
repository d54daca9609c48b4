"""Every allocator keeps the contract."""

import pytest

from agenttts.allocators.base import ALLOCATORS, Allocator, make_allocator
from agenttts.errors import InputError
from agenttts.testing.allocators import AllocatorContract


class TestRandom(AllocatorContract):
    def make(self) -> Allocator:
        return make_allocator("random")


class TestGrid(AllocatorContract):
    def make(self) -> Allocator:
        return make_allocator("grid")


class TestTpe(AllocatorContract):
    def make(self) -> Allocator:
        return make_allocator("tpe")


class TestCurves(AllocatorContract):
    def make(self) -> Allocator:
        return make_allocator("curves")


def test_every_registered_name_has_a_contract_test():
    tested = {case().make().name for case in AllocatorContract.__subclasses__()}
    assert tested == set(ALLOCATORS)


def test_an_unknown_name_is_told_the_nearest():
    with pytest.raises(InputError, match="Did you mean `random`"):
        make_allocator("randm")
