"""Tabu search over the queues of a shop: one critical op at a time goes to another place.

The graph of edges and queues gives heads (longest paths to the start of each op) and tails (from
its end). Every step takes one longest path and looks at all places for each of its ops: on all
devices that it may run on, those positions of the queues that close no cycle and that may be best
(Mastrolilli and Gambardella, Effective neighbourhood functions for the flexible job shop problem,
Journal of Scheduling, 2000). Heads and tails estimate each place in constant time, and bisection
finds the positions, so that a step takes little more where devices and positions are many; in the
op's own queue, heads and tails of those that it passes are found anew (Balas and Vazacopoulos,
Guided local search with shifting bottleneck for job shop scheduling, 1998). Only the move that is
chosen is worked out, in two passes over the graph.

Holds where transfers wait for nothing: no serial links, every device with a copy engine; and where
ops hold one slot each.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from talos_opt.kernels.compiling import kernel, part
from talos_opt.kernels.instance import CAPACITY, FIRST_SLOT, GROUP, LAST_SLOT, MODEL
from talos_opt.kernels.moves import below, next_random, refit
from talos_opt.kernels.sorting import copy_range

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

INF = np.inf
#: Entries of `Shop.counter`: steps since the start; the step that last found a better value.
STEP, BETTER = 0, 1
#: Entries of `Shop.value`: of the queues, and of the best ones since the start.
NOW, BEST = 0, 1
#: Columns of `Shop.place`.
DEVICE, SLOT, AT = 0, 1, 2
#: Columns of `Shop.point`.
HEAD, END, SPAN, READY = 0, 1, 2, 3
#: Entries of what a step finds: score, op, number of the op's device, slot, position, how many
#: moves like it there were, and what the paths through the op come to.
SCORE, OP, CHOICE, TO_SLOT, TO, EQUALS, THROUGH = 0, 1, 2, 3, 4, 5, 6
#: Ends that differ by less than this share of the value are the same.
EPS = 1e-9
#: Entries of `Shop.style`: ops of the path that a step looks at; whether the shorter of the paths
#: through an op decides between moves of the same score; steps for which an op may not go back to a
#: device, or move on it, and as many that are drawn beside; whether it may not go anywhere.
SAMPLE, SHORTER, TENURE, STAYS = 0, 1, 2, 3


class Shop(NamedTuple):
    """A schedule as queues, and what the search knows of it; changed in place.

    n ops, m devices, s slots of all devices, l lanes: one for the makespan, else one per model.

    Parameters
    ----------
    lane : (n,) int
        Lane of each op.
    weight : (l,) float
        What a unit of each lane's completion costs.
    delay : (2, m, m) float
        Latency and time per byte from device to device, over all hops; infinite without route.
    rule : (2,) int
        Whether devices limit memory, and whether transfers take time.
    style : (4,) int
        See `SAMPLE`.
    choice_ptr, choice, choice_time : (n + 1,), (c,), (c,)
        Devices that each op may run on, the quickest first, and how long it takes there.
    row_ptr, row : (s + 1,), (r,) int
        Room for the queue of each slot, and the ops in it.
    length : (s,) int
        Ops in each queue.
    place : (n, 3) int
        Device, slot and position of each op. Slot -1: takes no time, and waits for nobody.
    point : (n, 4) float
        When each op starts and ends, how long it takes, when its inputs are there.
    after, reach : (n, l) float
        Longest path from an op's end to the end of each lane by its readers, and from its start by
        all; minus infinity if none.
    done : (l,) float
        Completion of each lane.
    order, rank : (n,) int
        A topological order of edges and queues, and its inverse.
    mark, moved : (n,) int
        Working space.
    home, held, widest : (g,), (m,), (m,) int
        Device of each group; bytes and largest workspace on each device.
    banned : (c,) int
        Step until which an op may not move to a device.
    pick : (n,) int
        A longest path.
    first_device, first_order : (n,) int
        Where to start.
    best_device, best_head : (n,)
        Devices and starts of the best point since then.
    counter, value : (2,)
        See `STEP` and `NOW`.
    random : (1,) uint64
    """

    lane: Ints
    weight: Floats
    delay: Floats
    rule: Ints
    style: Ints
    choice_ptr: Ints
    choice: Ints
    choice_time: Floats
    row_ptr: Ints
    row: Ints
    length: Ints
    place: Ints
    point: Floats
    after: Floats
    reach: Floats
    done: Floats
    order: Ints
    rank: Ints
    mark: Ints
    moved: Ints
    home: Ints
    held: Ints
    widest: Ints
    banned: Ints
    pick: Ints
    first_device: Ints
    first_order: Ints
    best_device: Ints
    best_head: Floats
    counter: Ints
    value: Floats
    random: npt.NDArray[np.uint64]


# Parts that are called often take the arrays that they need, and no tuple: to access a member of
# a named tuple, or to hand on dozens of arrays, takes longer than what is done with them.


@part
def _put(row_ptr, row, length, place, op, s, at):  # type: ignore[no-untyped-def]
    """Put an op into a queue; slot -1: into none."""
    place[op, SLOT], place[op, AT] = s, at
    if s < 0:
        return
    first = row_ptr[s]
    for k in range(length[s], at, -1):
        other = row[first + k - 1]
        row[first + k] = other
        place[other, AT] = k
    row[first + at] = op
    length[s] += 1


@part
def _take(row_ptr, row, length, place, op):  # type: ignore[no-untyped-def]
    """Take an op out of its queue."""
    s = place[op, SLOT]
    if s < 0:
        return
    first = row_ptr[s]
    length[s] -= 1
    for k in range(place[op, AT], length[s]):
        other = row[first + k + 1]
        row[first + k] = other
        place[other, AT] = k


@part
def _arrival(in_ptr, in_op, in_bytes, point, place, delay, op, d, release):  # type: ignore[no-untyped-def]
    """When an op's inputs are on a device."""
    start = release
    for e in range(in_ptr[op], in_ptr[op + 1]):
        producer = in_op[e]
        p = place[producer, DEVICE]
        arrival = point[producer, END]
        if p != d:
            arrival += delay[0, p, d] + in_bytes[e] * delay[1, p, d]
        start = max(start, arrival)
    return start


@part
def _load(x, q):  # type: ignore[no-untyped-def]
    """Make the queues those of a list schedule in the order to start with."""
    place, point, row, row_ptr, length = q.place, q.point, q.row, q.row_ptr, q.length
    in_ptr, in_op, in_bytes, table, time = x.in_ptr, x.in_op, x.in_bytes, x.op, x.time
    model, devices, size, delay, home = x.model, x.device, x.group, q.delay, q.home
    held, widest = q.held, q.widest
    for s in range(len(length)):
        length[s] = 0
    for op in q.first_order:
        d = q.first_device[op]
        place[op, DEVICE] = home[table[op, GROUP]] = d
        span = time[op, d]
        start = _arrival(
            in_ptr, in_op, in_bytes, point, place, delay, op, d, model[table[op, MODEL], 0]
        )
        best, chosen = INF, -1
        if span > 0:
            for s in range(devices[d, FIRST_SLOT], devices[d, LAST_SLOT]):
                free = 0.0
                if length[s] > 0:
                    free = point[row[row_ptr[s] + length[s] - 1], END]
                if free < best:
                    best, chosen = free, s
            start = max(start, best)
        point[op, HEAD], point[op, END], point[op, SPAN] = start, start + span, span
        _put(row_ptr, row, length, place, op, chosen, length[chosen] if chosen >= 0 else 0)
    for d in range(len(held)):
        held[d] = widest[d] = 0
    for group in range(len(home)):
        d = home[group]
        held[d] += size[group, 0]
        widest[d] = max(widest[d], size[group, 1])
    for k in range(len(q.banned)):
        q.banned[k] = 0


@part
def _sort(x, q):  # type: ignore[no-untyped-def]
    """Order all ops along edges and queues."""
    in_ptr, out_ptr, out_op = x.in_ptr, x.out_ptr, x.out_op
    order, rank, mark, place, row, row_ptr = q.order, q.rank, q.mark, q.place, q.row, q.row_ptr
    length = q.length
    found = 0
    for op in range(len(order)):
        mark[op] = in_ptr[op + 1] - in_ptr[op]
        if place[op, AT] > 0:
            mark[op] += 1
        if mark[op] == 0:
            order[found] = op
            found += 1
    scan = 0
    while scan < found:
        op = order[scan]
        rank[op] = scan
        scan += 1
        s, at = place[op, SLOT], place[op, AT]
        if s >= 0 and at + 1 < length[s]:
            b = row[row_ptr[s] + at + 1]
            mark[b] -= 1
            if mark[b] == 0:
                order[found] = b
                found += 1
        for e in range(out_ptr[op], out_ptr[op + 1]):
            reader = out_op[e]
            mark[reader] -= 1
            if mark[reader] == 0:
                order[found] = reader
                found += 1


@part
def _shift_back(in_ptr, in_op, order, rank, mark, spare, place, row, row_ptr, op, a, stamp):  # type: ignore[no-untyped-def]
    """Put an op behind `a` in the order, and what follows from it; False if `a` does."""
    first, last = rank[op], rank[a]
    mark[op] = stamp
    for k in range(first + 1, last + 1):
        other = order[k]
        follows = False
        if place[other, AT] > 0:
            follows = mark[row[row_ptr[place[other, SLOT]] + place[other, AT] - 1]] == stamp
        for e in range(in_ptr[other], in_ptr[other + 1]):
            follows = follows or mark[in_op[e]] == stamp
        if follows:
            if other == a:
                return False
            mark[other] = stamp
    kept, moved = first, 0
    for k in range(first, last + 1):
        other = order[k]
        if mark[other] == stamp:
            spare[moved] = other
            moved += 1
        else:
            order[kept], rank[other] = other, kept
            kept += 1
    for k in range(moved):
        order[kept + k], rank[spare[k]] = spare[k], kept + k
    return True


@part
def _shift_forth(  # type: ignore[no-untyped-def]
    out_ptr, out_op, order, rank, mark, spare, place, row, row_ptr, length, op, b, stamp
):
    """Put an op in front of `b` in the order, and what it follows from; False if `b` is of it."""
    first, last = rank[b], rank[op]
    mark[op] = stamp
    for k in range(last - 1, first - 1, -1):
        other = order[k]
        leads = False
        s, at = place[other, SLOT], place[other, AT]
        if s >= 0 and at + 1 < length[s]:
            leads = mark[row[row_ptr[s] + at + 1]] == stamp
        for e in range(out_ptr[other], out_ptr[other + 1]):
            leads = leads or mark[out_op[e]] == stamp
        if leads:
            if other == b:
                return False
            mark[other] = stamp
    kept, moved = last, 0
    for k in range(last, first - 1, -1):
        other = order[k]
        if mark[other] == stamp:
            spare[moved] = other
            moved += 1
        else:
            order[kept], rank[other] = other, kept
            kept -= 1
    for k in range(moved):
        order[kept - k], rank[spare[k]] = spare[k], kept - k
    return True


@part
def _find_heads(x, q, begin):  # type: ignore[no-untyped-def]
    """Find heads from a position of the order on, and all completions; return the value."""
    in_ptr, in_op, in_bytes = x.in_ptr, x.in_op, x.in_bytes
    order, place, row, row_ptr = q.order, q.place, q.row, q.row_ptr
    point, delay, table, model = q.point, q.delay, x.op, x.model
    lane, done, weight, moving = q.lane, q.done, q.weight, q.rule[1] > 0
    for position in range(begin, len(order)):
        op = order[position]
        start = model[table[op, MODEL], 0]
        if moving:
            start = _arrival(
                in_ptr, in_op, in_bytes, point, place, delay, op, place[op, DEVICE], start
            )
        else:
            for e in range(in_ptr[op], in_ptr[op + 1]):
                start = max(start, point[in_op[e], END])
        point[op, READY] = start
        at = place[op, AT]
        if at > 0:
            start = max(start, point[row[row_ptr[place[op, SLOT]] + at - 1], END])
        point[op, HEAD], point[op, END] = start, start + point[op, SPAN]
    for k in range(len(done)):
        done[k] = 0.0
    for op in range(len(lane)):
        done[lane[op]] = max(done[lane[op]], point[op, END])
    value = 0.0
    for k in range(len(done)):
        value += weight[k] * done[k]
    return value


@part
def _find_after(out_ptr, out_op, out_bytes, place, reach, delay, op, d, own, after, to):  # type: ignore[no-untyped-def]
    """Find the longest paths from an op's end by its readers, if it is on a device."""
    lanes = after.shape[1]
    for k in range(lanes):
        after[to, k] = -INF
    after[to, own] = 0.0
    for e in range(out_ptr[op], out_ptr[op + 1]):
        reader = out_op[e]
        r, step = place[reader, DEVICE], 0.0
        if r != d:
            step = delay[0, d, r] + out_bytes[e] * delay[1, d, r]
        for k in range(lanes):
            after[to, k] = max(after[to, k], step + reach[reader, k])


@part
def _find_tails(x, q, begin):  # type: ignore[no-untyped-def]
    """Find longest paths to the ends, from a position of the order back."""
    out_ptr, out_op, out_bytes = x.out_ptr, x.out_op, x.out_bytes
    order, place, row, row_ptr, length = q.order, q.place, q.row, q.row_ptr, q.length
    after, reach, point, delay, lane = q.after, q.reach, q.point, q.delay, q.lane
    lanes, simple = after.shape[1], after.shape[1] == 1 and q.rule[1] == 0
    for position in range(begin, -1, -1):
        op = order[position]
        s, at, b = place[op, SLOT], place[op, AT], -1
        if s >= 0 and at + 1 < length[s]:
            b = row[row_ptr[s] + at + 1]
        if simple:  # as below, in half the time
            tail = 0.0
            for e in range(out_ptr[op], out_ptr[op + 1]):
                tail = max(tail, reach[out_op[e], 0])
            after[op, 0] = tail
            if b >= 0:
                tail = max(tail, reach[b, 0])
            reach[op, 0] = point[op, SPAN] + tail
            continue
        _find_after(
            out_ptr, out_op, out_bytes, place, reach, delay, op, place[op, DEVICE], lane[op],
            after, op,
        )  # fmt: skip
        for k in range(lanes):
            tail = after[op, k]
            if b >= 0:
                tail = max(tail, reach[b, k])
            reach[op, k] = point[op, SPAN] + tail


@part
def _find_path(x, q):  # type: ignore[no-untyped-def]
    """Collect the ops of a longest path to a lane's end, drawn at random; return how many.

    Of several lanes one is drawn, dear ones more often.
    """
    done, weight, lane, point, place = q.done, q.weight, q.lane, q.point, q.place
    row, row_ptr, delay, random, pick = q.row, q.row_ptr, q.delay, q.random, q.pick
    in_ptr, in_op, in_bytes = x.in_ptr, x.in_op, x.in_bytes
    chosen = 0
    if len(done) > 1:
        draw = next_random(random) * q.value[NOW]
        for k in range(len(done)):
            draw -= weight[k] * done[k]
            if draw < 0:
                chosen = k
                break
    limit, seen, op = done[chosen] * (1 - EPS), 0, -1
    for other in range(len(lane)):
        if lane[other] == chosen and point[other, END] >= limit:
            seen += 1
            if seen == 1 or below(random, seen) == 0:
                op = other
    count = 0
    slack = done[chosen] * EPS
    while op >= 0:
        if point[op, SPAN] > 0:
            pick[count] = op
            count += 1
        limit, seen, cause = point[op, HEAD] - slack, 0, -1
        d, s = place[op, DEVICE], place[op, SLOT]
        if s >= 0 and place[op, AT] > 0:
            a = row[row_ptr[s] + place[op, AT] - 1]
            if point[a, END] >= limit:
                seen, cause = 1, a
        for e in range(in_ptr[op], in_ptr[op + 1]):
            producer = in_op[e]
            p = place[producer, DEVICE]
            arrival = point[producer, END]
            if p != d:
                arrival += delay[0, p, d] + in_bytes[e] * delay[1, p, d]
            if arrival >= limit:
                seen += 1
                if seen == 1 or below(random, seen) == 0:
                    cause = producer
        op = cause
    return count


@part
def _consider(kept, random, score, through, op, c, s, at):  # type: ignore[no-untyped-def]
    """Keep a move if it is the best so far; of several, one is drawn."""
    if score > kept[SCORE] or not score < INF:
        return
    if score == kept[SCORE]:
        if through > kept[THROUGH]:
            return
        if through == kept[THROUGH]:
            kept[EQUALS] += 1.0
            if next_random(random) * kept[EQUALS] >= 1.0:
                return
        else:
            kept[EQUALS] = 1.0
    else:
        kept[EQUALS] = 1.0
    kept[SCORE], kept[OP], kept[CHOICE], kept[TO_SLOT], kept[TO] = score, op, c, s, at
    kept[THROUGH] = through


@part
def _score(weight, floor, ends, after, reach, b):  # type: ignore[no-untyped-def]
    """What lanes come to if an op ends at a time, in front of `b` (-1: of nobody).

    Returns
    -------
    (float, float)
        Beside it, what the paths through the op come to.
    """
    value, through = 0.0, 0.0
    for k in range(len(weight)):
        path = after[0, k]
        if b >= 0:
            path = max(path, reach[b, k])
        value += weight[k] * max(floor[k], ends + path)
        if path > -INF:
            through += weight[k] * (ends + path)
    return value, through


@part
def _is_longer(reach, other, after):  # type: ignore[no-untyped-def]
    """Whether an op has a longer way to go than one that would follow in a queue."""
    longer = False
    for k in range(reach.shape[1]):
        longer = longer or reach[other, k] > after[0, k]
    return longer


@part
def _look_along(  # type: ignore[no-untyped-def]
    row, first, last, at, point, reach, by_readers, weight, floor, back, op, c, s, start, after,
    latest, earliest, before, behind, kept, random, tie,
):  # fmt: skip
    """Look at the other positions in an op's own queue.

    Parameters
    ----------
    row, first, last, at : (r,) int, int, int, int
        The queue is ``row[first:first + last + 1]``; where the op is in it.
    point, reach, by_readers : float
        Those of `Shop`; the last is `Shop.after`.
    back : (l,) float
        Working space.
    start : float
        When its inputs are there.
    after : (1, l) float
        Longest paths from its end by its readers.
    latest, earliest : float
        See `_look`.
    before, behind : int
        Positions of its last input and its first reader in this queue.
    kept : (7,) float
        The best move so far.
    tie : float
        0 if moves of the same score are the same, else 1.
    """
    length, end = point[op, SPAN], -INF
    if at > 0:
        end = point[row[first + at - 1], END]
    for k in range(at + 1, last + 1):  # behind the op at k
        other = row[first + k]
        if k >= behind or point[other, HEAD] >= earliest:
            break
        end = max(end, point[other, READY]) + point[other, SPAN]
        b = row[first + k + 1] if k < last else -1
        score, through = _score(weight, floor, max(start, end) + length, after, reach, b)
        _consider(kept, random, score, through * tie, op, c, s, k)
        if b >= 0 and not _is_longer(reach, b, after):
            break
    for i in range(len(back)):
        back[i] = reach[row[first + at + 1], i] if at < last else -INF
    for k in range(at - 1, -1, -1):  # in front of the op at k
        other = row[first + k]
        if k <= before or point[other, END] <= latest:
            break
        end = point[row[first + k - 1], END] if k > 0 else -INF
        score, through = 0.0, 0.0
        for i in range(len(back)):
            back[i] = max(back[i], by_readers[other, i]) + point[other, SPAN]
            path = max(after[0, i], back[i]) + max(start, end) + length
            score += weight[i] * max(floor[i], path)
            if path > -INF:
                through += weight[i] * path
        _consider(kept, random, score, through * tie, op, c, s, k)
        if end <= start:
            break


@part
def _look_into(  # type: ignore[no-untyped-def]
    row, first, count, point, reach, weight, floor, op, c, s, start, length, after, latest,
    earliest, before, behind, kept, random, tie,
):  # fmt: skip
    """Look at the positions in another queue that may be best; see `_look_along`."""
    # From `low` on nobody has to come before the op, up to `high` nobody has to come after it.
    low, top = before + 1, count
    while low < top:
        middle = (low + top) // 2
        if point[row[first + middle], END] <= latest:
            low = middle + 1
        else:
            top = middle
    bottom, high = low, min(count, behind)
    while bottom < high:
        middle = (bottom + high) // 2
        if point[row[first + middle], HEAD] >= earliest:
            high = middle
        else:
            bottom = middle + 1
    # In front of `late` nobody delays the op; from `light` on nobody has the longer way to go.
    late, top = low, high
    while late < top:
        middle = (late + top) // 2
        if point[row[first + middle], END] <= start:
            late = middle + 1
        else:
            top = middle
    light, top = low, high
    while light < top:
        middle = (light + top) // 2
        if _is_longer(reach, row[first + middle], after):
            light = middle + 1
        else:
            top = middle
    if light <= late:  # it fits without making anybody late: anywhere in between
        late = light = light + below(random, late - light + 1)
    for at in range(late, light + 1):
        begin = start
        if at > 0:
            begin = max(begin, point[row[first + at - 1], END])
        b = row[first + at] if at < count else -1
        score, through = _score(weight, floor, begin + length, after, reach, b)
        _consider(kept, random, score, through * tie, op, c, s, at)


@part
def _look(x, q, count, floor, back, after, found, spare):  # type: ignore[no-untyped-def]
    """Look at all places for the ops of a path that may be best.

    Parameters
    ----------
    count : int
        Ops of the path.
    floor, back, after : (l,), (l,), (1, l) float
        Working space.
    found, spare : (7,) float, filled
        The best move, and the best of those that are banned.
    """
    in_ptr, in_op, in_bytes, table = x.in_ptr, x.in_op, x.in_bytes, x.op
    out_ptr, out_op, out_bytes, devices = x.out_ptr, x.out_op, x.out_bytes, x.device
    model, group_ptr, size = x.model, x.group_ptr, x.group
    point, place, reach, delay, lane = q.point, q.place, q.reach, q.delay, q.lane
    choice_ptr, choice, choice_time = q.choice_ptr, q.choice, q.choice_time
    done, weight, by_readers, random = q.done, q.weight, q.after, q.random
    row, row_ptr, length, banned, pick = q.row, q.row_ptr, q.length, q.banned, q.pick
    held, widest = q.held, q.widest
    limited, moving, now = q.rule[0] > 0, q.rule[1] > 0, q.counter[STEP]
    lanes = len(done)
    tie = float(q.style[SHORTER])
    for position in range(min(count, q.style[SAMPLE])):
        other = position + below(random, count - position)
        op = pick[other]
        pick[other] = pick[position]
        pick[position] = op
        group, release = table[op, GROUP], model[table[op, MODEL], 0]
        own_device, own_slot = place[op, DEVICE], place[op, SLOT]
        alone = group_ptr[group + 1] - group_ptr[group] == 1
        # Who must come before the op ends by the latest start of an input; who must come after it
        # starts no earlier than the earliest end of a reader.
        latest, earliest = -INF, INF
        for e in range(in_ptr[op], in_ptr[op + 1]):
            latest = max(latest, point[in_op[e], HEAD])
        for e in range(out_ptr[op], out_ptr[op + 1]):
            earliest = min(earliest, point[out_op[e], END])
        # Without the op its neighbours in the queue make a path, however long others are.
        at, end, b = place[op, AT], 0.0, -1
        if own_slot >= 0:
            if at > 0:
                end = point[row[row_ptr[own_slot] + at - 1], END]
            if at + 1 < length[own_slot]:
                b = row[row_ptr[own_slot] + at + 1]
        for k in range(lanes):
            floor[k] = done[k]
            if point[op, HEAD] + reach[op, k] >= done[k] * (1 - EPS):
                floor[k] = end + reach[b, k] if b >= 0 else end
            after[0, k] = by_readers[op, k]
        start = point[op, READY]
        for c in range(choice_ptr[op], choice_ptr[op + 1]):
            d, span = choice[c], choice_time[c]
            if d != own_device:
                if not alone:
                    continue
                if limited and (
                    max(widest[d], size[group, 1]) > devices[d, CAPACITY] - held[d] - size[group, 0]
                ):
                    continue
            if moving:
                start = _arrival(in_ptr, in_op, in_bytes, point, place, delay, op, d, release)
                _find_after(
                    out_ptr, out_op, out_bytes, place, reach, delay, op, d, lane[op], after, 0
                )
            least, through = _score(weight, floor, start + span, after, reach, -1)
            if not least <= found[SCORE]:
                if moving:
                    continue
                break  # nor will it where it takes longer
            kept = found if banned[c] <= now else spare
            if span == 0.0:
                if own_slot >= 0:
                    _consider(kept, random, least, through * tie, op, c, -1, 0)
                continue
            for s in range(devices[d, FIRST_SLOT], devices[d, LAST_SLOT]):
                before, behind = -1, length[s]
                for e in range(in_ptr[op], in_ptr[op + 1]):
                    if place[in_op[e], SLOT] == s:
                        before = max(before, place[in_op[e], AT])
                for e in range(out_ptr[op], out_ptr[op + 1]):
                    if place[out_op[e], SLOT] == s:
                        behind = min(behind, place[out_op[e], AT])
                if s == own_slot:
                    _look_along(
                        row, row_ptr[s], length[s] - 1, place[op, AT], point, reach, by_readers,
                        weight, floor, back, op, c, s, start, after, latest, earliest, before,
                        behind, kept, random, tie,
                    )  # fmt: skip
                else:
                    _look_into(
                        row, row_ptr[s], length[s], point, reach, weight, floor, op, c, s, start,
                        span, after, latest, earliest, before, behind, kept, random, tie,
                    )  # fmt: skip


@part
def _move(x, q, op, d, s, at):  # type: ignore[no-untyped-def]
    """Put an op elsewhere."""
    old = q.place[op, DEVICE]
    _take(q.row_ptr, q.row, q.length, q.place, op)
    q.place[op, DEVICE] = d
    q.point[op, SPAN] = x.time[op, d]
    _put(q.row_ptr, q.row, q.length, q.place, op, s, at)
    if d != old:
        group = x.op[op, GROUP]
        q.home[group] = d
        if q.rule[0]:
            q.held[old] -= x.group[group, 0]
            q.held[d] += x.group[group, 0]
            q.widest[d] = max(q.widest[d], x.group[group, 1])
            refit(x, q.home, q.widest, old)


@part
def _neighbour(q, op, step):  # type: ignore[no-untyped-def]
    """Return who is beside an op in its queue; -1: nobody."""
    s, at = q.place[op, SLOT], q.place[op, AT] + step
    if s < 0 or at < 0 or at >= q.length[s]:
        return -1
    return q.row[q.row_ptr[s] + at]


@part
def _reorder(x, q, op):  # type: ignore[no-untyped-def]
    """Make the order that of the queues, after an op has moved; False if they have a cycle."""
    rank, stamp = q.rank, q.counter[STEP]
    a, b = _neighbour(q, op, -1), _neighbour(q, op, 1)
    if a >= 0 and rank[a] > rank[op]:
        return _shift_back(
            x.in_ptr, x.in_op, q.order, rank, q.mark, q.moved, q.place, q.row, q.row_ptr, op, a,
            stamp,
        )  # fmt: skip
    if b >= 0 and rank[b] < rank[op]:
        return _shift_forth(
            x.out_ptr, x.out_op, q.order, rank, q.mark, q.moved, q.place, q.row, q.row_ptr,
            q.length, op, b, stamp,
        )  # fmt: skip
    return True


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
        _load(x, q)
        _sort(x, q)
        value[NOW] = _find_heads(x, q, 0)
        _find_tails(x, q, len(q.order) - 1)
        counter[STEP] = counter[BETTER] = 0
        _keep(q)
    for step in range(steps):
        if counter[STEP] - counter[BETTER] >= patience:
            return step
        counter[STEP] += 1
        count = _find_path(x, q)
        found[SCORE] = spare[SCORE] = INF
        found[OP] = spare[OP] = -1.0
        _look(x, q, count, floor, back, after, found, spare)
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
        before, behind = _neighbour(q, op, -1), _neighbour(q, op, 1)
        _move(x, q, op, q.choice[c], int(found[TO_SLOT]), int(found[TO]))
        if not _reorder(x, q, op):  # only where ops take no time, or rounding hides an order
            _move(x, q, op, d, s, at)
            q.banned[c] = until
            continue
        first = last = q.rank[op]
        if behind >= 0:
            first = min(first, q.rank[behind])
        if before >= 0:
            last = max(last, q.rank[before])
        value[NOW] = _find_heads(x, q, first)
        _find_tails(x, q, last)
        if value[NOW] < value[BEST] * (1 - EPS):
            counter[BETTER] = counter[STEP]
            _keep(q)
    return steps
