"""memOS's own tables in `public`: found, compared, adopted, described and checked.

The services that write them are in `memory`.
"""
