"""From a file of problems to a task that runs at once: `agenttts init`, without what is asked and shown.

`columns` and `kinds` guess what a file holds, `served` finds models, `writing` makes the text of a task, and `making`
writes it once it was proven to work.
"""
