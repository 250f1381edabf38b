"""When the decoder is compiled and loaded, and how its code is stored."""

import errno
import multiprocessing
import os
import shutil
import subprocess
import sys
import threading
import types

import numpy as np
import pytest
from prores_samples import KINDS, decoded, sample_of

from camhd_access.decoding import machine_code
from camhd_access.decoding.decoders import choose_decoder

KIND = KINDS[0]


def read():
    """A frame, decoded by the available decoder."""
    decoder = choose_decoder((KIND.height, KIND.width), pix_fmt="gray10le")
    window = slice(0, KIND.height), slice(0, KIND.width)
    out = np.zeros((KIND.height, KIND.width), np.uint16)
    decoder.decode([decoder.take(sample_of(KIND), window, None)], out=[out])
    return out


def is_right():
    return np.array_equal(read(), decoded(KIND)[0])


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """A process that has decoded nothing yet, and an empty cache folder."""
    monkeypatch.delenv("CAMHD_DECODER", raising=False)
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(machine_code, "_kernels", machine_code._Kernels())
    return tmp_path


@pytest.fixture
def code(kernel):
    """The object code of an earlier run."""
    found = machine_code.read_cached()
    assert found
    return found


def finish():
    worker = machine_code._kernels.worker
    if worker:
        worker.join()


def refuse_to_compile():
    raise AssertionError("nobody asked for a compiler")


# ---- the decision


def test_a_few_frames_are_not_worth_a_look(fresh, monkeypatch):
    monkeypatch.setattr(machine_code, "read_cached", refuse_to_compile)
    machine_code.announce(3)
    assert machine_code._kernels.worker is None
    assert machine_code.find_kernel() is None
    assert is_right()


def test_code_of_an_earlier_process_is_loaded_beside_the_work(code, fresh, monkeypatch):
    machine_code.write_cached(code)
    monkeypatch.setattr(machine_code, "compile_elsewhere", refuse_to_compile)
    machine_code.announce(machine_code.N_FRAMES_WORTH_LOADING)
    assert is_right()  # by libav, or not
    finish()
    assert machine_code.find_kernel() is not None
    assert is_right()


def test_frames_wait_for_code_that_is_loaded_quickly(code, fresh, monkeypatch):
    machine_code.write_cached(code)
    monkeypatch.setattr(machine_code, "LOADING_SECONDS", 60)
    machine_code.announce(machine_code.N_FRAMES_WORTH_LOADING)
    assert machine_code.find_kernel() is not None


def test_frames_do_not_wait_for_a_slow_disk(code, fresh, monkeypatch):
    may_end = threading.Event()
    monkeypatch.setattr(machine_code, "read_cached", lambda: code if may_end.wait(60) else None)
    machine_code.announce(machine_code.N_FRAMES_WORTH_LOADING)
    assert machine_code.find_kernel() is None
    assert is_right()
    may_end.set()
    finish()
    assert machine_code.find_kernel() is not None


def test_frames_that_are_still_to_be_fetched_wait_for_no_disk_at_all(code, fresh, monkeypatch):
    may_end = threading.Event()
    monkeypatch.setattr(machine_code, "LOADING_SECONDS", 600)
    monkeypatch.setattr(machine_code, "read_cached", lambda: code if may_end.wait(60) else None)
    machine_code.announce(machine_code.N_FRAMES_WORTH_LOADING, waits=False)
    assert machine_code.find_kernel() is None
    may_end.set()
    finish()
    assert machine_code.find_kernel() is not None


def test_it_is_compiled_once_that_is_worth_it(code, fresh, monkeypatch):
    compiled = []
    monkeypatch.setattr(machine_code, "compile_elsewhere", lambda: compiled.append(1) or code)
    machine_code.announce(machine_code.N_FRAMES_WORTH_LOADING)
    finish()
    assert machine_code.find_kernel() is None  # there is no code yet, and a few frames are not worth it
    assert not compiled
    machine_code.announce(machine_code.N_FRAMES_WORTH_COMPILING)
    finish()
    assert machine_code.find_kernel() is not None
    assert len(compiled) == 1
    assert machine_code.read_cached() == code
    assert is_right()


@pytest.mark.parametrize("failure", ["no numba", "no compiler"])
def test_without_it_libav_decodes(fresh, monkeypatch, failure):
    if failure == "no numba":
        monkeypatch.setattr(machine_code, "can_compile", lambda: False)
    else:
        monkeypatch.setattr(machine_code, "compile_elsewhere", lambda: None)
    machine_code.announce(10**6)
    finish()
    assert machine_code.find_kernel() is None
    assert is_right()
    monkeypatch.setenv("CAMHD_DECODER", "numba")
    with pytest.raises(RuntimeError, match="cannot be compiled"):
        read()


@pytest.mark.parametrize("problem", [ImportError, OSError("libLLVM.so: cannot open shared object file")])
def test_without_an_llvm_that_can_be_imported_libav_decodes(fresh, monkeypatch, problem, capsys):
    def refuse(name, *_):
        if name == "llvmlite.binding":
            raise problem

    monkeypatch.delitem(sys.modules, "llvmlite.binding", raising=False)
    monkeypatch.setattr(sys, "meta_path", [types.SimpleNamespace(find_spec=refuse), *sys.meta_path])
    monkeypatch.setattr(machine_code, "compile_elsewhere", refuse_to_compile)
    machine_code.announce(10**6)
    finish()
    assert machine_code._kernels.is_final
    assert is_right()
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(machine_code, "_kernels", machine_code._Kernels())
    monkeypatch.setenv("CAMHD_DECODER", "numba")
    with pytest.raises(RuntimeError, match="cannot be compiled"):
        read()


def test_libav_by_choice(code, fresh, monkeypatch):
    machine_code.write_cached(code)
    monkeypatch.setenv("CAMHD_DECODER", "libav")
    machine_code.announce(10**6)
    assert machine_code._kernels.worker is None
    assert machine_code.find_kernel() is None
    assert is_right()


def test_numba_by_choice_waits(code, fresh, monkeypatch):
    monkeypatch.setenv("CAMHD_DECODER", "numba")
    monkeypatch.setattr(machine_code, "compile_elsewhere", lambda: code)
    assert machine_code.find_kernel() is not None
    assert is_right()


def test_a_thread_waits_for_a_loader_that_another_is_starting(code, fresh, monkeypatch):
    machine_code.write_cached(code)
    start, found, others = threading.Thread.start, [], []

    def start_late(thread):
        if thread.name == "camhd-compile":
            other = threading.Thread(target=lambda: found.append(machine_code.find_kernel(waits=True)))
            start(other)
            other.join(0.2)  # until it waits, or has failed
            others.append(other)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_late)
    machine_code.announce(machine_code.N_FRAMES_WORTH_LOADING)
    others[0].join()
    assert found == [machine_code.find_kernel(waits=True)]


def test_other_choices_are_refused(fresh, monkeypatch):
    monkeypatch.setenv("CAMHD_DECODER", "fast")
    with pytest.raises(ValueError, match="auto, numba or libav, not 'fast'"):
        read()


# ---- the cache


def test_a_folder_that_cannot_be_written_does_no_harm(code, fresh, monkeypatch):
    (fresh / "file").write_bytes(b"")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(fresh / "file" / "folder"))
    monkeypatch.setattr(machine_code, "compile_elsewhere", lambda: code)
    machine_code.announce(10**6)
    finish()
    assert machine_code.find_kernel() is not None
    assert is_right()


@pytest.mark.parametrize("fault", ["cut off", "flipped bit", "empty", "writable by others"])
def test_code_that_is_not_whole_or_not_ours_is_not_run(code, fresh, fault):
    machine_code.write_cached(code)
    assert machine_code.read_cached() == code
    file = machine_code._cached_file()
    data = bytearray(file.read_bytes())
    if fault == "flipped bit":
        data[1000] ^= 1
    kept = {"cut off": data[:-5], "empty": b""}.get(fault, data)
    file.write_bytes(kept)
    file.chmod(0o622 if fault == "writable by others" else 0o600)
    assert machine_code.read_cached() is None


def test_many_write_at_once(code, fresh):
    threads = [threading.Thread(target=machine_code.write_cached, args=(code,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert machine_code.read_cached() == code
    assert len(list((fresh / "camhd_access").iterdir())) == 1


def test_other_kernels_and_other_processors_have_other_files(fresh, monkeypatch):
    names = {machine_code._cached_file()}
    monkeypatch.setenv("NUMBA_CPU_NAME", "x86-64-v2")
    names.add(machine_code._cached_file())
    monkeypatch.setenv("NUMBA_CPU_NAME", "x86-64-v3")
    names.add(machine_code._cached_file())
    sources = fresh / "kernels"
    shutil.copytree(machine_code.SOURCES, sources)
    with (sources / "transform.py").open("a") as file:
        file.write("# changed\n")
    monkeypatch.setattr(machine_code, "SOURCES", sources)
    names.add(machine_code._cached_file())
    assert len(names) == 4


# ---- processes


def test_one_of_the_processes_that_share_a_folder_compiles(code, fresh, monkeypatch):
    """The lock belongs to an open file, so two threads stand for two processes here."""
    waits, may_end, compiled = threading.Event(), threading.Event(), []

    def compile_slowly():
        compiled.append(1)
        assert may_end.wait(60)
        return code

    def sleep(_seconds):
        waits.set()
        threading.Event().wait(0.01)

    monkeypatch.setattr(machine_code, "compile_elsewhere", compile_slowly)
    monkeypatch.setattr(machine_code.time, "sleep", sleep)
    processes = [machine_code._Kernels() for _ in range(3)]
    threads = [threading.Thread(target=each.prepare, kwargs={"compiles": True}) for each in processes]
    for thread in threads:
        thread.start()
    waits.wait(20)
    may_end.set()
    for thread in threads:
        thread.join()
    assert compiled == [1]
    assert all(each.kernel is not None for each in processes)


def test_bytes_that_are_no_machine_code_are_replaced(code, fresh, monkeypatch):
    machine_code.write_cached(b"nothing of the kind")
    monkeypatch.setattr(machine_code, "compile_elsewhere", lambda: code)
    machine_code.announce(machine_code.N_FRAMES_WORTH_LOADING)
    finish()
    assert machine_code.find_kernel() is None
    machine_code.announce(machine_code.N_FRAMES_WORTH_COMPILING)
    finish()
    assert machine_code.find_kernel() is not None
    assert machine_code.read_cached() == code


def test_output_of_the_compiler_that_is_no_machine_code_is_not_kept(fresh, monkeypatch):
    monkeypatch.setattr(machine_code, "compile_elsewhere", lambda: b"a message")
    machine_code.announce(10**6)
    finish()
    assert machine_code.find_kernel() is None
    assert machine_code.read_cached() is None
    assert is_right()


def test_a_process_that_can_open_no_files_tries_again_later(code, fresh, monkeypatch):
    outcomes = [OSError(errno.EMFILE, "Too many open files"), code]

    def compile_elsewhere():
        outcome = outcomes.pop(0)
        if isinstance(outcome, OSError):
            raise outcome
        return outcome

    monkeypatch.setattr(machine_code, "compile_elsewhere", compile_elsewhere)
    kernels = machine_code._Kernels()
    kernels.prepare(compiles=True)
    assert (kernels.kernel, kernels.is_final) == (None, False)
    kernels.prepare(compiles=True)
    assert kernels.kernel is not None


def test_options_of_numba_do_not_reach_the_compiler(monkeypatch):
    for name in ("NUMBA_DISABLE_JIT", "NUMBA_DUMP_ASSEMBLY", "NUMBA_CPU_NAME"):
        monkeypatch.setenv(name, "1")
    program = "import os; print(*sorted(n for n in os.environ if n.startswith('NUMBA_')), end='')"
    popen = subprocess.Popen
    monkeypatch.setattr(
        subprocess, "Popen", lambda _command, **options: popen([sys.executable, "-c", program], **options)
    )
    assert machine_code.compile_elsewhere() == b"NUMBA_CPU_NAME"


def test_a_folder_that_cannot_be_locked_does_no_harm(code, fresh, monkeypatch):
    def refuse(*_):
        raise OSError("no locks here")

    monkeypatch.setattr(machine_code.fcntl, "flock", refuse)
    monkeypatch.setattr(machine_code, "compile_elsewhere", lambda: code)
    machine_code.announce(10**6)
    finish()
    assert machine_code.find_kernel() is not None


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")  # what is tested is just that
def test_a_process_forked_while_it_is_compiled_decodes(code, fresh, monkeypatch):
    may_end = threading.Event()

    def compile_slowly():
        assert may_end.wait(60)
        return code

    monkeypatch.setattr(machine_code, "compile_elsewhere", compile_slowly)
    machine_code.announce(10**6)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply_async(is_right).get(60)
        pool.close()
        pool.join()
    assert machine_code.find_kernel() is None
    may_end.set()
    finish()
    assert machine_code.find_kernel() is not None
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply_async(is_right).get(60)
        pool.close()
        pool.join()


def run(program, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=os.environ | environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )


IN_A_FULL_ADDRESS_SPACE = """
import mmap, sys
sys.path[:0] = sys.argv[1:]
from test_machine_code import is_right, machine_code
def reserve(n_bytes):
    return mmap.mmap(-1, n_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=0)
code = machine_code.read_cached()
import llvmlite.binding
above = [reserve(128 << 10) for _ in range(2000)]   # no other room is left there
between = reserve(4 << 30), [reserve(128 << 10) for _ in range(100)]
above[1000].close()                                 # room for the code, not for its tables
machine_code._kernels.kernel = machine_code.load(code)
print(is_right())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the addresses that Linux chooses")
def test_code_and_tables_stay_together_in_a_full_address_space(code):
    """Instructions reach 2 GiB; data of a program can be larger."""
    done = run(IN_A_FULL_ADDRESS_SPACE, *sys.path)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr[-3000:]


def test_neither_numba_nor_llvm_is_imported_for_a_first_frame(movie_path):
    program = (
        f"import sys; from camhd_access import MovieReader; MovieReader({str(movie_path)!r}).read(0);"
        "assert not {'numba', 'llvmlite', 'xarray', 'dask.array', 'pandas'} & set(sys.modules)"
    )
    done = run(program)
    assert done.returncode == 0, done.stderr[-3000:]


def test_loading_takes_no_numba(code, movie_path):
    program = (
        f"import sys; from camhd_access import MovieReader; MovieReader({str(movie_path)!r}).read(0);"
        "from camhd_access.decoding.machine_code import find_kernel; assert find_kernel();"
        "assert 'numba' not in sys.modules and 'llvmlite' in sys.modules"
    )
    done = run(program, CAMHD_DECODER="numba")
    assert done.returncode == 0, done.stderr[-3000:]
