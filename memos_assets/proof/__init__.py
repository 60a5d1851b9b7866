"""The proof: checks that read both sides again and compare them, without code of the loader."""
