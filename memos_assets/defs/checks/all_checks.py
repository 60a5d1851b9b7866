"""Every check there is: what the code location shows, and what alerts are watched for."""

from memos_assets.catalog import MEMOS
from memos_assets.checklist import CHECKLIST
from memos_assets.defs.checks.steps import check_keys, check_steps

CHECKS = check_steps(CHECKLIST, MEMOS)
CHECK_KEYS = check_keys(CHECKLIST, MEMOS)
HEALTH_KEYS = check_keys(CHECKLIST.of_group("health"), MEMOS)
