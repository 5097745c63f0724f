"""`python -m cofio` is the command line."""

from cofio.cli import main

if __name__ == "__main__":
    main()
