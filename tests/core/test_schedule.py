"""Schedules by name and by column."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from talos_opt.core.schedule import ScheduledOp, Transfer, TransferRow, Transfers
from tests.builders import link, op, problem, schedule

GIVEN = problem(
    {"m1": [op("a", 1, output=4), op("b", 1, "a")], "m2": [op("c", 2)]},
    links=[link("cpu gpu", 0, 2)],
)
ANSWER = schedule(
    GIVEN,
    {"a": ("cpu0", 0), "b": ("gpu0", 3), "c": ("cpu0", 1)},
    [("a", "cpu0", "gpu0", 1, 3, 4)],
)


def test_ops_and_transfers_by_name() -> None:
    assert list(ANSWER.named_ops(GIVEN)) == [
        ScheduledOp("m1", "a", "cpu0", 0, 1),
        ScheduledOp("m1", "b", "gpu0", 3, 4),
        ScheduledOp("m2", "c", "cpu0", 1, 3),
    ]
    assert list(ANSWER.named_transfers(GIVEN)) == [Transfer("m1", "a", "cpu0", "gpu0", 1, 3, 4)]
    assert ANSWER.placement(GIVEN) == {"m1/a": "cpu0", "m1/b": "gpu0", "m2/c": "cpu0"}
    assert ANSWER.makespan == 4


def test_transfers_are_ordered_by_start() -> None:
    rows = [TransferRow(0, 0, 1, 3.0, 4.0, 1, 0), TransferRow(1, 1, 0, 2.0, 5.0, 1, 1)]
    columns = Transfers.from_rows(rows)
    assert list(columns.rows()) == rows[::-1]
    assert len(columns) == 2
    assert len(Transfers.from_rows([])) == 0
    assert Transfers.from_rows([]).start.dtype == np.float64


def test_columns_are_read_only() -> None:
    for column in (ANSWER.device, ANSWER.start, ANSWER.end, ANSWER.transfers.start):
        with pytest.raises(ValueError, match="read-only"):
            column[0] = 0


def test_a_schedule_travels_between_processes() -> None:
    copy = pickle.loads(pickle.dumps(ANSWER))
    assert list(copy.named_ops(GIVEN)) == list(ANSWER.named_ops(GIVEN))
