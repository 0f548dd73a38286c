"""Licences: what forbids commercial use, what is free, and what goes over to an encoder made of others."""

from __future__ import annotations

import pytest

from cpchub.catalog.licences import Parent, forbids_commercial_use, has_license, in_words, inherited, is_free
from cpchub.catalog.listing import list_models, list_specs

FREE, STRICT = Parent("lightly", "mit"), Parent("moco", "cc-by-nc-4.0")
SHARED, UNSAID = Parent("shared", "cc-by-sa-4.0"), Parent("pcl", "unknown")


@pytest.mark.parametrize(
    ("license", "forbids", "free"),
    [
        ("mit", False, True),
        ("Apache-2.0", False, True),
        ("bsd-3-clause", False, True),
        ("cc-by-4.0", False, True),
        ("CC-BY-NC-4.0", True, False),
        ("cc-by-nc-sa-4.0", True, False),
        ("non-commercial", True, False),
        ("unknown", False, False),
        ("", False, False),
        ("dinov3-license", False, False),
        ("cc-by-sa-4.0", False, False),
        ("nct", False, False),
    ],
)
def test_what_a_licence_allows_is_read_off_its_name(license: str, forbids: bool, free: bool) -> None:
    assert (forbids_commercial_use(license), is_free(license)) == (forbids, free)


@pytest.mark.parametrize(
    ("parents", "expected"),
    [
        ([], "apache-2.0"),
        ([FREE], "apache-2.0"),
        ([FREE, STRICT], "cc-by-nc-4.0"),
        ([UNSAID], "unknown"),
        ([UNSAID, SHARED], "cc-by-sa-4.0"),
        ([UNSAID, SHARED, STRICT], "cc-by-nc-4.0"),
        ([Parent("nameless", "")], "unknown"),
    ],
)
def test_the_strictest_licence_goes_over(parents: list[Parent], expected: str) -> None:
    assert inherited("apache-2.0", parents) == expected


def test_what_a_user_has_to_know_is_said() -> None:
    assert in_words("mit") == "mit"
    assert in_words("cc-by-nc-4.0") == "cc-by-nc-4.0, which forbids commercial use"
    assert in_words("unknown").startswith("unknown; ask its authors")


def test_a_filter_is_a_wildcard_or_commercial() -> None:
    assert has_license("CC-BY-NC-4.0", "cc-by-*")
    assert has_license("mit", "commercial")
    assert not has_license("unknown", "commercial")


def test_the_catalog_is_filtered_by_licence() -> None:
    free, every = list_models(status="public", license="commercial"), list_models(status="public")
    assert 0 < len(free) < len(every)
    assert "moco-v2-resnet50-800e" not in free
    assert {spec.license for spec in list_specs(license="cc-by-nc*")} == {"cc-by-nc-4.0"}
