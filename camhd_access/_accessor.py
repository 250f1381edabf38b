"""The xarray accessor `.camhd`, registered once xarray is loaded, in whichever order.

xarray takes a third of a second to import, and has no entry point for accessors. An import hook waits for it,
so that `import camhd_access` need not load it, and arrays made elsewhere have the accessor. What is
registered is a function: the accessor's class is imported when `.camhd` is first used.
"""

import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray as xr

    from camhd_access.output.accessor import CamhdAccessor

__all__ = ["register_accessor"]


def register_accessor() -> None:
    """Register the accessor: now if xarray is loaded already, else when it is imported."""
    if "xarray" in sys.modules:
        _register(sys.modules["xarray"])
    else:
        sys.meta_path.insert(0, _XarrayFinder())


def camhd(array: "xr.DataArray") -> "CamhdAccessor":
    """Operations on movies and frames: `movie.camhd.plan()`, `movie[7200].camhd.imshow()`, …"""
    from camhd_access.output.accessor import CamhdAccessor  # noqa: PLC0415 - imported on first use

    return CamhdAccessor(array)


def _register(xarray: ModuleType) -> None:
    xarray.register_dataarray_accessor("camhd")(camhd)


class _XarrayFinder:
    """Finds xarray like the default finder, and registers the accessor after it is loaded.

    Not derived from `importlib.abc.MetaPathFinder`, which takes as long to import as all of this package.
    """

    def find_spec(
        self,
        fullname: str,
        path: "Sequence[str] | None",  # noqa: ARG002 - the import system's signature
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        """The spec that the other finders return."""
        if fullname != "xarray" or self not in sys.meta_path:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_and_register(module: ModuleType) -> None:
                load(module)
                _register(module)

            spec.loader.exec_module = load_and_register  # type: ignore[method-assign]  # only of this loader
        return spec
