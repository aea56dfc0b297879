"""`python -m recgan` is `recgan`."""

from recgan.cli import main

if __name__ == "__main__":
    main()
