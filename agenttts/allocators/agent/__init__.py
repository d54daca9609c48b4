"""The allocator `agent`: an LLM planner beside `curves`.

`allocator` holds the conversation, `replies` reads what the planner wrote, `sharing` divides a round between the two and
decides whether to ask at all. Its prompts are the files of `allocators/prompts/agent`.
"""

from agenttts.allocators.agent.allocator import Agent

__all__ = ["Agent"]
