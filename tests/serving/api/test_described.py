"""Requests made up from the API's own description, by schemathesis: none is answered by 5xx."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.serving.api.conftest import MakeApp

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis needs Python 3.11")


@pytest.mark.parametrize("examples", [15, pytest.param(1000, marks=pytest.mark.slow)])
def test_no_request_that_the_description_allows_ends_in_an_error_of_ours(
    make_app: MakeApp, served_over_http: Any, examples: int
) -> None:
    quick = (HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large)
    with served_over_http(make_app()) as url:
        schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
        cases = st.one_of([found.ok().as_strategy() for found in schema.get_all_operations()])

        @settings(max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=quick)
        @given(case=cases)
        def each_is_answered(case: Any) -> None:
            answer = case.call()
            assert answer.status_code < 500, (case.as_curl_command(), answer.text)

        each_is_answered()
