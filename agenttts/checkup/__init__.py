"""Whether this machine, its keys and its endpoints are ready for a task: `agenttts doctor`, without what is shown.

`machine` looks at this computer, `cards` at model cards and keys, `endpoints` at what answers, `trials` at what a few
tiny completions tell (the only ones that cost anything), and `together` runs all of them at once.
"""
