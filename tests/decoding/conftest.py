"""Fixtures for the tests of decoders."""

import pytest

from camhd_access.decoding import machine_code


@pytest.fixture(scope="session")
def kernel():
    """The compiled decoder of this process, or loaded now; compiled if no earlier run has stored it."""
    if (loaded := machine_code._kernels.kernel) is not None:
        return loaded
    code = machine_code.read_cached()
    if code is None:
        code = machine_code.compile_elsewhere()
        assert code is not None, "the kernels do not compile"
        machine_code.write_cached(code)
    with machine_code._loading:
        return machine_code.load(code)
