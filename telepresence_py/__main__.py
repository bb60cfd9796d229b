"""`python -m telepresence_py` is the console script."""

from telepresence_py.cli.main import main

if __name__ == "__main__":
    main()
