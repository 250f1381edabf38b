"""A few seconds of `fuzz.py`: damaged bytes never access memory outside the decoder's buffers."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from camhd_access.decoding.kernels import parameters as at
from camhd_access.decoding.kernels.codes import (
    AFTER_LEVEL,
    AFTER_RUN,
    LEVEL_SHIFT,
    LOOKUP_BITS,
    MAX_RUN,
    MOVES,
    N_STATES,
    PAIRS,
    PLACE_MASK,
    PLACE_SHIFT,
    STATE_MASK,
)

SECONDS = 12


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_damaged_frames_between_unreadable_pages(kernel, seed):
    program = Path(__file__).parent / "fuzz.py"
    done = subprocess.run(
        [sys.executable, program, str(SECONDS), str(seed)],
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    n_mutants, n_refused, n_marked = map(int, re.findall(r"\d+", done.stdout))
    assert n_mutants >= 40
    assert n_refused
    assert n_marked


def test_no_entry_of_the_tables_leads_outside():
    """Bounds on which unchecked kernel code relies: states, runs and lengths of all entries."""
    table = PAIRS.reshape(2, N_STATES, 1 << LOOKUP_BITS)
    length, state, places = table & 63, (table & STATE_MASK) >> LOOKUP_BITS, table >> PLACE_SHIFT & PLACE_MASK
    assert length.max() <= LOOKUP_BITS
    assert state.max() < 2 * N_STATES
    assert state[1, length[1] > 0].max() < N_STATES, "after a level comes a pair"
    assert places.max() <= 2 * (MAX_RUN + 1)
    assert not places[1].any()
    assert at.N_LOOKUPS * (MAX_RUN + 1) <= at.ROOM - 64 * at.MAX_BLOCKS
    assert max(AFTER_RUN) * 6 + max(AFTER_LEVEL) < N_STATES
    is_idle = table & MOVES == 0
    own_state = np.arange(2 * N_STATES).reshape(2, N_STATES, 1) << LOOKUP_BITS
    assert np.array_equal(is_idle, length == 0)
    assert np.array_equal(table[is_idle], np.broadcast_to(own_state, table.shape)[is_idle])
    runs = (state >= N_STATES) & ~is_idle
    assert runs.any()
    assert not (table[runs] >> LEVEL_SHIFT).any()
