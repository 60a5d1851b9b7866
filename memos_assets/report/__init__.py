"""The report that a person signs: one tree of values, written as JSON and as HTML.

`outcomes` sums evaluations up by check, `tree` describes the content of a report, `compose` reads
it, and `render` writes it. Evaluations, steps and builds, which only Dagster knows, are parameters.
"""
