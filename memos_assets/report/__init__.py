"""The report that a person signs: one tree of values, written as JSON and as HTML.

`outcomes` sums evaluations up, `tree` is what a report says, `compose` gathers it, `render`
writes it. What only Dagster knows (evaluations, steps, builds) is handed in.
"""
