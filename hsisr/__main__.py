"""`python -m hsisr`."""

from hsisr.cli import main

if __name__ == "__main__":
    main()
