"""`python -m eval.cache`."""

from eval.cache.command import main

if __name__ == "__main__":
    main()
