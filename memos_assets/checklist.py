"""The checklist: the checks of every room, in the order of their numbers.

Numbers are stable, because docs, reports and people cite them. A check is defined in its room.
"""

from memos_assets.blackboard import checks as blackboard
from memos_assets.cache import checks as cache
from memos_assets.check import Checklist
from memos_assets.consolidate.archive import checks as archive
from memos_assets.consolidate.archive import use_checks as use_of_archive
from memos_assets.consolidate.sources import checks as sources
from memos_assets.maintenance import checks as maintenance
from memos_assets.memory import (
    graph_checks,
    model_checks,
    quality_checks,
    restart_checks,
    seed_checks,
    time_checks,
    wall_checks,
    word_checks,
)
from memos_assets.memory.service import checks as memory_service
from memos_assets.memory.service import trial_checks as service_trial
from memos_assets.postgres.application import checks as application
from memos_assets.postgres.versions import checks as versions
from memos_assets.proof.channel import checks as proof_channel
from memos_assets.proof.rows import checks as proof_rows
from memos_assets.proof.rows import loaded as proof_loaded
from memos_assets.proof.search import checks as proof_search
from memos_assets.proof.shape import checks as proof_shape
from memos_assets.research import checks as research
from memos_assets.search import checks as search
from memos_assets.session_rules import checks as session_rules
from memos_assets.snapshots import checks as snapshots

CHECKLIST = Checklist.gather(
    application.CHECKS,
    versions.CHECKS,
    search.CHECKS,
    archive.CHECKS,
    use_of_archive.CHECKS,
    sources.CHECKS,
    proof_channel.CHECKS,
    proof_rows.CHECKS,
    proof_loaded.CHECKS,
    proof_shape.CHECKS,
    proof_search.CHECKS,
    maintenance.CHECKS,
    wall_checks.CHECKS,
    time_checks.CHECKS,
    word_checks.CHECKS,
    graph_checks.CHECKS,
    seed_checks.CHECKS,
    quality_checks.CHECKS,
    model_checks.CHECKS,
    session_rules.CHECKS,
    memory_service.CHECKS,
    service_trial.CHECKS,
    restart_checks.CHECKS,
    cache.CHECKS,
    snapshots.CHECKS,
    blackboard.CHECKS,
    research.CHECKS,
)
#: The checks that decide on a consolidation.
PROOF = CHECKLIST.of_group("proof")
