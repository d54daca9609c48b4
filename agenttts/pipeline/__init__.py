"""One problem through the stages: prompts, draws, parsing, verification, selection; and the plan that repeats it."""
