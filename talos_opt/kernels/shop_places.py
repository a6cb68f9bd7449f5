"""The places of a shop's queues that an op may go to, and which of them is best.

All places for each op of one longest path are looked at: on all devices that it may run on, those
positions of the queues that close no cycle and that may be best (Mastrolilli and Gambardella,
Effective neighbourhood functions for the flexible job shop problem, Journal of Scheduling, 2000).
Heads and tails estimate each place in constant time, and bisection finds the positions, so that a
step takes little more where devices and positions are many; in the op's own queue, heads and tails
of those that it passes are found anew (Balas and Vazacopoulos, Guided local search with shifting
bottleneck for job shop scheduling, 1998).
"""

from __future__ import annotations

from talos_opt.kernels.compiling import part
from talos_opt.kernels.instance import CAPACITY, FIRST_SLOT, GROUP, LAST_SLOT, MODEL
from talos_opt.kernels.moves import below, next_random
from talos_opt.kernels.shop_queues import (
    AT,
    DEVICE,
    END,
    HEAD,
    INF,
    NOW,
    READY,
    SAMPLE,
    SHORTER,
    SLOT,
    SPAN,
    STEP,
    arrival_at,
    find_after,
)

#: Ends that differ by less than this share of the value are the same.
EPS = 1e-9
#: Entries of what a step finds: score, op, number of the op's device, slot, position, how many
#: moves like it there were, and what the paths through the op come to.
SCORE, OP, CHOICE, TO_SLOT, TO, EQUALS, THROUGH = 0, 1, 2, 3, 4, 5, 6


@part
def find_path(x, q):  # type: ignore[no-untyped-def]
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
        See `look`.
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
def look(x, q, count, floor, back, after, found, spare):  # type: ignore[no-untyped-def]
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
                start = arrival_at(in_ptr, in_op, in_bytes, point, place, delay, op, d, release)
                find_after(
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
