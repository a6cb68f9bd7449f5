"""Tabu search over the queues of a shop: one critical op at a time goes to another place.

Every step takes one longest path, looks at the places for its ops (`shop_places`) and makes the
move that is estimated best; only that one is worked out, in two passes over the graph
(`shop_queues`).
"""

from __future__ import annotations

import numpy as np

from talos_opt.kernels.compiling import kernel, part
from talos_opt.kernels.moves import below
from talos_opt.kernels.shop_places import CHOICE, EPS, OP, SCORE, TO, TO_SLOT, find_path, look
from talos_opt.kernels.shop_queues import (
    AT,
    BEST,
    BETTER,
    DEVICE,
    HEAD,
    INF,
    NOW,
    SLOT,
    STAYS,
    STEP,
    TENURE,
    find_heads,
    find_tails,
    load,
    move,
    neighbour,
    reorder,
    sort,
)
from talos_opt.kernels.sorting import copy_range


@part
def _keep(q):  # type: ignore[no-untyped-def]
    """Keep the queues as the best."""
    place, point, best_device, best_head = q.place, q.point, q.best_device, q.best_head
    q.value[BEST] = q.value[NOW]
    for op in range(len(best_head)):
        best_device[op], best_head[op] = place[op, DEVICE], point[op, HEAD]


@kernel
def search_shop(x, q, steps, patience, fresh):  # type: ignore[no-untyped-def]
    """Make a number of steps.

    Parameters
    ----------
    x : Instance
    q : Shop
    steps : int
    patience : int
        Steps without a better value after which it ends.
    fresh : bool
        Whether to start from `first_device` and `first_order`, which keep to memory and routes;
        else from the queues as they are.

    Returns
    -------
    int
        Steps made; fewer if nothing can be moved, or if the patience is over.
    """
    found, spare = np.empty(7), np.empty(7)
    floor, back, after = np.empty(len(q.done)), np.empty(len(q.done)), np.empty((1, len(q.done)))
    counter, value, place, style = q.counter, q.value, q.place, q.style
    if fresh:
        load(x, q)
        sort(x, q)
        value[NOW] = find_heads(x, q, 0)
        find_tails(x, q, len(q.order) - 1)
        counter[STEP] = counter[BETTER] = 0
        _keep(q)
    for step in range(steps):
        if counter[STEP] - counter[BETTER] >= patience:
            return step
        counter[STEP] += 1
        count = find_path(x, q)
        found[SCORE] = spare[SCORE] = INF
        found[OP] = spare[OP] = -1.0
        look(x, q, count, floor, back, after, found, spare)
        if found[OP] < 0 or spare[SCORE] < min(found[SCORE], value[BEST] * (1 - EPS)):
            if spare[OP] < 0:
                return step
            copy_range(found, 0, spare, 0, len(found))
        op, c = int(found[OP]), int(found[CHOICE])
        d, s, at = place[op, DEVICE], place[op, SLOT], place[op, AT]
        until = counter[STEP] + style[TENURE] + below(q.random, style[TENURE] + count)
        for k in range(q.choice_ptr[op], q.choice_ptr[op + 1]):
            if q.choice[k] == d or style[STAYS]:
                q.banned[k] = until
        before, behind = neighbour(q, op, -1), neighbour(q, op, 1)
        move(x, q, op, q.choice[c], int(found[TO_SLOT]), int(found[TO]))
        if not reorder(x, q, op):  # only where ops take no time, or rounding hides an order
            move(x, q, op, d, s, at)
            q.banned[c] = until
            continue
        first = last = q.rank[op]
        if behind >= 0:
            first = min(first, q.rank[behind])
        if before >= 0:
            last = max(last, q.rank[before])
        value[NOW] = find_heads(x, q, first)
        find_tails(x, q, last)
        if value[NOW] < value[BEST] * (1 - EPS):
            counter[BETTER] = counter[STEP]
            _keep(q)
    return steps
