"""Chunks into tables: one transaction with its ledger row each; dry run and summary."""
