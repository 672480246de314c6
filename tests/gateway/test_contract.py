"""Requests made up from the OpenAPI document: each is answered as the document says, and none is a fault of ours."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from maskserve_gateway.app import create_app
from maskserve_gateway.settings import Settings
from tests.client.conftest import FakeTransport
from tests.gateway.conftest import PATH, as_base64, encoded, listening

CHECKS = [
    not_a_server_error,
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
]
_SETTINGS = Settings(urls=("grpc://192.0.2.1:1",), model="tiny", page=False)
schema = schemathesis.openapi.from_dict(create_app(_SETTINGS, FakeTransport()).openapi())


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with listening(create_app(_SETTINGS, FakeTransport())) as found:
        yield found


@schema.parametrize()
@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
def test_the_document_is_kept(case: schemathesis.Case, url: str) -> None:
    case.call_and_validate(base_url=url, checks=CHECKS, timeout=20)


def test_a_good_answer_is_what_the_document_says(url: str) -> None:
    response = httpx.post(url + PATH, json={"image": as_base64(encoded())}, trust_env=False)
    assert response.status_code == 200
    schema[PATH]["POST"].validate_response(response)
