"""PURE: the nearest spelling among the names that exist."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(name: str, existing: Iterable[str]) -> str | None:
    """The existing name that `name` was most likely meant to be; None when nothing is similar."""
    from difflib import get_close_matches  # only a slip of the pen needs it

    by_lower = {candidate.lower(): candidate for candidate in sorted(existing)}
    found = get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    if found:
        return by_lower[found[0]]
    parts = [candidate for lower, candidate in by_lower.items() if name and name.lower() in lower]
    return parts[0] if parts else None


def suggestion(name: str, existing: Iterable[str], plural: str) -> str:
    """The end of a sentence on a missing name: `; did you mean "orders"?`, or which ones there are."""
    names = sorted(existing)
    meant = nearest(name, names)
    if meant is not None:
        return f'; did you mean "{meant}"?'
    if not names:
        return f": there are no {plural}"
    shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    return f": there are {shown}"
