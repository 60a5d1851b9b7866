"""Rows of agents, written straight into the tables: no embedder, no service."""

import sqlalchemy as sa

_ROWS = """
insert into agent.models
    (name, dimension, answer_digest, state, link_threshold, registered_at)
    values ('test', :dimension, repeat('0', 64), 'current', 0.5, '2026-01-01Z')
    on conflict do nothing;
create table if not exists agent.embeddings_1 (
    memory bigint primary key, space_id bigint not null, embedding public.halfvec({dimension}));
insert into agent.spaces (name, owner, private, made_at)
    values ('team', 'ann', false, '2026-01-01Z') on conflict do nothing;
insert into agent.memories
    (id, space_id, user_id, kind, content, content_digest, words, subject, attributes, source,
     confidence, valid_from, recorded_at)
select md5('memory' || n)::uuid, s.id, 'ann', 'finding', 'Fact ' || n || ' früh',
    md5('text' || n), 3, case when n % 3 = 0 then 'subject ' || n end,
    jsonb_build_object('n', n, 'tags', '["a"]'::jsonb), 'mail:' || n,
    case when n % 2 = 0 then n / 1e6 end, timestamptz '2026-01-01Z' + n * interval '1 minute',
    '2026-01-01Z'
from generate_series(1, :count) n, agent.spaces s where s.name = 'team';
insert into agent.embeddings_1
select number, space_id, case when number % 10 > 0 then
    (select array_agg(sin(number * 7 + k)) from generate_series(1, :dimension) k)::real[]
        ::public.halfvec end
from agent.memories;
insert into agent.links
    (a, b, type, direction, weight, automatic, a_space_id, b_space_id, linked_at)
select number, number + 1, 'semantic', 0, 0.9, true, space_id, space_id, '2026-01-01Z'
from agent.memories where number < (select max(number) from agent.memories);
"""


def fill(engine: sa.Engine, count: int, *, dimension: int = 8) -> None:
    """Write memories with embeddings, one in ten without, and links from each to the next.

    Args:
        engine: of a database without memories.
        count: of the memories.
        dimension: of the embeddings.
    """
    values = {"count": str(count), "dimension": str(dimension)}
    with engine.begin() as conn:
        for statement in _ROWS.replace("{dimension}", ":dimension").split(";\n"):
            if statement.strip():
                for name, value in values.items():
                    statement = statement.replace(f":{name}", value)
                conn.exec_driver_sql(statement.replace("%", "%%"))
