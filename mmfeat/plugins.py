"""Plug-ins: encoders, fusions, combinations and input forms of other packages.

A package names them as entry points of the groups `mmfeat.encoders`, `mmfeat.fusions`,
`mmfeat.combinations` and `mmfeat.sources`. An object of an importable module can also be named
directly, `MODULE:NAME`, if the user trusts the module: a name in a stored model imports no code.
"""

import importlib
import os
from collections.abc import Iterator, Mapping, MutableMapping
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from typing import Any, Generic, TypeVar

from mmfeat.errors import MmfeatError, did_you_mean

T = TypeVar("T")

GROUPS = ("mmfeat.encoders", "mmfeat.fusions", "mmfeat.combinations", "mmfeat.sources")
"""The groups of entry points."""

TRUSTED = "MMFEAT_PLUGINS"
"""Environment variable: modules, separated by commas, from which `MODULE:NAME` is loaded."""


class Registry(MutableMapping[str, T], Generic[T]):
    """Objects by name: those of mmfeat, those of installed plug-ins, and `MODULE:NAME`.

    Args:
        group: group of the entry points.
        own: the objects of mmfeat. A plug-in cannot replace one.
    """

    def __init__(self, group: str, own: Mapping[str, T]) -> None:
        self._group, self.own = group, dict(own)

    @cached_property
    def _plugins(self) -> dict[str, EntryPoint]:
        found = entry_points(group=self._group)
        return {point.name: point for point in found if point.name not in self.own}

    def __getitem__(self, name: str) -> T:
        if name in self.own:
            return self.own[name]
        if name in self._plugins:
            loaded: T = load_entry_point(self._plugins[name])
            return loaded
        if is_trusted(name):
            imported: T = import_object(name)
            return imported
        raise KeyError(name)

    def __setitem__(self, name: str, value: T) -> None:
        """Register an object in this process, for example in a notebook."""
        self.own[name] = value

    def __delitem__(self, name: str) -> None:
        del self.own[name]

    def __iter__(self) -> Iterator[str]:
        yield from self.own
        yield from self._plugins

    def __len__(self) -> int:
        return len(self.own) + len(self._plugins)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (
            name in self.own or name in self._plugins or is_trusted(name)
        )


def load_entry_point(point: EntryPoint) -> Any:
    """Import the object of an entry point.

    Raises:
        MmfeatError: it cannot be imported.
    """
    try:
        return point.load()
    except Exception as error:
        package = point.dist.name if point.dist else point.module
        raise MmfeatError(
            f"the plug-in {point.name!r} of {package} cannot be imported "
            f"({type(error).__name__}: {error})",
            cure="Repair or uninstall that package",
        ) from error


def is_path(name: str) -> bool:
    """Return whether a name has the form `MODULE:NAME`."""
    module, colon, attribute = name.partition(":")
    return (
        bool(colon) and attribute.isidentifier() and all(map(str.isidentifier, module.split(".")))
    )


def is_trusted(name: str) -> bool:
    """Return whether a name is `MODULE:NAME` of a module that the user trusts."""
    modules = os.environ.get(TRUSTED, "").split(",")
    return is_path(name) and name.partition(":")[0] in map(str.strip, modules)


def trust(name: str) -> None:
    """Trust the module of `MODULE:NAME` in this process and in those that it starts."""
    if is_path(name) and not is_trusted(name):
        modules = [name.partition(":")[0], *filter(None, [os.environ.get(TRUSTED)])]
        os.environ[TRUSTED] = ",".join(modules)


def can_import(module: str) -> bool:
    """Return whether there is a module of this name."""
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def path_cure(name: str) -> str:
    """Return what to do if a stored name is `MODULE:NAME` and not trusted; empty for others."""
    if not is_path(name):
        return ""
    return f"If you trust the module, run with {TRUSTED}={name.partition(':')[0]}"


def import_object(name: str) -> Any:
    """Import the object of `MODULE:NAME`.

    Raises:
        MmfeatError: there is no such object.
    """
    path, _, attribute = name.partition(":")
    try:
        module = importlib.import_module(path)
    except Exception as error:
        raise MmfeatError(
            f"{name} cannot be imported ({type(error).__name__}: {error})",
            cure="Install its package, or add its folder to PYTHONPATH",
        ) from error
    try:
        return getattr(module, attribute)
    except AttributeError:
        raise MmfeatError(
            f"the module {path} has no {attribute!r}",
            cure=did_you_mean(attribute, dir(module)),
        ) from None


def explain_plugin_error(error: BaseException) -> MmfeatError | None:
    """Return an error of one line if the code of a plug-in has raised an exception, else None.

    Args:
        error: the exception, with its traceback.
    """
    packages = _plugin_packages()
    trace, found = error.__traceback__, None
    while trace:
        module = str(trace.tb_frame.f_globals.get("__name__")).partition(".")[0]
        found = (trace, packages[module]) if module in packages else found
        trace = trace.tb_next
    if found is None:
        return None
    code = found[0].tb_frame.f_code
    place = f"{os.path.basename(code.co_filename)}, line {found[0].tb_lineno}"
    return MmfeatError(
        f"the plug-in {found[1]} failed in {code.co_qualname} ({place}): "
        f"{type(error).__name__}: {error}",
        cure="Repair or uninstall that package; MMFEAT_LOG=debug shows the traceback",
    )


def _plugin_packages() -> dict[str, str]:
    """Return the modules of plug-ins: top-level module → name of its package."""
    points = [point for group in GROUPS for point in entry_points(group=group)]
    trusted = filter(None, map(str.strip, os.environ.get(TRUSTED, "").split(",")))
    names = {module.partition(".")[0]: module for module in trusted}
    return names | {
        point.module.partition(".")[0]: point.dist.name if point.dist else point.module
        for point in points
    }
