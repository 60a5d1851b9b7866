"""How vectors and JSON are indexed and searched. Knows no Dagster."""
