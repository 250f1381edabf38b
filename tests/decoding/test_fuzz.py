"""A few seconds of `fuzz.py`: damaged bytes never access memory outside the decoder's buffers."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from camhd_access.decoding.kernels.codes import (
    AFTER_LEVEL,
    AFTER_RUN,
    LOOKUP_BITS,
    MAX_RUN,
    N_STATES,
    PAIRS,
    PARKED,
    PLACE_SHIFT,
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
    length, state = PAIRS & 63, PAIRS >> LOOKUP_BITS & 63
    assert length.max() <= LOOKUP_BITS
    assert state.max() < N_STATES
    assert (PAIRS >> PLACE_SHIFT & 255).max() <= 2 * MAX_RUN
    assert not PAIRS[PARKED:].any()
    assert len(PAIRS) == (N_STATES + 1) << LOOKUP_BITS
    assert max(AFTER_RUN) * 6 + max(AFTER_LEVEL) < N_STATES
