"""Memory of agents, in the caller's session.

`service` is memOS's MemoryService on memOS's own table `public.memories`. Nothing here opens,
commits, rolls back or closes a session, or knows Dagster.
"""
