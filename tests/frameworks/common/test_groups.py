"""Disjoint sets of ops."""

from __future__ import annotations

from talos_opt.frameworks.common.groups import Groups


def test_sets_are_known_by_their_first_ops() -> None:
    groups = Groups("abcdef")
    groups.join("e", "c")
    groups.join("f", "b")
    groups.join("d")
    assert groups.leaders() == {"c": "c", "e": "c", "b": "b", "f": "b"}
    groups.join("f", "e")
    assert groups.leaders() == dict.fromkeys("bcef", "b")
    groups.join()
    assert groups.leaders() == dict.fromkeys("bcef", "b")
