"""What calls cost, what may be spent, and what a study will cost before it starts.

`cost` and `cards` hold the values, `cost_model` turns usage into cost, `ledger` caps what a search really pays,
`lengths` learns token counts from draws, `quote` adds everything up beforehand. Nothing here calls a model.
"""
