"""Bodies of the commands and what they print. `agenttts.cli` declares the commands; nothing here is public."""
