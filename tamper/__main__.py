"""`python -m tamper`."""

from tamper.command import main

if __name__ == "__main__":
    main()
