"""Every allocator keeps the contract."""

from typing import cast

import pytest

from agenttts.allocators.base import ALLOCATORS, Allocator, ConversingAllocator, make_allocator
from agenttts.errors import InputError
from agenttts.testing.allocators import AllocatorContract, ConversingAllocatorContract


class TestRandom(AllocatorContract):
    def make(self) -> Allocator:
        return make_allocator("random")


class TestGrid(AllocatorContract):
    def make(self) -> Allocator:
        return make_allocator("grid")


class TestTpe(AllocatorContract):
    def make(self) -> Allocator:
        return make_allocator("tpe")


class TestGp(AllocatorContract):
    def make(self) -> Allocator:
        return make_allocator("gp")


class TestNsga2(AllocatorContract):
    def make(self) -> Allocator:
        return make_allocator("nsga2")


class TestCmaEs(AllocatorContract):
    def make(self) -> Allocator:
        return make_allocator("cmaes")


class TestCurves(AllocatorContract):
    def make(self) -> Allocator:
        return make_allocator("curves")


class TestAgent(ConversingAllocatorContract):
    def make_conversing(self) -> ConversingAllocator:
        return cast("ConversingAllocator", make_allocator("agent"))


class TestAgentTts(ConversingAllocatorContract):
    def make_conversing(self) -> ConversingAllocator:
        return cast("ConversingAllocator", make_allocator("agenttts"))


class TestAgentHpo(ConversingAllocatorContract):
    def make_conversing(self) -> ConversingAllocator:
        return cast("ConversingAllocator", make_allocator("agenthpo"))


class TestLlmZs(ConversingAllocatorContract):
    def make_conversing(self) -> ConversingAllocator:
        return cast("ConversingAllocator", make_allocator("llm_zs"))


class TestMlCopilot(ConversingAllocatorContract):
    def make_conversing(self) -> ConversingAllocator:
        return cast("ConversingAllocator", make_allocator("mlcopilot"))


def test_every_registered_name_has_a_contract_test():
    cases = [*AllocatorContract.__subclasses__(), *ConversingAllocatorContract.__subclasses__()]
    tested = {case().make().name for case in cases if case is not ConversingAllocatorContract}
    assert tested == set(ALLOCATORS)


def test_an_unknown_name_is_told_the_nearest():
    with pytest.raises(InputError, match="Did you mean `random`"):
        make_allocator("randm")
