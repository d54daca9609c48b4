"""The allocator keeps the contract of allocators."""

from hill_climb import HillClimb

from agenttts.allocators.base import Allocator
from agenttts.testing.allocators import AllocatorContract


class TestHillClimb(AllocatorContract):
    """All tests are inherited."""

    def make(self) -> Allocator:
        """Return the allocator under test."""
        return HillClimb()
