"""`python -m eval.contradictions`."""

from eval.contradictions.command import main

if __name__ == "__main__":
    main()
