"""Records the calls of this process that change a folder, and makes some of them fail."""

import builtins
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from mmfeat.storage.output_file import OutputFile
from tests.crash.disk import Operation, Tree


class Recorder:
    """Stands between mmfeat and the disk.

    Args:
        root: the folder to watch.
        fail_every: every n-th call fails; 0 = none.
        error: number of the error.

    Attributes:
        before: the content of the folder before the first call.
        operations: the calls, in order.
        failed_calls: how many calls failed.
    """

    def __init__(self, root: Path, fail_every: int = 0, error: int = 0) -> None:
        self.operations: list[Operation] = []
        self.failed_calls = 0
        self._root = str(root)
        self._fail_every, self._error = fail_every, error
        self._calls = 0
        self.before = read_tree(root)
        self._files = {path: -1 - number for number, path in enumerate(self.before)}
        self._next_file = 1
        self._appended: dict[str, bytes] = {}
        self._lock = threading.RLock()

    @contextmanager
    def watch(self) -> Iterator["Recorder"]:
        """Record while the block runs."""
        with ExitStack() as stack:
            for owner, name, wrapper in (
                (builtins, "open", self._open),
                (os, "fsync", self._fsync),
                (os, "replace", self._rename),
                (os, "rename", self._rename),
                (os, "remove", self._remove),
                (os, "unlink", self._remove),
                (os, "mkdir", self._mkdir),
                (os, "rmdir", self._rmdir),
                (shutil, "rmtree", self._rmtree),
                (OutputFile, "write", self._write),
            ):
                real = getattr(owner, name)
                stack.enter_context(patch.object(owner, name, _bind(wrapper, real)))
            yield self

    def _open(self, real: Any, file: Any, mode: str = "r", *rest: Any, **options: Any) -> Any:
        path = self._relative(file)
        if path is None:
            return real(file, mode, *rest, **options)
        with self._lock:
            self._call(file)
            if not {*mode} & {*"wax+"}:
                return real(file, mode, *rest, **options)
            exists = os.path.lexists(file)
            opened = real(file, mode, *rest, **options)
            if not exists:
                self._record(Operation("create", path, self._new_file(path)))
            if "a" in mode:
                self._appended.setdefault(path, b"")
            return opened

    def _write(self, real: Any, output: OutputFile, data: Any) -> int:
        self._call("a write")
        return int(real(output, data))

    def _fsync(self, real: Any, descriptor: int) -> None:
        name = os.readlink(f"/proc/self/fd/{descriptor}")
        path = self._relative(name)
        with self._lock:
            if path is None:
                return  # nothing is lost if a test does not sync its own files
            self._call(name)
            if os.path.isdir(name):
                self._record(Operation("sync_folder", path))
            else:
                content = Path(name).read_bytes()
                self._record(Operation("sync_file", path, self._files.get(path, 0), content))

    def _rename(self, real: Any, source: Any, target: Any, **options: Any) -> None:
        path, new_path = self._relative(source), self._relative(target)
        if path is None or new_path is None:
            return real(source, target, **options)
        with self._lock:
            self._call(target)
            real(source, target, **options)
            file = self._files[new_path] = self._files.pop(path, 0)
            self._record(Operation("rename", path, file, target=new_path))

    def _remove(self, real: Any, name: Any, **options: Any) -> None:
        self._change("remove", real, name, **options)

    def _mkdir(self, real: Any, name: Any, *rest: Any, **options: Any) -> None:
        self._change("make_folder", real, name, *rest, **options)

    def _rmdir(self, real: Any, name: Any, **options: Any) -> None:
        self._change("remove_folder", real, name, **options)

    def _rmtree(self, real: Any, name: Any, *rest: Any, **options: Any) -> None:
        if self._relative(name) is None:
            return real(name, *rest, **options)
        for parent, folders, names in os.walk(name, topdown=False):
            for file in names:
                os.remove(os.path.join(parent, file))
            for folder in folders:
                os.rmdir(os.path.join(parent, folder))
        os.rmdir(name)

    def _change(self, kind: Any, real: Any, name: Any, *rest: Any, **options: Any) -> None:
        path = None if options.get("dir_fd") is not None else self._relative(name)
        if path is None:
            return real(name, *rest, **options)
        with self._lock:
            self._call(name)
            real(name, *rest, **options)
            self._record(Operation(kind, path))
            self._files.pop(path, None)
            self._appended.pop(path, None)

    def _relative(self, name: Any) -> str | None:
        """Return a path relative to the root; None if it is elsewhere."""
        if not isinstance(name, str | os.PathLike):
            return None
        path = os.path.abspath(os.fspath(name))
        if path != self._root and not path.startswith(f"{self._root}/"):
            return None
        return path[len(self._root) + 1 :]

    def _new_file(self, path: str) -> int:
        self._files[path] = self._next_file
        self._next_file += 1
        return self._files[path]

    def _record(self, operation: Operation) -> None:
        for path, known in self._appended.items():  # they are never synced
            name = os.path.join(self._root, path)
            content = Path(name).read_bytes() if os.path.exists(name) else known
            if content != known:
                self._appended[path] = content
                file = self._files.get(path, 0)
                self.operations.append(Operation("write", path, file, content))
        self.operations.append(operation)

    def _call(self, name: Any) -> None:
        self._calls += 1
        if self._fail_every and self._calls % self._fail_every == 0:
            self.failed_calls += 1
            raise OSError(self._error, os.strerror(self._error), str(name))


def _bind(wrapper: Callable[..., Any], real: Any) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        return wrapper(real, *arguments, **options)

    return call


def read_tree(root: Path) -> Tree:
    """Read a folder."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(root.rglob("*"))
    }


def write_tree(root: Path, tree: Tree) -> None:
    """Replace a folder by another content."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    for path, content in tree.items():
        if content is None:
            (root / path).mkdir()
        else:
            (root / path).write_bytes(content)
