"""`python -m faults`."""

from faults.command import main

if __name__ == "__main__":
    main()
