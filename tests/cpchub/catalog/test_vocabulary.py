"""Keys of files and what people write lead to the same method and data set."""

from __future__ import annotations

import pytest

from cpchub.catalog.vocabulary import DATA_SETS, METHODS, data_key, data_title, method_of, method_title, same_method


@pytest.mark.parametrize("text", ["moco_v2", "moco-v2", "MoCo v2", "mocov2"])
def test_every_spelling_of_a_method_is_that_method(text: str) -> None:
    assert method_of(text) is METHODS["moco-v2"]
    assert method_title(text) == "MoCo v2"


def test_a_family_is_all_its_methods_and_a_method_is_only_itself() -> None:
    assert same_method("moco_v2", "moco")
    assert same_method("sup_con", "SupCon")
    assert not same_method("moco_v2", "moco_v3")
    assert not same_method("simclr", "moco")


@pytest.mark.parametrize("key", DATA_SETS)
def test_a_data_set_has_one_key_whether_named_by_key_or_title(key: str) -> None:
    title = DATA_SETS[key].title
    assert (data_key(key), data_key(title)) == (key, key)
    assert (data_title(key), data_title(title)) == (title, title)


def test_what_is_not_known_stays_as_it_is_written() -> None:
    assert (method_title("my_way"), data_title("Cells 2")) == ("my_way", "Cells 2")
    assert (method_of("my_way"), data_key("Cells 2")) == (None, "cells-2")
    assert same_method("my_way", "my-way")
