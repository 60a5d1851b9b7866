"""The tables of memOS's own PostgreSQL database, which are adopted where they are.

They stay in schema ``public`` under their names, because memOS goes on reading and writing them.
What memOS declared as ``json`` is ``jsonb`` after the adoption; all other types are memOS's. Its
time stamps are naive and mean UTC. The tables of Mem0 and memOS's ``alembic_version`` in the same
schema are not described here, and never touched.

Source: a dump of memOS's database, PostgreSQL 16.9, of 2026-01-01.
"""

from memos_assets.catalog.application import (
    ApplicationColumn,
    ApplicationIndex,
    ApplicationTable,
)
from memos_assets.catalog.columns import MXBAI, VectorIndex


def _needed(name: str, kind: str, length: int | None = None) -> ApplicationColumn:
    return ApplicationColumn(name, kind, length, nullable=False)


def _string(name: str, length: int = 50) -> ApplicationColumn:
    return ApplicationColumn(name, "string", length)


def _many(kind: str, *names: str) -> tuple[ApplicationColumn, ...]:
    return tuple(ApplicationColumn(name, kind) for name in names)


def _names(name: str, table: str, *, cascade: bool = False) -> ApplicationColumn:
    return ApplicationColumn(name, "uuid", references=table, cascade=cascade)


#: Rows that memOS itself would show; its time stamps are UTC without saying so.
_SHOWN = (
    "is_deleted is not true and consent_given "
    "and (expires_at is null or expires_at > (now() at time zone 'utc'))"
)

MEMORIES = ApplicationTable(
    "memories",
    (
        _needed("id", "uuid"),
        _needed("user_id", "string", 255),
        _needed("content_hash", "string", 64),
        _needed("encrypted_content", "bytes"),
        *_many("text", "content_summary"),
        _needed("memory_type", "string", 50),
        _needed("privacy_level", "string", 50),
        ApplicationColumn("embedding_vector", "vector", 1_024),
        _string("embedding_model", 100),
        _string("recovery_stage"),
        *_many("double", "therapeutic_relevance", "crisis_level"),
        _string("source_conversation_id", 255),
        *_many("json", "tags", "entities"),
        _needed("created_at", "moment"),
        *_many("moment", "updated_at", "accessed_at", "expires_at"),
        _needed("consent_given", "boolean"),
        *_many("moment", "consent_date"),
        _string("retention_policy"),
        *_many("double", "relevance_score", "quality_score"),
        *_many("integer", "access_count"),
        *_many("boolean", "is_deleted"),
        *_many("moment", "deleted_at"),
        _string("deletion_reason", 255),
    ),
    "What memOS remembers of its users: encrypted content, a readable summary, an embedding.",
    (
        ApplicationIndex("ix_memories_user_id", ("user_id",)),
        ApplicationIndex("idx_memories_user_created", ("user_id", "created_at desc")),
        ApplicationIndex(
            "idx_memories_type_privacy", ("memory_type", "privacy_level"), "is_deleted = false"
        ),
        ApplicationIndex(
            "idx_memories_recovery_stage", ("recovery_stage",), "recovery_stage IS NOT NULL"
        ),
        ApplicationIndex(
            "idx_memories_therapeutic_relevance",
            ("therapeutic_relevance desc",),
            "is_deleted = false",
        ),
        ApplicationIndex("idx_memories_crisis_level", ("crisis_level desc",), "crisis_level > 0"),
    ),
    contained=("tags", "entities"),
    vector_indexes=(
        VectorIndex(
            "memories",
            "embedding_vector",
            "vector",
            1_024,
            "vector",
            models=MXBAI,
            dimension_name=None,
        ),
    ),
    owner="user_id",
    texts=("content_summary",),
    details="entities",
    condition=_SHOWN,
)

QUESTS = ApplicationTable(
    "quests",
    (
        _needed("id", "uuid"),
        _needed("title", "string", 255),
        *_many("text", "description"),
        _needed("category", "string", 50),
        *_many("integer", "points"),
        _string("min_recovery_stage"),
        *_many("integer", "max_active_days", "cooldown_hours"),
        *_many("json", "prerequisites"),
        _string("verification_type"),
        *_many("json", "quest_metadata"),
        *_many("boolean", "is_active"),
        *_many("moment", "created_at", "updated_at"),
    ),
    "Quests that users may take on.",
    (ApplicationIndex("idx_quests_category", ("category",), "is_active = true"),),
)

QUEST_TASKS = ApplicationTable(
    "quest_tasks",
    (
        _needed("id", "uuid"),
        _names("quest_id", "quests", cascade=True),
        _needed("title", "string", 255),
        *_many("text", "description"),
        _needed("order_index", "integer"),
        *_many("boolean", "is_required"),
        *_many("json", "verification_data"),
        *_many("moment", "created_at"),
    ),
    "What a quest asks for, step by step.",
)

USER_QUESTS = ApplicationTable(
    "user_quests",
    (
        _needed("id", "uuid"),
        _needed("user_id", "string", 255),
        _names("quest_id", "quests"),
        _needed("state", "string", 50),
        _needed("started_at", "moment"),
        *_many("moment", "completed_at", "verified_at"),
        _string("verified_by", 255),
        *_many("json", "progress_data"),
        *_many("integer", "points_earned"),
    ),
    "Quests that users have taken on, and how far they are.",
    (
        ApplicationIndex(
            "idx_user_quests_completed", ("completed_at",), "completed_at IS NOT NULL"
        ),
        ApplicationIndex("idx_user_quests_user_state", ("user_id", "state")),
        ApplicationIndex("ix_user_quests_user_id", ("user_id",)),
    ),
)

USER_TASKS = ApplicationTable(
    "user_tasks",
    (
        _needed("id", "uuid"),
        _names("user_quest_id", "user_quests", cascade=True),
        _names("task_id", "quest_tasks"),
        _needed("user_id", "string", 255),
        _needed("state", "string", 50),
        *_many("moment", "completed_at"),
        *_many("json", "evidence_data"),
        *_many("moment", "created_at"),
    ),
    "Steps of quests that users have done, with their evidence.",
    (
        ApplicationIndex("idx_user_tasks_state", ("user_id", "state")),
        ApplicationIndex("ix_user_tasks_user_id", ("user_id",)),
    ),
)

ACHIEVEMENTS = ApplicationTable(
    "achievements",
    (
        _needed("id", "uuid"),
        _needed("title", "string", 255),
        *_many("text", "description"),
        _string("icon_url", 500),
        _string("category"),
        _string("criteria_type"),
        *_many("integer", "criteria_value"),
        *_many("json", "criteria_data"),
        _string("badge_color", 7),
        *_many("boolean", "is_active"),
        *_many("moment", "created_at"),
    ),
    "What users can earn.",
)

USER_ACHIEVEMENTS = ApplicationTable(
    "user_achievements",
    (
        _needed("id", "uuid"),
        _needed("user_id", "string", 255),
        _names("achievement_id", "achievements"),
        _needed("earned_at", "moment"),
        *_many("integer", "points_awarded"),
    ),
    "What users have earned.",
    (
        ApplicationIndex("idx_user_achievements_user", ("user_id",)),
        ApplicationIndex("ix_user_achievements_user_id", ("user_id",)),
    ),
)

USER_QUEST_STATS = ApplicationTable(
    "user_quest_stats",
    (
        _needed("user_id", "string", 255),
        *_many("integer", "total_points", "current_streak_days", "longest_streak_days"),
        *_many("date", "last_activity_date"),
        *_many("integer", "total_quests_completed"),
        _string("level"),
        *_many("integer", "weekly_points", "monthly_points"),
        *_many("moment", "created_at", "updated_at"),
    ),
    "Points, streaks and levels of users.",
    (ApplicationIndex("idx_user_quest_stats_points", ("total_points desc",)),),
)

USER_MEMORY_SETTINGS = ApplicationTable(
    "user_memory_settings",
    (
        _needed("user_id", "string", 255),
        _needed("memory_enabled", "boolean"),
        *_many("integer", "max_memories", "retention_days"),
        _string("default_privacy_level"),
        *_many("boolean", "auto_consent", "allow_clinical_memories", "allow_crisis_detection"),
        _string("recovery_stage"),
        *_many("json", "therapy_goals", "crisis_contacts"),
        *_many("double", "retrieval_depth", "semantic_threshold"),
        *_many("boolean", "include_low_relevance", "allow_care_team_access"),
        *_many("json", "care_team_members"),
        *_many("boolean", "family_sharing_enabled", "offline_sync_enabled"),
        *_many("boolean", "push_notifications", "memory_insights_enabled"),
        *_many("integer", "settings_version"),
        *_many("moment", "last_consent_date"),
        _string("consent_document_version"),
        _needed("created_at", "moment"),
        *_many("moment", "updated_at", "last_accessed"),
    ),
    "What users allow memOS to remember.",
    (ApplicationIndex("idx_user_settings_enabled", ("memory_enabled", "updated_at desc")),),
)

OLLAMA_MODEL_SPECS = ApplicationTable(
    "ollama_model_specs",
    (
        _needed("id", "uuid"),
        _needed("model_name", "string", 255),
        _needed("base_model", "string", 100),
        _string("variant"),
        *_many("double", "parameter_count", "file_size_gb", "vram_min_gb", "vram_recommended_gb"),
        *_many("integer", "context_window", "context_window_extended"),
        *_many("json", "capabilities"),
        _string("specialization", 100),
        _string("speed_tier", 20),
        _string("quantization"),
        *_many("text", "description"),
        _string("architecture", 100),
        _string("license", 100),
        *_many("boolean", "multimodal", "vision"),
        *_many("json", "tags"),
        _string("source_url", 500),
        *_many("moment", "last_scraped"),
        *_many("boolean", "scrape_successful"),
        *_many("moment", "created_at", "updated_at"),
    ),
    "Models that Ollama offers, as scraped.",
    (
        ApplicationIndex("ix_ollama_model_specs_model_name", ("model_name",), unique=True),
        ApplicationIndex("ix_ollama_model_specs_base_model", ("base_model",)),
    ),
)

#: Asset of the UI -> the tables that it is about; one that others name comes before them.
APPLICATION_ASSETS: dict[str, tuple[ApplicationTable, ...]] = {
    "memories": (MEMORIES, USER_MEMORY_SETTINGS),
    "quests": (
        QUESTS,
        QUEST_TASKS,
        USER_QUESTS,
        USER_TASKS,
        ACHIEVEMENTS,
        USER_ACHIEVEMENTS,
        USER_QUEST_STATS,
    ),
    "model_specs": (OLLAMA_MODEL_SPECS,),
}
