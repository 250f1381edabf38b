"""The compiled decoder: when it is compiled, where its machine code is stored, and how it is loaded.

Nothing waits for the compiler. While there is no machine code, libav decodes whole frames, and numpy halves
and quarters, and the pixels of frames that only libav decodes; `find_kernel` returns immediately. Callers
announce how many frames they are about to decode. Once there are a few, machine code from an earlier process
is loaded from the cache folder in a thread. That takes 0.03 s, no longer than a frame by libav, and callers
wait for it; from a slow disk it takes longer, and they go on. Once compiling, which takes many seconds, is
worthwhile, it is done in another process of low priority: numba is not imported into this one, and no lock is
held meanwhile. If no folder is writable, it is compiled for this process only.

The name of the file is a digest of everything that the code depends on: the source of the kernels, the
versions of numba and llvmlite, the processor. So another version, or another processor that shares the
folder, never loads the wrong code. It is written under a temporary name first, and begins with a checksum. Of
several processes that share the folder one compiles, and the others wait, in a thread, for its file.

`CAMHD_DECODER` chooses: "libav" never compiles or loads, "numba" waits for machine code, "auto" is
as above.
"""

import atexit
import ctypes
import hashlib
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, TypeAlias

from camhd_access.decoding.kernels.parameters import Kernel
from camhd_access.ending import is_ending

try:
    import fcntl
except ImportError:  # Windows: each process compiles
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "ENTRY_POINT",
    "N_FRAMES_WORTH_COMPILING",
    "N_FRAMES_WORTH_LOADING",
    "NotCompiledError",
    "announce",
    "cache_folder",
    "can_compile",
    "compile_elsewhere",
    "find_kernel",
    "load",
    "processor",
    "setting",
]

Setting: TypeAlias = Literal["auto", "numba", "libav"]

ENTRY_POINT = "camhd_access_decode"
"""Name of the function in the object code."""

N_FRAMES_WORTH_LOADING = 4
N_FRAMES_WORTH_COMPILING = 240
"""Number of announced frames from which loading, or compiling, machine code is worth its time."""

LOADING_SECONDS = 0.2
"""Longest time that callers wait for machine code to be loaded."""

COMPILE_SECONDS = 600
"""Time limit for the compiler."""

POLL_SECONDS = 0.2
"""Interval between looks at whether another process has finished compiling."""

SOURCES = Path(__file__).parent / "kernels"


class NotCompiledError(RuntimeError):
    """The decoder cannot be compiled here."""


def setting() -> Setting:
    """The value of `CAMHD_DECODER`.

    Raises
    ------
    ValueError
        It is not auto, numba or libav.
    """
    wanted = os.environ.get("CAMHD_DECODER") or "auto"
    if wanted in ("auto", "numba", "libav"):
        return wanted  # type: ignore[return-value]  # mypy does not narrow strings to literals here
    raise ValueError(f"CAMHD_DECODER must be auto, numba or libav, not {wanted!r}")


@cache
def can_compile() -> bool:
    """Whether numba is installed, on a supported machine."""
    return sys.byteorder == "little" and all(find_spec(name) is not None for name in ("numba", "llvmlite"))


def _can_import() -> bool:
    """Whether LLVM, which is installed, can be imported; it lacks a shared library, for instance, if not."""
    try:
        import llvmlite.binding  # noqa: F401, PLC0415 - a tenth of a second
    except (ImportError, OSError):
        return False
    return True


class _Kernels:
    """The machine code of this process, or the progress towards it."""

    def __init__(self) -> None:
        self.kernel: Kernel | None = None
        self.n_frames = 0
        """Frames announced so far."""
        self.is_final = False
        """Whether the outcome is final: there is machine code, or there will be none."""
        self.is_missing = False
        """Whether the cache folder was checked and has none."""
        self.was_checked = threading.Event()
        """Set after the first look into the cache folder."""
        self.worker: threading.Thread | None = None

    def prepare(self, *, compiles: bool) -> None:
        """Load machine code, or compile it; sets `kernel` on success."""
        try:
            if not _can_import():
                self.is_final = True
                return
            if not self.is_missing:
                self.is_missing = not self._load(read_cached())
        finally:
            self.was_checked.set()
        if self.is_missing and compiles:
            with suppress(OSError):  # too many open files, for instance: the next frames try again
                self._compile()

    def _compile(self) -> None:
        with _compiling_alone():
            if not self._load(read_cached()):
                code = compile_elsewhere()
                if code is not None and self._load(code):
                    write_cached(code)
        self.is_final = True

    def _load(self, code: bytes | None) -> bool:
        """Whether this is machine code; sets `kernel` then."""
        if code is None:
            return False
        with _loading, suppress(RuntimeError):  # LLVM's, about bytes that are something else
            self.kernel = load(code)
            self.is_final = True
        return self.kernel is not None

    def wait(self) -> None:
        """Wait until the outcome is final."""
        with _changing:  # a thread that is being started cannot be joined yet
            worker = self.worker
        if worker is not None:
            worker.join()
        with _waiting:
            if not self.is_final and can_compile():
                self.prepare(compiles=True)


_kernels = _Kernels()
_changing = threading.RLock()  # a `__del__` that reads may run while its thread holds them
_waiting = threading.RLock()
_loading = threading.RLock()
"""Held while LLVM runs. Forks wait for it: otherwise LLVM's own locks would stay locked in the child."""


def find_kernel(*, waits: bool = False) -> Kernel | None:
    """The compiled decoder; None while, or if, libav is to decode.

    Parameters
    ----------
    waits
        Wait until it is compiled, whatever `CAMHD_DECODER` says: for measurements. No read does.

    Raises
    ------
    NotCompiledError
        `CAMHD_DECODER=numba` or `waits`, and compiling fails.
    ValueError
        `CAMHD_DECODER` has an invalid value.
    """
    wanted = setting()
    if (waits or wanted == "numba") and _kernels.kernel is None:
        _kernels.wait()
        if _kernels.kernel is None:
            raise NotCompiledError("the decoder cannot be compiled here; check that numba is installed")
    return _kernels.kernel if waits or wanted != "libav" else None


def announce(n_frames: int, *, waits: bool = True) -> None:
    """Announce that `n_frames` are about to be decoded; may wait up to `LOADING_SECONDS` for machine code.

    Not with `waits=False`, for frames that are still to be fetched.
    """
    if _kernels.is_final or setting() != "auto" or is_ending():
        return
    with _changing:
        _kernels.n_frames += n_frames
        compiles = _kernels.n_frames >= N_FRAMES_WORTH_COMPILING
        is_worth_it = compiles or (_kernels.n_frames >= N_FRAMES_WORTH_LOADING and not _kernels.is_missing)
        is_busy = _kernels.worker is not None and _kernels.worker.is_alive()
        if not is_worth_it or _kernels.is_final:
            return
        if not is_busy:
            if not can_compile():
                _kernels.is_final = True
                return
            worker = threading.Thread(
                target=_kernels.prepare, kwargs={"compiles": compiles}, name="camhd-compile", daemon=True
            )
            worker.start()
            _kernels.worker = worker
        was_checked = _kernels.was_checked
    if waits:
        was_checked.wait(LOADING_SECONDS)


# ---- processes


def _after_fork() -> None:
    """A forked process keeps machine code, but not the thread that was looking for some."""
    global _kernels, _changing, _waiting  # noqa: PLW0603 - locks of the parent stay locked
    _loading.release()
    _changing, _waiting = threading.RLock(), threading.RLock()
    if _kernels.kernel is None:
        _kernels = _Kernels()


if hasattr(os, "register_at_fork"):  # Windows does not fork
    os.register_at_fork(before=_loading.acquire, after_in_parent=_loading.release, after_in_child=_after_fork)


def compile_elsewhere() -> bytes | None:
    """Object code, compiled by a process of low priority; None if that fails. Takes many seconds."""
    root = str(Path(__file__).parents[2])
    script = (
        f"import sys; sys.path.insert(0, {root!r}); "
        "from camhd_access.decoding.kernels.compile import main; main()"
    )
    if not sys.executable:
        return None
    # Options of numba that turn the compiler off, or make it print, are not for this process.
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("NUMBA_") or name.startswith("NUMBA_CPU_")
    }
    try:
        process = subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-P", "-c", script],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
    except OSError:
        return None
    atexit.register(process.kill)
    try:
        code, _ = process.communicate(timeout=COMPILE_SECONDS)
    except subprocess.TimeoutExpired:
        return None
    finally:
        process.kill()
        process.wait()
        atexit.unregister(process.kill)
    return code if process.returncode == 0 and code else None


# ---- the cache


def cache_folder() -> Path | None:
    """Folder for machine code: `NUMBA_CACHE_DIR`, else in the user's cache folder; None without a home."""
    if named := os.environ.get("NUMBA_CACHE_DIR"):
        return Path(named) / "camhd_access"
    xdg = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if xdg.is_absolute() and sys.platform != "darwin":
        return xdg / "camhd_access" / "kernels"
    try:
        home = Path.home()
    except RuntimeError:
        return None
    return home / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "camhd_access" / "kernels"


def processor() -> tuple[str, str]:
    """LLVM's names of the processor and its features, or those set in numba's options."""
    import llvmlite.binding as llvm  # noqa: PLC0415 - a tenth of a second

    named = os.environ.get("NUMBA_CPU_NAME")
    if named and named != "host":
        return named, os.environ.get("NUMBA_CPU_FEATURES", "")
    features = os.environ.get("NUMBA_CPU_FEATURES")
    return llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten() if features is None else features


def _cached_file() -> Path | None:
    """The file of the code for this processor and these versions."""
    folder = cache_folder()
    if folder is None:
        return None
    digest = hashlib.sha256()
    for source in sorted(SOURCES.glob("*.py")):
        digest.update(source.read_bytes())
    versions = []
    for name in ("numba", "llvmlite"):
        with suppress(PackageNotFoundError):
            versions.append(version(name))
    digest.update(repr((versions, platform.system(), platform.machine(), processor())).encode())
    return folder / f"prores422-{digest.hexdigest()[:24]}.o"


def read_cached() -> bytes | None:
    """Object code from an earlier process; None if there is none that is complete and ours."""
    try:
        file = _cached_file()
        if file is None:
            return None
        with file.open("rb") as opened:
            facts = os.fstat(opened.fileno())
            # Windows has other permissions, and cache folders per user.
            if hasattr(os, "getuid") and (facts.st_uid not in (0, os.getuid()) or facts.st_mode & 0o022):
                return None  # others could have written it, and it will be executed
            checksum, code = opened.read(32), opened.read()
    except OSError:
        return None
    return code if hashlib.sha256(code).digest() == checksum else None


@contextmanager
def _compiling_alone() -> Iterator[None]:
    """A context in which no other process that shares the folder compiles, if it can be locked."""
    file, lock = _cached_file(), None
    with suppress(OSError):
        if file is not None and fcntl is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            lock = file.with_suffix(".lock").open("ab")
    try:
        deadline = time.monotonic() + COMPILE_SECONDS
        while lock is not None and not _try_lock(lock.fileno()) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        yield
    finally:
        if lock is not None:
            with suppress(OSError):
                fcntl.flock(lock.fileno(), fcntl.LOCK_UN)  # also that of a child that was forked meanwhile
            lock.close()


def _try_lock(fd: int) -> bool:
    """Lock a file; whether nobody else holds it. True on filesystems without locks."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def write_cached(code: bytes) -> None:
    """Store object code for later processes, if the folder is writable."""
    file = _cached_file()
    if file is None:
        return
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=file.parent)  # readable and writable by this user only
        try:
            with os.fdopen(handle, "wb") as opened:
                opened.write(hashlib.sha256(code).digest() + code)
            os.replace(part, file)  # noqa: PTH105 - the path is a string
        except OSError:
            os.unlink(part)  # noqa: PTH108 - likewise
            raise


# ---- loading


def load(code: bytes) -> Kernel:
    """The function in object code, which releases the GIL while it runs."""
    import llvmlite.binding as llvm  # noqa: PLC0415 - a tenth of a second

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(jit=True)
    # JITLink keeps the code and its tables together: instructions reach 2 GiB, and arrays may lie between.
    jit = llvm.create_lljit_compiler(machine, use_jit_link=sys.platform != "win32")
    builder = llvm.JITLibraryBuilder().add_object_img(code).add_current_process()
    library = builder.export_symbol(ENTRY_POINT).link(jit, ENTRY_POINT)
    # numba's calling convention: pointers to the result and to an exception, which is never raised.
    prototype = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
    function = prototype(library[ENTRY_POINT])

    def kernel(parameters: int) -> int:
        result, exception = ctypes.c_int64(), ctypes.c_void_p()
        function(ctypes.byref(result), ctypes.byref(exception), parameters)
        return result.value

    kernel.__dict__["library"] = jit, library  # keeps the code alive as long as the function
    return kernel
