"""What an index gains on this machine, measured on tables of trial rows."""
