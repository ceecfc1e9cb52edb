"""``python -m copyhound`` is ``copyhound``."""

from copyhound.cli import main

if __name__ == "__main__":
    main()
