"""memOS's own database as its dump of 2026-01-01 has it, before anything of ours is there.

Written out by hand, apart from the catalog: the catalog is compared with this.
"""

TABLES = """
create table public.achievements (
    id uuid not null, title character varying(255) not null, description text,
    icon_url character varying(500), category character varying(50),
    criteria_type character varying(50), criteria_value integer, criteria_data json,
    badge_color character varying(7), is_active boolean, created_at timestamp without time zone
);
create table public.alembic_version (version_num character varying(32) not null);
create table public.mem0 (id uuid not null, vector vector(1536), payload jsonb);
create table public.mem0migrations (id uuid not null, vector vector(1536), payload jsonb);
create table public.memories (
    id uuid not null, user_id character varying(255) not null,
    content_hash character varying(64) not null, encrypted_content bytea not null,
    content_summary text, memory_type character varying(50) not null,
    privacy_level character varying(50) not null, embedding_vector vector(1024),
    embedding_model character varying(100), recovery_stage character varying(50),
    therapeutic_relevance double precision, crisis_level double precision,
    source_conversation_id character varying(255), tags json, entities json,
    created_at timestamp without time zone not null, updated_at timestamp without time zone,
    accessed_at timestamp without time zone, expires_at timestamp without time zone,
    consent_given boolean not null, consent_date timestamp without time zone,
    retention_policy character varying(50), relevance_score double precision,
    quality_score double precision, access_count integer, is_deleted boolean,
    deleted_at timestamp without time zone, deletion_reason character varying(255)
);
create table public.ollama_model_specs (
    id uuid not null, model_name character varying(255) not null,
    base_model character varying(100) not null, variant character varying(50),
    parameter_count double precision, file_size_gb double precision,
    vram_min_gb double precision, vram_recommended_gb double precision, context_window integer,
    context_window_extended integer, capabilities json, specialization character varying(100),
    speed_tier character varying(20), quantization character varying(50), description text,
    architecture character varying(100), license character varying(100), multimodal boolean,
    vision boolean, tags json, source_url character varying(500),
    last_scraped timestamp without time zone, scrape_successful boolean,
    created_at timestamp without time zone, updated_at timestamp without time zone
);
create table public.quest_tasks (
    id uuid not null, quest_id uuid, title character varying(255) not null, description text,
    order_index integer not null, is_required boolean, verification_data json,
    created_at timestamp without time zone
);
create table public.quests (
    id uuid not null, title character varying(255) not null, description text,
    category character varying(50) not null, points integer,
    min_recovery_stage character varying(50), max_active_days integer, cooldown_hours integer,
    prerequisites json, verification_type character varying(50), quest_metadata json,
    is_active boolean, created_at timestamp without time zone,
    updated_at timestamp without time zone
);
create table public.user_achievements (
    id uuid not null, user_id character varying(255) not null, achievement_id uuid,
    earned_at timestamp without time zone not null, points_awarded integer
);
create table public.user_memory_settings (
    user_id character varying(255) not null, memory_enabled boolean not null,
    max_memories integer, retention_days integer, default_privacy_level character varying(50),
    auto_consent boolean, allow_clinical_memories boolean, allow_crisis_detection boolean,
    recovery_stage character varying(50), therapy_goals json, crisis_contacts json,
    retrieval_depth double precision, semantic_threshold double precision,
    include_low_relevance boolean, allow_care_team_access boolean, care_team_members json,
    family_sharing_enabled boolean, offline_sync_enabled boolean, push_notifications boolean,
    memory_insights_enabled boolean, settings_version integer,
    last_consent_date timestamp without time zone, consent_document_version character varying(50),
    created_at timestamp without time zone not null, updated_at timestamp without time zone,
    last_accessed timestamp without time zone
);
create table public.user_quest_stats (
    user_id character varying(255) not null, total_points integer, current_streak_days integer,
    longest_streak_days integer, last_activity_date date, total_quests_completed integer,
    level character varying(50), weekly_points integer, monthly_points integer,
    created_at timestamp without time zone, updated_at timestamp without time zone
);
create table public.user_quests (
    id uuid not null, user_id character varying(255) not null, quest_id uuid,
    state character varying(50) not null, started_at timestamp without time zone not null,
    completed_at timestamp without time zone, verified_at timestamp without time zone,
    verified_by character varying(255), progress_data json, points_earned integer
);
create table public.user_tasks (
    id uuid not null, user_quest_id uuid, task_id uuid, user_id character varying(255) not null,
    state character varying(50) not null, completed_at timestamp without time zone,
    evidence_data json, created_at timestamp without time zone
);
"""

KEYS = """
alter table only public.achievements add constraint achievements_pkey primary key (id);
alter table only public.alembic_version
    add constraint alembic_version_pkc primary key (version_num);
alter table only public.mem0 add constraint mem0_pkey primary key (id);
alter table only public.mem0migrations add constraint mem0migrations_pkey primary key (id);
alter table only public.memories add constraint memories_pkey primary key (id);
alter table only public.ollama_model_specs add constraint ollama_model_specs_pkey primary key (id);
alter table only public.quest_tasks add constraint quest_tasks_pkey primary key (id);
alter table only public.quests add constraint quests_pkey primary key (id);
alter table only public.user_achievements add constraint user_achievements_pkey primary key (id);
alter table only public.user_memory_settings
    add constraint user_memory_settings_pkey primary key (user_id);
alter table only public.user_quest_stats add constraint user_quest_stats_pkey primary key (user_id);
alter table only public.user_quests add constraint user_quests_pkey primary key (id);
alter table only public.user_tasks add constraint user_tasks_pkey primary key (id);
alter table only public.quest_tasks add constraint quest_tasks_quest_id_fkey
    foreign key (quest_id) references public.quests(id) on delete cascade;
alter table only public.user_achievements add constraint user_achievements_achievement_id_fkey
    foreign key (achievement_id) references public.achievements(id);
alter table only public.user_quests add constraint user_quests_quest_id_fkey
    foreign key (quest_id) references public.quests(id);
alter table only public.user_tasks add constraint user_tasks_task_id_fkey
    foreign key (task_id) references public.quest_tasks(id);
alter table only public.user_tasks add constraint user_tasks_user_quest_id_fkey
    foreign key (user_quest_id) references public.user_quests(id) on delete cascade;
"""

INDEXES = """
create index idx_memories_crisis_level on public.memories (crisis_level desc)
    where (crisis_level > (0)::double precision);
create index idx_memories_recovery_stage on public.memories (recovery_stage)
    where (recovery_stage is not null);
create index idx_memories_therapeutic_relevance on public.memories (therapeutic_relevance desc)
    where (is_deleted = false);
create index idx_memories_type_privacy on public.memories (memory_type, privacy_level)
    where (is_deleted = false);
create index idx_memories_user_created on public.memories (user_id, created_at desc);
create index idx_quests_category on public.quests (category) where (is_active = true);
create index idx_user_achievements_user on public.user_achievements (user_id);
create index idx_user_quest_stats_points on public.user_quest_stats (total_points desc);
create index idx_user_quests_completed on public.user_quests (completed_at)
    where (completed_at is not null);
create index idx_user_quests_user_state on public.user_quests (user_id, state);
create index idx_user_settings_enabled
    on public.user_memory_settings (memory_enabled, updated_at desc);
create index idx_user_tasks_state on public.user_tasks (user_id, state);
create index ix_memories_user_id on public.memories (user_id);
create index ix_ollama_model_specs_base_model on public.ollama_model_specs (base_model);
create unique index ix_ollama_model_specs_model_name on public.ollama_model_specs (model_name);
create index ix_user_achievements_user_id on public.user_achievements (user_id);
create index ix_user_quests_user_id on public.user_quests (user_id);
create index ix_user_tasks_user_id on public.user_tasks (user_id);
"""

FUNCTIONS = """
create function public.audit_memory_changes() returns trigger language plpgsql as $$
begin
    insert into audit_logs (table_name, operation, row_id) values (tg_table_name, tg_op, new.id);
    return new;
end $$;
create function public.calculate_memory_decay(
    created_at timestamp without time zone, importance double precision default 0.5,
    is_milestone boolean default false
) returns double precision language plpgsql immutable as $$
declare days double precision := extract(epoch from now() - created_at) / 86400;
begin
    return least(1, exp(-days / 7) * (1 + 2 * importance)
        * case when is_milestone then 10 else 1 end
        * case when days < 30 then 1.5 when days > 365 then 0.5 else 1 end);
end $$;
create function public.calculate_memory_similarity(
    one vector, other vector, stage text default 'maintenance', weight double precision default 1
) returns double precision language plpgsql immutable as $$
begin
    return (one <=> other) * weight * case stage
        when 'crisis' then 1.2 when 'early_recovery' then 1.1 else 0.9 end;
end $$;
create function public.search_therapeutic_memories(
    asked_user text, query vector, stage text default 'maintenance',
    types text[] default array['conversational', 'recovery'], most integer default 10,
    min_similarity double precision default 0.7
) returns table (memory_id uuid, score double precision) language plpgsql as $$
begin
    return query
    select m.id, calculate_memory_similarity(m.embedding_vector, query, stage, 1)
        * m.therapeutic_relevance * calculate_memory_decay(m.created_at, 0.5, false) as score
    from memories m
    where m.user_id = asked_user and m.memory_type = any(types) and not m.is_deleted
    order by score desc limit most;
end $$;
"""
