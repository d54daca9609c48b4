"""Where samples come from: any OpenAI-compatible endpoint, litellm, recordings, the tiny family.

`base` holds the values and the seam, `clients` makes clients from cards, `sampler` keeps what was drawn.
"""
