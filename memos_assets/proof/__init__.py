"""The proof: checks that read both sides again and compare. They share no code with the loader."""
