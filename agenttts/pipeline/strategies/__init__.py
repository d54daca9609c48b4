"""Ways to spend samples on one stage of one problem, as generators: they yield what they want and receive it.

`steps` holds what may be yielded and what all ways share; `parallel` draws all samples at once; `adaptive` stops early;
`cascade` escalates to another model; `refinement` goes on from what was written; `stepwise` searches over the steps of
a reply, led by a verifier of steps; `tree` chooses between going wider and deeper.
"""
