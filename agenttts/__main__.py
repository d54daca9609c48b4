"""`python -m agenttts` is the command line."""

from agenttts.cli import main

if __name__ == "__main__":
    main()
