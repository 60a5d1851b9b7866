"""the tables of memOS: adopted where some of them are.

Revision: 0004, after 0003.
"""

import pgvector.sqlalchemy
import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from memos_assets.postgres.application import adoption
from memos_assets.postgres.application.found_tables import find_table
from memos_assets.postgres.application.presence import application_is_there

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

OPS = "memos_ops"
APPLICATION = "public"


def _json(name: str) -> sa.Column[object]:
    return sa.Column(name, postgresql.JSONB(none_as_null=True))


def _moment(name: str, *, nullable: bool = True) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(), nullable=nullable, comment="UTC")


#: Tables and their columns. The first one is the key; a table comes after those that it names.
def _tables() -> dict[str, tuple[sa.Column[object], ...]]:
    return {
        "memories": (
            sa.Column("id", sa.Uuid(), nullable=False),
            sa.Column("user_id", sa.String(255), nullable=False),
            sa.Column("content_hash", sa.String(64), nullable=False),
            sa.Column("encrypted_content", sa.LargeBinary(), nullable=False),
            sa.Column("content_summary", sa.Text()),
            sa.Column("memory_type", sa.String(50), nullable=False),
            sa.Column("privacy_level", sa.String(50), nullable=False),
            sa.Column("embedding_vector", pgvector.sqlalchemy.VECTOR(1024)),
            sa.Column("embedding_model", sa.String(100)),
            sa.Column("recovery_stage", sa.String(50)),
            sa.Column("therapeutic_relevance", sa.Double()),
            sa.Column("crisis_level", sa.Double()),
            sa.Column("source_conversation_id", sa.String(255)),
            _json("tags"),
            _json("entities"),
            _moment("created_at", nullable=False),
            _moment("updated_at"),
            _moment("accessed_at"),
            _moment("expires_at"),
            sa.Column("consent_given", sa.Boolean(), nullable=False),
            _moment("consent_date"),
            sa.Column("retention_policy", sa.String(50)),
            sa.Column("relevance_score", sa.Double()),
            sa.Column("quality_score", sa.Double()),
            sa.Column("access_count", sa.Integer()),
            sa.Column("is_deleted", sa.Boolean()),
            _moment("deleted_at"),
            sa.Column("deletion_reason", sa.String(255)),
        ),
        "quests": (
            sa.Column("id", sa.Uuid(), nullable=False),
            sa.Column("title", sa.String(255), nullable=False),
            sa.Column("description", sa.Text()),
            sa.Column("category", sa.String(50), nullable=False),
            sa.Column("points", sa.Integer()),
            sa.Column("min_recovery_stage", sa.String(50)),
            sa.Column("max_active_days", sa.Integer()),
            sa.Column("cooldown_hours", sa.Integer()),
            _json("prerequisites"),
            sa.Column("verification_type", sa.String(50)),
            _json("quest_metadata"),
            sa.Column("is_active", sa.Boolean()),
            _moment("created_at"),
            _moment("updated_at"),
        ),
        "quest_tasks": (
            sa.Column("id", sa.Uuid(), nullable=False),
            sa.Column("quest_id", sa.Uuid()),
            sa.Column("title", sa.String(255), nullable=False),
            sa.Column("description", sa.Text()),
            sa.Column("order_index", sa.Integer(), nullable=False),
            sa.Column("is_required", sa.Boolean()),
            _json("verification_data"),
            _moment("created_at"),
        ),
        "user_quests": (
            sa.Column("id", sa.Uuid(), nullable=False),
            sa.Column("user_id", sa.String(255), nullable=False),
            sa.Column("quest_id", sa.Uuid()),
            sa.Column("state", sa.String(50), nullable=False),
            _moment("started_at", nullable=False),
            _moment("completed_at"),
            _moment("verified_at"),
            sa.Column("verified_by", sa.String(255)),
            _json("progress_data"),
            sa.Column("points_earned", sa.Integer()),
        ),
        "user_tasks": (
            sa.Column("id", sa.Uuid(), nullable=False),
            sa.Column("user_quest_id", sa.Uuid()),
            sa.Column("task_id", sa.Uuid()),
            sa.Column("user_id", sa.String(255), nullable=False),
            sa.Column("state", sa.String(50), nullable=False),
            _moment("completed_at"),
            _json("evidence_data"),
            _moment("created_at"),
        ),
        "achievements": (
            sa.Column("id", sa.Uuid(), nullable=False),
            sa.Column("title", sa.String(255), nullable=False),
            sa.Column("description", sa.Text()),
            sa.Column("icon_url", sa.String(500)),
            sa.Column("category", sa.String(50)),
            sa.Column("criteria_type", sa.String(50)),
            sa.Column("criteria_value", sa.Integer()),
            _json("criteria_data"),
            sa.Column("badge_color", sa.String(7)),
            sa.Column("is_active", sa.Boolean()),
            _moment("created_at"),
        ),
        "user_achievements": (
            sa.Column("id", sa.Uuid(), nullable=False),
            sa.Column("user_id", sa.String(255), nullable=False),
            sa.Column("achievement_id", sa.Uuid()),
            _moment("earned_at", nullable=False),
            sa.Column("points_awarded", sa.Integer()),
        ),
        "user_quest_stats": (
            sa.Column("user_id", sa.String(255), nullable=False),
            sa.Column("total_points", sa.Integer()),
            sa.Column("current_streak_days", sa.Integer()),
            sa.Column("longest_streak_days", sa.Integer()),
            sa.Column("last_activity_date", sa.Date()),
            sa.Column("total_quests_completed", sa.Integer()),
            sa.Column("level", sa.String(50)),
            sa.Column("weekly_points", sa.Integer()),
            sa.Column("monthly_points", sa.Integer()),
            _moment("created_at"),
            _moment("updated_at"),
        ),
        "user_memory_settings": (
            sa.Column("user_id", sa.String(255), nullable=False),
            sa.Column("memory_enabled", sa.Boolean(), nullable=False),
            sa.Column("max_memories", sa.Integer()),
            sa.Column("retention_days", sa.Integer()),
            sa.Column("default_privacy_level", sa.String(50)),
            sa.Column("auto_consent", sa.Boolean()),
            sa.Column("allow_clinical_memories", sa.Boolean()),
            sa.Column("allow_crisis_detection", sa.Boolean()),
            sa.Column("recovery_stage", sa.String(50)),
            _json("therapy_goals"),
            _json("crisis_contacts"),
            sa.Column("retrieval_depth", sa.Double()),
            sa.Column("semantic_threshold", sa.Double()),
            sa.Column("include_low_relevance", sa.Boolean()),
            sa.Column("allow_care_team_access", sa.Boolean()),
            _json("care_team_members"),
            sa.Column("family_sharing_enabled", sa.Boolean()),
            sa.Column("offline_sync_enabled", sa.Boolean()),
            sa.Column("push_notifications", sa.Boolean()),
            sa.Column("memory_insights_enabled", sa.Boolean()),
            sa.Column("settings_version", sa.Integer()),
            _moment("last_consent_date"),
            sa.Column("consent_document_version", sa.String(50)),
            _moment("created_at", nullable=False),
            _moment("updated_at"),
            _moment("last_accessed"),
        ),
        "ollama_model_specs": (
            sa.Column("id", sa.Uuid(), nullable=False),
            sa.Column("model_name", sa.String(255), nullable=False),
            sa.Column("base_model", sa.String(100), nullable=False),
            sa.Column("variant", sa.String(50)),
            sa.Column("parameter_count", sa.Double()),
            sa.Column("file_size_gb", sa.Double()),
            sa.Column("vram_min_gb", sa.Double()),
            sa.Column("vram_recommended_gb", sa.Double()),
            sa.Column("context_window", sa.Integer()),
            sa.Column("context_window_extended", sa.Integer()),
            _json("capabilities"),
            sa.Column("specialization", sa.String(100)),
            sa.Column("speed_tier", sa.String(20)),
            sa.Column("quantization", sa.String(50)),
            sa.Column("description", sa.Text()),
            sa.Column("architecture", sa.String(100)),
            sa.Column("license", sa.String(100)),
            sa.Column("multimodal", sa.Boolean()),
            sa.Column("vision", sa.Boolean()),
            _json("tags"),
            sa.Column("source_url", sa.String(500)),
            _moment("last_scraped"),
            sa.Column("scrape_successful", sa.Boolean()),
            _moment("created_at"),
            _moment("updated_at"),
        ),
    }


#: Table -> (column, what it names, what happens to the row when that goes).
LINKS: dict[str, tuple[tuple[str, str, str | None], ...]] = {
    "quest_tasks": (("quest_id", "quests", "CASCADE"),),
    "user_quests": (("quest_id", "quests", None),),
    "user_tasks": (
        ("user_quest_id", "user_quests", "CASCADE"),
        ("task_id", "quest_tasks", None),
    ),
    "user_achievements": (("achievement_id", "achievements", None),),
}
INDEXES: dict[str, tuple[tuple[str, str], ...]] = {
    "memories": (
        ("idx_memories_crisis_level", "(crisis_level desc) where crisis_level > 0"),
        ("idx_memories_recovery_stage", "(recovery_stage) where recovery_stage IS NOT NULL"),
        (
            "idx_memories_therapeutic_relevance",
            "(therapeutic_relevance desc) where is_deleted = false",
        ),
        ("idx_memories_type_privacy", "(memory_type, privacy_level) where is_deleted = false"),
        ("idx_memories_user_created", "(user_id, created_at desc)"),
        ("ix_memories_user_id", "(user_id)"),
    ),
    "quests": (("idx_quests_category", "(category) where is_active = true"),),
    "user_quests": (
        ("idx_user_quests_completed", "(completed_at) where completed_at IS NOT NULL"),
        ("idx_user_quests_user_state", "(user_id, state)"),
        ("ix_user_quests_user_id", "(user_id)"),
    ),
    "user_tasks": (
        ("idx_user_tasks_state", "(user_id, state)"),
        ("ix_user_tasks_user_id", "(user_id)"),
    ),
    "user_achievements": (
        ("idx_user_achievements_user", "(user_id)"),
        ("ix_user_achievements_user_id", "(user_id)"),
    ),
    "user_quest_stats": (("idx_user_quest_stats_points", "(total_points desc)"),),
    "user_memory_settings": (("idx_user_settings_enabled", "(memory_enabled, updated_at desc)"),),
    "ollama_model_specs": (
        ("ix_ollama_model_specs_base_model", "(base_model)"),
        ("ix_ollama_model_specs_model_name", "(model_name)"),
    ),
}
UNIQUE = frozenset({"ix_ollama_model_specs_model_name"})

#: Search indexes are assets, built after this revision; a column cannot be json again under them.
ASSET_INDEXES = ("memories_embedding_vector_hnsw", "memories_tags_gin", "memories_entities_gin")


def _create_books() -> None:
    op.create_table(
        "application_tables",
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("adopted", sa.Boolean(), nullable=False, comment="memOS made it; else we did."),
        sa.Column(
            "converted",
            postgresql.ARRAY(sa.Text()),
            nullable=False,
            comment="Columns that were json before.",
        ),
        sa.Column(
            "indexes",
            postgresql.ARRAY(sa.Text()),
            nullable=False,
            comment="Its indexes, that of its key too.",
        ),
        sa.Column("rows_when_adopted", sa.BigInteger(), nullable=False),
        sa.Column(
            "digest_when_adopted",
            sa.Text(),
            nullable=False,
            comment="Of all values of all rows, JSON as it was to become.",
        ),
        sa.Column("digest_after", sa.Text(), nullable=False, comment="The same, read after it."),
        sa.Column(
            "originals",
            sa.BigInteger(),
            nullable=False,
            comment="Kept in json_originals meanwhile.",
        ),
        sa.Column(
            "adopted_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("table_name", name=op.f("application_tables_pkey")),
        schema=OPS,
        comment="Tables of memOS in schema public: found and adopted, or created.",
    )
    op.create_table(
        "json_originals",
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("column_name", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False, comment="Of the row, as text."),
        sa.Column("original", sa.Text(), nullable=False, comment="The json as it was spelt."),
        sa.Column("converted", postgresql.JSONB(), nullable=False, comment="What it became."),
        sa.PrimaryKeyConstraint(
            "table_name", "column_name", "key", name=op.f("json_originals_pkey")
        ),
        schema=OPS,
        comment="JSON of memOS whose spelling jsonb does not keep; a downgrade gives it back.",
    )


def _create(table: str, columns: tuple[sa.Column[object], ...]) -> None:
    links = [
        sa.ForeignKeyConstraint(
            [column],
            [f"{APPLICATION}.{named}.id"],
            name=op.f(f"{table}_{column}_fkey"),
            ondelete=when_deleted,
        )
        for column, named, when_deleted in LINKS.get(table, ())
    ]
    op.create_table(
        table,
        *columns,
        sa.PrimaryKeyConstraint(columns[0].name, name=op.f(f"{table}_pkey")),
        *links,
        schema=APPLICATION,
    )
    for name, what in INDEXES.get(table, ()):
        unique = "unique " if name in UNIQUE else ""
        op.execute(f"create {unique}index {name} on {APPLICATION}.{table} {what}")


def upgrade() -> None:
    conn = op.get_bind()
    tables = _tables()
    _create_books()
    if not application_is_there(conn):
        # On request they are created after the last revision, as are those that come later.
        return
    with adoption.adopting(conn, list(tables)):
        for name, columns in tables.items():
            found = find_table(conn, name)
            if found is not None:
                adoption.adopt(conn, found, columns)
            else:
                _create(name, columns)
                adoption.record_created(conn, name)


def downgrade() -> None:
    conn = op.get_bind()
    tables = _tables()
    with adoption.adopting(conn, list(tables)):
        for index in ASSET_INDEXES:
            op.execute(f"drop index if exists {APPLICATION}.{index}")
        adoption.give_back(conn, tables)
    for book in ("json_originals", "application_tables"):
        op.drop_table(book, schema=OPS)
