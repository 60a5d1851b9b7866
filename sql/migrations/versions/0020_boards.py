"""Tables of boards, and the functions by which agents post to them.

The functions run with the rights of their owner: services may only read events and what follows
from them, so that no number of a board is left out, and nobody writes in the name of another.
`agent.board_post` asks for the user's grant itself.

Revision: 0020, after 0019.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

TABLES = (
    *("board_refusals", "board_outbox", "board_private", "board_entries", "board_events"),
    "boards",
)
#: Requests of one post, all of them or none. The caller has locked the row of the board.
APPEND = """
    create function agent.board_append(
        of_board bigint, acting text, acting_agent text, asked jsonb) returns jsonb
    language plpgsql security definer
    set search_path = pg_catalog
    as $body$
    declare
        b agent.boards;
        last agent.board_events;
        request jsonb;
        step jsonb;
        steps jsonb;
        old agent.board_entries;
        pending agent.board_entries;
        before text;
        how text;
        named text;
        named_key text;
        of_item text;
        ends timestamptz;
        size bigint;
        moment timestamptz;
        written jsonb[] := '{}';
        said text;
        more text;
    begin
        select * into strict b from agent.boards where number = of_board;
        -- The counts are in the last event, which is written once. A row of counts that every post
        -- writes would leave a version behind each time, all of them to be walked through while
        -- anybody's transaction is open.
        select * into last from agent.board_events e where e.board = of_board
        order by e.seq desc limit 1;
        last.seq := coalesce(last.seq, 0);
        last.count := coalesce(last.count, 0);
        last.bytes := coalesce(last.bytes, 0);
        begin
            for request in select value from jsonb_array_elements(asked) loop
                named := request->>'level';
                named_key := request->>'key';
                if b.state <> 'open' then
                    raise exception 'closed' using errcode = 'MB001',
                        detail = jsonb_build_object('state', b.state)::text;
                end if;
                if request ? 'guard' and exists (
                    select from agent.board_entries e where e.board = of_board
                        and e.level = request->'guard'->>'level'
                        and e.seq > (request->'guard'->>'after')::bigint)
                then
                    raise exception 'guard' using errcode = 'MB001', detail = '{}';
                end if;
                select e.strategy into before from agent.board_entries e
                where e.board = of_board and e.level = named and e.key = named_key limit 1;
                how := coalesce(request->>'strategy', before, 'last');
                if how in ('once', 'last', 'cas', 'union', 'review') and how <> before then
                    raise exception 'strategy' using errcode = 'MB001',
                        detail = jsonb_build_object('strategy', before)::text;
                end if;
                of_item := case
                    when how in ('union', 'review')
                    then encode(sha256(convert_to((request->'value')::text, 'UTF8')), 'hex')
                    else coalesce(request->>'item', '') end;
                select * into old from agent.board_entries e
                where e.board = of_board and e.level = named and e.key = named_key
                    and e.item = of_item;
                if old.expires_at <= clock_timestamp() then
                    -- As if it had not been written; its version goes on.
                    old.seq := null;
                end if;
                if how = 'cas' and coalesce(request->>'expected', '-1')
                    <> (case when old.seq is null then '0' else old.version::text end)
                then
                    raise exception 'conflict' using errcode = 'MB001',
                        detail = jsonb_build_object(
                            'version', case when old.seq is null then 0 else old.version end,
                            'current', case when old.seq is null then null else old.value end
                        )::text;
                end if;
                if how in ('once', 'union', 'review') and old.seq is not null then
                    written := array_append(written, jsonb_build_object(
                        'status', 'same', 'seq', old.seq, 'version', old.version));
                    continue;
                end if;
                steps := jsonb_build_array(jsonb_build_object(
                    'item', of_item, 'value', request->'value', 'strategy', how));
                if how in ('decide', 'drop') then
                    if old.seq is null then
                        raise exception 'absent' using errcode = 'MB001', detail = '{}';
                    end if;
                    steps := jsonb_build_array(jsonb_build_object(
                        'item', of_item, 'value', null, 'strategy', old.strategy));
                end if;
                if how = 'decide' then
                    if old.strategy <> 'review' or of_item = '' then
                        raise exception 'absent' using errcode = 'MB001', detail = '{}';
                    end if;
                    if old.user_id = acting and old.agent_id = acting_agent then
                        raise exception 'own' using errcode = 'MB001', detail = '{}';
                    end if;
                    if (request->>'accept')::boolean then
                        steps := jsonb_build_array(jsonb_build_object(
                            'item', '', 'value', old.value, 'strategy', 'review')) || steps;
                    end if;
                end if;
                ends := clock_timestamp()
                    + make_interval(secs => (request->>'ttl')::double precision);
                for step in select value from jsonb_array_elements(steps) loop
                    size := coalesce(octet_length((step->'value')::text), 0);
                    if last.count + 1 > b.max_events or last.bytes + size > b.max_bytes then
                        raise exception 'budget' using errcode = 'MB001',
                            detail = jsonb_build_object(
                                'max_events', b.max_events, 'max_bytes', b.max_bytes)::text;
                    end if;
                    select * into pending from agent.board_entries e
                    where e.board = of_board and e.level = named and e.key = named_key
                        and e.item = step->>'item';
                    moment := greatest(
                        clock_timestamp(), last.at + interval '1 microsecond');
                    last.seq := last.seq + 1;
                    last.count := last.count + 1;
                    last.bytes := last.bytes + size;
                    last.at := moment;
                    insert into agent.board_events (board, seq, count, bytes, space_id, at,
                        user_id, agent_id, level, key, item, slot, strategy, version, value,
                        expires_at)
                    values (of_board, last.seq, last.count, last.bytes, b.space_id, moment,
                        acting, acting_agent, named, named_key, step->>'item',
                        encode(sha256(convert_to(jsonb_build_array(
                            named, named_key, step->>'item')::text, 'UTF8')), 'hex'),
                        step->>'strategy', coalesce(pending.version, 0) + 1,
                        nullif(step->'value', 'null'), ends);
                    if jsonb_typeof(step->'value') = 'null' then
                        delete from agent.board_entries e where e.board = of_board
                            and e.level = named and e.key = named_key
                            and e.item = step->>'item';
                    else
                        insert into agent.board_entries (board, level, key, item, space_id,
                            user_id, agent_id, strategy, version, seq, first_seq, at, value,
                            expires_at)
                        values (of_board, named, named_key, step->>'item', b.space_id, acting,
                            acting_agent, step->>'strategy', coalesce(pending.version, 0) + 1,
                            last.seq, last.seq, moment, step->'value', ends)
                        on conflict (board, level, key, item) do update set
                            user_id = excluded.user_id, agent_id = excluded.agent_id,
                            strategy = excluded.strategy, version = excluded.version,
                            seq = excluded.seq, at = excluded.at, value = excluded.value,
                            expires_at = excluded.expires_at;
                    end if;
                    if named = 'board' and named_key = 'state' then
                        b.state := step->'value'->>'state';
                        update agent.boards set state = b.state, completed_at = moment
                        where number = of_board;
                    end if;
                    written := array_append(written, jsonb_build_object(
                        'status', 'added', 'seq', last.seq,
                        'version', coalesce(pending.version, 0) + 1));
                end loop;
            end loop;
        exception when sqlstate 'MB001' then
            get stacked diagnostics said = message_text, more = pg_exception_detail;
            insert into agent.board_refusals (board, space_id, user_id, agent_id, reason, level,
                key)
            values (of_board, b.space_id, acting, acting_agent, said, named, named_key);
            return more::jsonb || jsonb_build_object(
                'status', said, 'level', named, 'key', named_key);
        end;
        return jsonb_build_object('status', 'posted', 'results', to_jsonb(written));
    end
    $body$
    """
#: One round trip, and a transaction of its own: waiting requests are numbered first, then these.
POST = """
    create function agent.board_post(
        acting text, acting_agent text, of_board uuid, asked jsonb) returns jsonb
    language plpgsql security definer
    set search_path = pg_catalog
    as $body$
    declare
        b agent.boards;
        may text;
        waiting agent.board_outbox;
        outcome jsonb;
        settled bigint := 0;
        refused bigint := 0;
    begin
        select * into b from agent.boards where id = of_board;
        select g.access into may from agent.grants g
        where g.space_id = b.space_id and g.user_id = acting;
        if may is null then
            return '{"status": "unknown"}';
        end if;
        if may <> 'read_write' then
            if asked is null then
                return '{"status": "posted", "results": [], "settled": 0, "refused": 0}';
            end if;
            insert into agent.board_refusals (board, space_id, user_id, agent_id, reason, level,
                key)
            values (b.number, b.space_id, acting, acting_agent, 'read only',
                coalesce(asked->0->>'level', ''), coalesce(asked->0->>'key', ''));
            return '{"status": "read only"}';
        end if;
        -- The row is not locked until the commit is on disk: the caller waits for that afterwards.
        perform set_config('synchronous_commit', 'off', true);
        -- References to the row of a board wait for no key update.
        perform from agent.boards where number = b.number for no key update;
        for waiting in
            select * from agent.board_outbox o where o.board = b.number order by o.number
            for update skip locked
        loop
            select g.access into may from agent.grants g
            where g.space_id = b.space_id and g.user_id = waiting.user_id;
            if may = 'read_write' then
                outcome := agent.board_append(
                    b.number, waiting.user_id, waiting.agent_id, waiting.requests);
                refused := refused + (outcome->>'status' <> 'posted')::int;
            else
                insert into agent.board_refusals (board, space_id, user_id, agent_id, reason,
                    level, key)
                values (b.number, b.space_id, waiting.user_id, waiting.agent_id, 'read only',
                    coalesce(waiting.requests->0->>'level', ''),
                    coalesce(waiting.requests->0->>'key', ''));
                refused := refused + 1;
            end if;
            settled := settled + 1;
            delete from agent.board_outbox o where o.number = waiting.number;
        end loop;
        outcome := '{"status": "posted", "results": []}';
        if asked is not null then
            outcome := agent.board_append(b.number, acting, acting_agent, asked);
        end if;
        return outcome || jsonb_build_object('settled', settled, 'refused', refused);
    end
    $body$
    """


def upgrade() -> None:
    op.create_table(
        "boards",
        sa.Column("number", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("space_id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False, comment="Who opened it."),
        sa.Column("agent_id", sa.Text(), server_default="", nullable=False),
        sa.Column("goal", sa.Text(), nullable=False, comment="What the agents on it work on."),
        sa.Column("state", sa.Text(), server_default="open", nullable=False),
        sa.Column("max_events", sa.BigInteger(), nullable=False),
        sa.Column("max_bytes", sa.BigInteger(), nullable=False),
        sa.Column(
            "compacted_to",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="States before this event cannot be replayed any more.",
        ),
        sa.Column(
            "opened_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "archive_sha256", sa.Text(), nullable=True, comment="Of its file in the archive."
        ),
        sa.CheckConstraint(
            "state in ('open', 'complete', 'archived')", name=op.f("boards_known_state")
        ),
        sa.ForeignKeyConstraint(
            ["space_id"], ["agent.spaces.id"], name=op.f("boards_space_id_fkey")
        ),
        sa.PrimaryKeyConstraint("number", name=op.f("boards_pkey")),
        sa.UniqueConstraint("id"),
        sa.UniqueConstraint("number", "space_id", name="boards_number_space"),
        schema="agent",
        comment="Boards on which agents work together.",
    )
    op.create_index(
        "boards_space_opened", "boards", ["space_id", "opened_at"], unique=False, schema="agent"
    )
    op.create_index("boards_state", "boards", ["state", "number"], unique=False, schema="agent")
    op.create_table(
        "board_events",
        sa.Column("board", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column(
            "count",
            sa.BigInteger(),
            nullable=False,
            comment="Events of the board up to this one; a compaction takes emptied ones off.",
        ),
        sa.Column(
            "bytes",
            sa.BigInteger(),
            nullable=False,
            comment="Of the values of these events.",
        ),
        sa.Column("space_id", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("agent_id", sa.Text(), server_default="", nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column(
            "item",
            sa.Text(),
            nullable=False,
            comment="Of a key with several values, its digest; '' otherwise.",
        ),
        sa.Column(
            "slot",
            sa.Text(),
            nullable=False,
            comment="sha256 of level, key and item, which outlives their erasure.",
        ),
        sa.Column("strategy", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False, comment="Of the slot, from 1."),
        sa.Column(
            "value",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            nullable=True,
            comment="NULL: removed, erased or compacted.",
        ),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["board", "space_id"],
            ["agent.boards.number", "agent.boards.space_id"],
            name=op.f("board_events_board_fkey"),
            ondelete="cascade",
        ),
        sa.PrimaryKeyConstraint("board", "seq", name=op.f("board_events_pkey")),
        schema="agent",
        comment="What was posted to boards, in one order per board. Rows are only added.",
    )
    op.create_index(
        "board_events_slot", "board_events", ["board", "slot", "seq"], unique=False, schema="agent"
    )
    op.create_table(
        "board_entries",
        sa.Column("board", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("item", sa.Text(), nullable=False),
        sa.Column("space_id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("agent_id", sa.Text(), server_default="", nullable=False),
        sa.Column("strategy", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False, comment="Of the event that wrote it."),
        sa.Column("first_seq", sa.BigInteger(), nullable=False, comment="Of the first one."),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("value", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["board", "space_id"],
            ["agent.boards.number", "agent.boards.space_id"],
            name=op.f("board_entries_board_fkey"),
            ondelete="cascade",
        ),
        sa.PrimaryKeyConstraint("board", "level", "key", "item", name=op.f("board_entries_pkey")),
        schema="agent",
        comment="What boards hold now; computed from their events.",
    )
    op.create_table(
        "board_private",
        sa.Column("board", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("slot", sa.Text(), nullable=False, comment="sha256 of user, agent and key."),
        sa.Column("space_id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("agent_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column(
            "written_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["board", "space_id"],
            ["agent.boards.number", "agent.boards.space_id"],
            name=op.f("board_private_board_fkey"),
            ondelete="cascade",
        ),
        sa.PrimaryKeyConstraint("board", "slot", name=op.f("board_private_pkey")),
        schema="agent",
        comment="What an agent keeps for itself on a board; nobody else sees it.",
    )
    op.create_table(
        "board_outbox",
        sa.Column("number", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("board", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("space_id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("agent_id", sa.Text(), server_default="", nullable=False),
        sa.Column("requests", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column(
            "posted_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["board", "space_id"],
            ["agent.boards.number", "agent.boards.space_id"],
            name=op.f("board_outbox_board_fkey"),
            ondelete="cascade",
        ),
        sa.PrimaryKeyConstraint("number", name=op.f("board_outbox_pkey")),
        schema="agent",
        comment="Requests that were posted in transactions of callers, until they are numbered.",
    )
    op.create_index(
        "board_outbox_board", "board_outbox", ["board", "number"], unique=False, schema="agent"
    )
    op.create_table(
        "board_refusals",
        sa.Column("number", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("board", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("space_id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("agent_id", sa.Text(), server_default="", nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column(
            "refused_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["board", "space_id"],
            ["agent.boards.number", "agent.boards.space_id"],
            name=op.f("board_refusals_board_fkey"),
            ondelete="cascade",
        ),
        sa.PrimaryKeyConstraint("number", name=op.f("board_refusals_pkey")),
        schema="agent",
        comment="Writes that boards refused, without their values.",
    )
    op.create_index(
        "board_refusals_board", "board_refusals", ["board", "number"], unique=False, schema="agent"
    )

    for function in (APPEND, POST):
        op.execute(sa.text(function.replace(":", r"\:")))
    # Services post by the other one.
    op.execute("revoke all on function agent.board_append(bigint, text, text, jsonb) from public")


def downgrade() -> None:
    op.execute("drop function agent.board_post(text, text, uuid, jsonb)")
    op.execute("drop function agent.board_append(bigint, text, text, jsonb)")
    for table in TABLES:
        op.drop_table(table, schema="agent")
