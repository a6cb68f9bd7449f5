"""What stays alive though nobody reads it, against a search over all paths."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from talos_opt.frameworks.common.keeping import kept_alive, storage


def test_a_view_is_read_and_its_base_stays() -> None:
    reads = {"a": [("x", 0)], "v": [("a", 0)], "w": [("v", 0)], "b": [("w", 0)], "c": [("b", 0)]}
    bases = {"v": ("a", 0), "w": ("v", 0)}
    assert storage(("w", 0), bases) == ("a", 0)
    assert kept_alive(reads, bases, []) == {"a": [], "b": [("a", 0)], "c": []}
    # What is returned stays until the end, as a view of it does; the last op's result need not.
    kept = kept_alive(reads, bases, [("w", 0), ("b", 0), ("c", 0), ("x", 0)])
    assert kept == {"a": [], "b": [("a", 0)], "c": [("a", 0)]}


def test_a_view_of_an_input_keeps_nothing_and_a_base_that_is_read_is_named_once() -> None:
    reads = {"v": [("x", 0)], "a": [("v", 0)], "p": [("a", 1)], "b": [("p", 0), ("p", 2), ("a", 1)]}
    bases = {"v": ("x", 0), "p": ("a", 1)}
    assert kept_alive(reads, bases, []) == {"a": [], "b": []}
    reads["b"] = [("p", 0), ("p", 2), ("a", 0)]
    assert kept_alive(reads, bases, []) == {"a": [], "b": [("a", 1)]}


@given(st.data())
def test_on_any_graph(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 8))
    reads: dict[int, list[tuple[int, int]]] = {}
    bases: dict[int, tuple[int, int]] = {}
    for op in range(count):
        sources = data.draw(st.lists(st.integers(-2, op - 1), max_size=3, unique=True))
        reads[op] = [(source, 0) for source in sources]
        if sources and data.draw(st.booleans()):
            bases[op] = reads[op][0]
    returned = [(op, 0) for op in data.draw(st.lists(st.integers(0, count - 1), unique=True))]
    kept = kept_alive(reads, bases, returned)
    assert set(kept) == set(range(count)) - set(bases)

    def needs(op: int, other: int) -> bool:
        return any(s == other or (s >= 0 and needs(s, other)) for s, _ in reads[op])

    for op, tensors in kept.items():
        roots = {storage(tensor, bases) for tensor in reads[op]}
        for tensor in tensors:
            assert tensor[0] >= 0
            assert tensor not in reads[op]
            assert needs(op, tensor[0]), "an edge that forces nothing"
        assert {t for t in roots if t[0] >= 0} <= {*reads[op], *tensors}
    for tensor in {storage(tensor, bases) for tensor in returned}:
        later = [op for op in kept if tensor[0] >= 0 and needs(op, tensor[0])]
        if later:
            assert tensor in (*reads[max(later)], *kept[max(later)])
