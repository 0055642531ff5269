"""The only place that configures Numba: flags, decorators and the disk cache of compiled code.

The cache is ours and not Numba's own (`cache=True`) for three reasons, each measured on Numba 0.68: Numba does not
see an edit in a function that a cached one calls; it hashes captured functions by identity, so closures miss in every
new process; and its index and data files are written apart, so two processes compiling two signatures of one function
can leave machine code under the wrong signature. Here an entry is one file, named by what it holds and checked by a
SHA-256, in a folder whose name is a hash of the sources. No global setting of Numba is touched.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import stat
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any, TypeVar

import llvmlite
import numba
import platformdirs
from numba.core import config, registry
from numba.core.caching import _Cache
from numba.core.ccallback import CFunc
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

from fastnn.linking import InnerCompiler, OuterCompiler, parse_when_called, without_bitcode

# "contract" lets LLVM fuse a multiply and an add; "nsz" ignores the sign of zero. NaN and Inf keep their meaning
# (no nnan, ninf), sums keep their order (no reassoc), and no "arcp": LLVM then divides vectors by an estimated
# reciprocal and the scalar rest exactly, so bits would depend on where a block starts.
FASTMATH = {"contract", "nsz"}
# No reference counts: kernels get arrays and give none back, and what cannot allocate compiles in half the time.
FLAGS: dict[str, Any] = {"fastmath": FASTMATH, "error_model": "numpy", "nogil": True, "_nrt": False}
# Python never calls an inner function, so the wrappers that it would need are not made (13.5 s became 6.4 s).
_INNER: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}

Notice = Callable[[str | None], None]
Built = TypeVar("Built")


class Counts:
    """How often compiled code came from the disk cache (`hits`) or had to be made (`misses`), by name."""

    def __init__(self) -> None:
        self.hits: list[str] = []
        self.misses: list[str] = []


counts = Counts()


# ---- telling the user ------------------------------------------------------------------------------------------------


class _Compiling:
    """Tells listeners when a compile starts and when the last of a batch has ended."""

    message = "fastnn: compiling its kernels for this machine (once; they are kept on disk) ..."
    later = "fastnn: compiling its kernels for what comes next ..."

    def __init__(self) -> None:
        self.listeners: list[Notice] = []
        self.lock = threading.RLock()
        self.depth = 0
        self.told = False
        self.first = True

    def begin(self) -> None:
        with self.lock:
            self.depth += 1

    def miss(self) -> None:
        with self.lock:
            if self.told:
                return
            self.told, first, self.first = True, self.first, False
        self._tell(self.message if first else self.later)

    def end(self) -> None:
        with self.lock:
            self.depth = max(0, self.depth - 1)
            done = self.told and self.depth == 0
            if done:
                self.told = False
        if done:
            self._tell(None)

    def _tell(self, message: str | None) -> None:
        for listener in self.listeners or [_to_stderr]:
            listener(message)


def _to_stderr(message: str | None) -> None:
    if message is not None and sys.stderr is not None:
        print(message, file=sys.stderr, flush=True)


_compiling = _Compiling()


def on_compile(listener: Notice) -> Callable[[], None]:
    """Have `listener(text)` called when kernels start to compile and `listener(None)` when they are ready.

    Replaces the line that is otherwise printed on stderr. Returns a function that removes the listener.
    """
    _compiling.listeners.append(listener)

    def remove() -> None:
        if listener in _compiling.listeners:
            _compiling.listeners.remove(listener)

    return remove


@contextlib.contextmanager
def preparing() -> Iterator[None]:
    """Group compilations: one notice at the first that misses the cache, one when the group is done."""
    _compiling.begin()
    depth = _compiling.depth
    try:
        yield
    except BaseException:
        _compiling.depth = depth  # a compile that failed or was interrupted never came to its end
        raise
    finally:
        _compiling.end()


# ---- the disk cache --------------------------------------------------------------------------------------------------


def compiled_sources() -> list[Path]:
    """The files whose text can reach machine code: those that use this module's decorators, and the engine's folder."""
    package = Path(__file__).parent
    here = Path(__file__), package / "linking.py"
    return [
        path
        for path in sorted(package.rglob("*.py"))
        if path.parent.name == "cpu" or path in here or b"from fastnn.compiler import" in path.read_bytes()
    ]


@lru_cache(1)
def source_hash() -> str:
    """Hash of the sources that are compiled, and of what else decides the machine code that they become."""
    digest = hashlib.sha256()
    for path in compiled_sources():
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    flags = [getattr(config, name) for name in ("BOUNDSCHECK", "OPT", "DEBUGINFO_DEFAULT")]
    digest.update(repr((numba.__version__, llvmlite.__version__, sys.version, flags)).encode())
    return digest.hexdigest()[:20]


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_name() -> str:
    """The CPU that LLVM compiles for, in LLVM's words."""
    return str(registry.cpu_target.target_context.codegen().magic_tuple()[1])


def _private(folder: Path) -> bool:
    """Make `folder` and see that nobody else can write to it: its files are executed."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode):
            return False
        if hasattr(os, "geteuid"):
            if found.st_uid != os.geteuid():
                return False
            if found.st_mode & 0o077:
                folder.chmod(0o700)
        return os.access(folder, os.W_OK | os.X_OK)
    except OSError:
        return False


@lru_cache(1)
def cache_folder() -> Path:
    """The private folder of this version's compiled code: `$FASTNN_CACHE_DIR` or the user's cache folder, and below."""
    chosen = os.environ.get("FASTNN_CACHE_DIR")
    root = Path(chosen) if chosen else platformdirs.user_cache_path("fastnn")
    folder = root / "kernels" / source_hash()
    if _private(folder.parent) and _private(folder):
        return folder
    temporary = Path(tempfile.mkdtemp(prefix="fastnn-kernels-"))
    warnings.warn(
        f"{folder} is not a folder that only this user can write; compiled kernels go to {temporary} "
        "and are compiled again by every process (set FASTNN_CACHE_DIR to a private folder)",
        RuntimeWarning,
        stacklevel=2,
    )
    return temporary


class DiskCache(_Cache):
    """What a Numba dispatcher or callback asks for compiled code; `name` must be unique within fastnn."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.enabled = True

    @property
    def cache_path(self) -> str:
        return str(cache_folder())

    def enable(self) -> None:
        self.enabled = True

    def disable(self) -> None:
        self.enabled = False

    def flush(self) -> None:
        for path in cache_folder().glob(f"{self.name}-*.kernel"):
            path.unlink(missing_ok=True)

    def path(self, sig: Any, codegen: Any) -> Path:
        key = repr((self.name, str(sig), codegen.magic_tuple()))
        return cache_folder() / f"{self.name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.kernel"

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        # Numba refreshes the context here, which imports all that it can compile (0.2 s); loading needs none of it.
        found = self._load(self.path(sig, target_context.codegen()), target_context) if self.enabled else None
        if found is None:
            counts.misses.append(self.name)
            _compiling.begin()
            _compiling.miss()
        else:
            counts.hits.append(self.name)
        return found

    def _load(self, path: Path, target_context: Any) -> Any:
        try:
            data = path.read_bytes()
        except OSError:
            return None
        try:
            if hashlib.sha256(data[32:]).digest() != data[:32]:
                raise ValueError("its checksum does not match")
            return self.rebuilt(target_context, pickle.loads(data[32:]))
        except Exception as reason:  # noqa: BLE001  whatever a damaged entry raises, the cure is the same
            warnings.warn(f"damaged cache entry {path} ({reason}); compiling it again", RuntimeWarning, stacklevel=2)
            path.unlink(missing_ok=True)
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            payload = self.reduced(data) if self.enabled else b""
            if payload:
                self._write(self.path(sig, self.codegen(data)), hashlib.sha256(payload).digest() + payload)
        finally:
            _compiling.end()

    # ---- what another target's compiled code has of its own ----

    @staticmethod
    def reduced(data: Any) -> bytes:
        """The compiled code as bytes; none where it holds an address of this process."""
        if data.library.has_dynamic_globals:
            return b""
        library, *rest = data._reduce()
        bitcode = library[2][1]
        return dumps((bitcode, without_bitcode(library), *rest))  # type: ignore[no-untyped-call]

    @staticmethod
    def rebuilt(target_context: Any, found: Any) -> Any:
        """The compiled code again, from what the bytes hold."""
        bitcode, *rest = found
        built = CompileResult._rebuild(target_context, *rest)  # type: ignore[no-untyped-call]
        parse_when_called(built.library, bitcode)
        return built

    @staticmethod
    def codegen(data: Any) -> Any:
        """What generated the code."""
        return data.codegen

    def _write(self, path: Path, data: bytes) -> None:
        # A full or read-only disk costs the next process a compile, not this one its result.
        with contextlib.suppress(OSError):
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".tmp")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                os.replace(temporary, path)
            except OSError:
                Path(temporary).unlink(missing_ok=True)
                raise


# ---- decorators ------------------------------------------------------------------------------------------------------

_names: set[str] = set()
_building = threading.RLock()
_callbacks: list[Any] = []  # alive as long as the process: kernels hold their addresses


def _claim(name: str) -> DiskCache:
    assert name not in _names, f"two kernels are called {name}"
    _names.add(name)
    return DiskCache(name)


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a function that Python calls, for each new signature, with its machine code kept on disk."""
    dispatcher = numba.njit(pipeline_class=OuterCompiler, **FLAGS)(function)
    dispatcher._cache = _claim(f"{function.__module__.rpartition('fastnn.')[2]}.{function.__name__}")
    return dispatcher


def inner(function: Callable[..., Any]) -> Any:
    """Compile a function that only kernels call; its machine code is kept as part of theirs."""
    return numba.njit(pipeline_class=InnerCompiler, **_INNER, **FLAGS)(function)


def inlined(function: Callable[..., Any]) -> Any:
    """Compile a function that is called once a step into its caller: a call would copy every field of its tuples.

    That is 300 numbers for `Net` and `Work`: 0.1 us for each of five calls in a step of 3.8.
    """
    return numba.njit(forceinline=True, pipeline_class=InnerCompiler, **_INNER, **FLAGS)(function)


def standalone(inner: Any) -> Any:
    """An inner function that Python calls too: for CUDA's simulator, whose kernels run in Python.

    Kept on disk under its full name: those of one name differ in the type of their numbers only.
    """
    function = inner.py_func
    dispatcher = numba.njit(pipeline_class=OuterCompiler, **FLAGS)(function)
    dispatcher._cache = DiskCache(f"standalone.{function.__qualname__.replace('.<locals>', '')}")
    return dispatcher


def scalar(function: Callable[..., Any]) -> Any:
    """Compile a formula on single numbers so that it melts into the loop that calls it, which then vectorizes."""
    return numba.njit(inline="always", **FLAGS)(function)


def once(build: Callable[..., Built]) -> Callable[..., Built]:
    """Remember what `build` gave for each of its arguments; of two threads that ask for the same, one builds it."""
    cached = lru_cache(None)(build)

    @wraps(build)
    def built(*args: Any) -> Built:
        with _building:
            return cached(*args)

    return built


def block(name: str, signature: Any, function: Callable[..., Any]) -> int:
    """Compile `function` as a C callback and return the address that kernels call; kept on disk under `name`.

    A block runs over many numbers, so the indirect call costs nothing that can be measured (0.8 ns an element for
    512 tanh, called or inlined), and the kernel that calls it need not be compiled again for another block.
    """
    options = {"fastmath": FASTMATH, "error_model": "numpy", "_nrt": False}
    types = signature.args, signature.return_type
    callback: Any = CFunc(function, types, locals={}, options=options, pipeline_class=OuterCompiler)
    callback._cache = _claim(name)
    callback.compile()
    _callbacks.append(callback)
    return int(callback.address)
