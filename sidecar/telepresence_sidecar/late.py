"""Modules that something imports for a case that hardly ever comes: they are loaded when it comes.

`inspect` imports ast to read the signatures of functions in C, trio imports idna for names that are not
ASCII, `subprocess` imports locale for text: half a megabyte and less, in processes that live for hours.
(importlib's own LazyLoader loads at the next `import` already, as that looks at the module's `__spec__`.)
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

SELDOM_USED: Mapping[str, Mapping[str, Any]] = {
    "ast": {
        "NodeVisitor": object
    },  # of it inspect derives what finds the source of a class; nobody here asks
    "calendar": {},
    "idna": {},
    "locale": {},
}
"""Each with the names that are asked for at once."""


class _Late(ModuleType):
    """Becomes the module that it stands for at the first look at a name that is not there."""

    def __getattr__(self, name: str) -> Any:
        self.__class__ = ModuleType  # type: ignore[assignment]
        spec = self.__spec__
        assert spec is not None
        assert spec.loader is not None
        spec.loader.exec_module(self)
        return getattr(self, name)


def put_off(modules: Mapping[str, Mapping[str, Any]]) -> None:
    """Whoever imports one of these modules from now on has it, but it is executed by the first use of a name
    in it, but those that are given here: module name to them.

    One that is here already, or nowhere, stays as it is. `from NAME import ...` is such a use. For modules
    that only one thread uses, as two could find one half executed.
    """
    for name, given in modules.items():
        spec = None if name in sys.modules else find_spec(name)
        if spec is None or spec.loader is None:
            continue
        module = module_from_spec(spec)
        vars(module).update(given)
        module.__class__ = _Late
        sys.modules[name] = module
