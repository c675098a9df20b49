"""`python -m embedwell`."""

from embedwell.cli.main import main

if __name__ == "__main__":
    main()
