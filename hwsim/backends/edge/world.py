"""The state of a simulation as arrays of records, which the compiled event loop reads and writes.

A request is a copy of one program of tasks; a *job* is one task of one request in flight, numbered
`place * tasks + task`. A job waits in at most one list at a time (ready, delay line, device queue), so one `following`
field links them all. What can happen next has one slot in the agenda each:

    [0, C)       the first flow of class c ends           [2C, 2C+D)     device d finishes what it serves
    [C, 2C)      the head of a delay line enters          [2C+D, 2C+2D)  device d reaches a temperature limit or
    2C+2D .. +3  arrival, change, detection, deadline                    empties its battery
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hwsim.backends.edge.agenda import Records
from hwsim.backends.edge.fluid import FLOW_FIELDS, Network

WAIT, DROP, REASSIGN = 0, 1, 2
DEVICE_SPEED, LINK_CAPACITY = 0, 1
COMPLETED, NEVER_BEGIN = -1, 1 << 30
BRANCH_BITS = 63
FINISHED, GROW = 0, 1

# Task: `device` is NONE for a transfer, `flow_class` NONE for a computation or a message to oneself. What waits for
# it is edges[first_edge:end_edge]. `root_list[0:setup.roots]` are the tasks that begin on arrival.
TASK = np.dtype(
    [
        ("work_s", np.float64),
        ("fixed_s", np.float64),
        ("size_bytes", np.float64),
        ("send_j", np.float64),
        ("receive_j", np.float64),
        ("device", np.int64),
        ("flow_class", np.int64),
        ("needs", np.int64),
        ("first_edge", np.int64),
        ("end_edge", np.int64),
        ("join", np.int64),
        ("spare", np.int64),
        ("branch", np.int64),
        ("sender", np.int64),
        ("receiver", np.int64),
        ("root_list", np.int64),
        ("completed", np.int64),
    ]
)
JOB = np.dtype(
    [
        *FLOW_FIELDS,
        ("due_s", np.float64),
        ("following", np.int64),
        ("needs", np.int64),
        ("place", np.int64),
        ("task", np.int64),
    ]
)
# A place holds one request in flight; `free_list[0:state.free]` are the empty places.
PLACE = np.dtype([("request", np.int64), ("open_jobs", np.int64), ("free_list", np.int64)])
DEVICE = np.dtype(
    [
        ("idle_w", np.float64),
        ("resistance_k_per_w", np.float64),
        ("capacity_j_per_k", np.float64),
        ("ambient_c", np.float64),
        ("hot_c", np.float64),
        ("cool_c", np.float64),
        ("left_s", np.float64),
        ("since_s", np.float64),
        ("fault_speed", np.float64),
        ("charge_j", np.float64),
        ("temperature_c", np.float64),
        ("peak_c", np.float64),
        ("stamp_s", np.float64),
        ("energy_j", np.float64),
        ("busy_s", np.float64),
        ("throttled_s", np.float64),
        ("empty_at_s", np.float64),
        ("batch", np.int64),
        ("levels", np.int64),
        ("level", np.int64),
        ("serving", np.int64),
        ("head", np.int64),
        ("tail", np.int64),
    ]
)
DVFS = np.dtype([("speed", np.float64), ("power_w", np.float64)])  # (device, level)
CHANGE = np.dtype([("at_s", np.float64), ("value", np.float64), ("kind", np.int64), ("target", np.int64)])
REQUEST = np.dtype(
    [("arrival_s", np.float64), ("done_s", np.float64), ("missing", np.int64), ("missing_mask", np.int64)]
)
MOMENTS = np.dtype([("ready_s", np.float64), ("start_s", np.float64), ("end_s", np.float64)])
SETUP = np.dtype(
    [
        ("detect_s", np.float64),
        ("deadline_s", np.float64),
        ("policy", np.int64),
        ("sink", np.int64),
        ("roots", np.int64),
    ]
)
STATE = np.dtype(
    [
        ("now_s", np.float64),
        ("free", np.int64),
        ("next_request", np.int64),
        ("next_change", np.int64),
        ("next_deadline", np.int64),
        ("ready_head", np.int64),
        ("ready_tail", np.int64),
        ("detect_head", np.int64),
        ("detect_tail", np.int64),
    ]
)


class World(NamedTuple):
    """Everything. `setup` and `state` have one record; `moments` has one for each traced (request, task)."""

    network: Network
    agenda: Records
    tasks: Records
    edges: Records
    jobs: Records
    places: Records
    devices: Records
    dvfs: Records
    changes: Records
    requests: Records
    moments: Records
    setup: Records
    state: Records
