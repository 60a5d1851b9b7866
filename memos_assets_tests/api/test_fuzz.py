"""What OpenAPI describes, and what it does not, is answered as described and never fails."""

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from memos_assets.api.app import create_app
from memos_assets.settings import Settings
from memos_assets_tests.api.conftest import Server

#: Requests of each operation that are as described, and that are not.
EXAMPLES = 20
CHECKS = [
    *(not_a_server_error, status_code_conformance, content_type_conformance),
    *(response_headers_conformance, response_schema_conformance, ignored_auth),
]


#: The description as clients get it; making it connects nothing.
SCHEMA = schemathesis.openapi.from_dict(create_app(Settings()).openapi())
FOUND = [one.ok() for one in SCHEMA.get_all_operations() if isinstance(one, Ok)]
OPERATIONS = {one.label: one for one in FOUND}
#: Nothing can be wrong in a request without any argument.
ASKED = [
    (label, mode)
    for label in OPERATIONS
    for mode in GenerationMode
    if mode is GenerationMode.POSITIVE or label not in ("GET /health", "GET /ready")
]


@pytest.mark.parametrize(("label", "mode"), ASKED)
def test_each_operation_answers_as_it_is_described(
    label: str, mode: GenerationMode, api: Server, shared_token: str
) -> None:
    headers = {"Authorization": f"Bearer {shared_token}"}

    @given(case=OPERATIONS[label].as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def send(case: schemathesis.Case) -> None:
        case.call_and_validate(base_url=api.url, headers=headers, checks=CHECKS)

    send()
