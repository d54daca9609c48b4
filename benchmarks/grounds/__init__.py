"""Grounds to compare allocators on: tasks whose draws are all at hand, so that the truth about every allocation is known."""
