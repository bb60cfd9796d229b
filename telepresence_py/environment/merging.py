"""PURE: the child's environment: the container's variables over the laptop's, but for a list of exceptions
and for what the user chooses.

The exceptions (`KEPT`) are variables that describe the machine on which the process runs, not the service:
where programs and libraries lie, which terminal and desktop there is, which debugger is attached. The pod's
value of such a variable would be wrong here. docs/environment.md shows the same list to users.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from telepresence_py.model.intent import EnvironmentChoice


@dataclass(frozen=True)
class KeptGroup:
    """Variables of one concern that stay as the laptop has them. A `*` in a pattern stands for any end."""

    concern: str
    patterns: tuple[str, ...]


def _group(concern: str, patterns: str) -> KeptGroup:
    return KeptGroup(concern, tuple(patterns.split()))


KEPT: tuple[KeptGroup, ...] = (
    _group("The user and the directories", "HOME LOGNAME MAIL OLDPWD PWD SHELL SHLVL TEMP TMP TMPDIR USER _"),
    _group("Where programs and libraries lie", "LD_* MANPATH PATH PKG_CONFIG_PATH"),
    _group(
        "Terminal", "COLORTERM COLUMNS LINES STY TERM TERMINFO TERM_PROGRAM* TERM_SESSION_ID TMUX TMUX_PANE"
    ),
    _group(
        "Desktop and login",
        "DBUS_* DISPLAY GPG_AGENT_INFO GPG_TTY SSH_AGENT_PID SSH_ASKPASS* SSH_AUTH_SOCK SSH_CLIENT "
        "SSH_CONNECTION SSH_TTY WAYLAND_DISPLAY XAUTHORITY XDG_*",
    ),
    _group(
        "Python",
        "CONDA_* PYENV_* PYTHONEXECUTABLE PYTHONHOME PYTHONPATH PYTHONPLATLIBDIR PYTHONPYCACHEPREFIX "
        "PYTHONSTARTUP PYTHONUSERBASE VIRTUAL_ENV*",
    ),
    _group(
        "Java",
        "CATALINA_BASE CATALINA_HOME CLASSPATH GRADLE_* JAVA_HOME JAVA_TOOL_OPTIONS JDK_JAVA_OPTIONS "
        "MAVEN_* _JAVA_OPTIONS",
    ),
    _group("Go", "GOBIN GOCACHE GOENV GOFLAGS GOMODCACHE GOPATH GOROOT GOTOOLCHAIN GOTOOLDIR"),
    _group("Node.js", "NODE_OPTIONS NODE_PATH NPM_CONFIG_* NVM_* npm_*"),
    _group(
        "Ruby, Perl, PHP", "BUNDLE_* GEM_* PERL5LIB PERL5OPT PHPRC PHP_INI_SCAN_DIR RBENV_* RUBYLIB RUBYOPT"
    ),
    _group(
        ".NET",
        "CORECLR_* DOTNET_ADDITIONAL_DEPS DOTNET_HOST_PATH DOTNET_ROOT* DOTNET_SHARED_STORE "
        "DOTNET_STARTUP_HOOKS",
    ),
    _group("Rust", "CARGO_HOME RUSTUP_*"),
    _group(
        "Debuggers and editors",
        "BUNDLED_DEBUGPY_PATH DEBUGPY_* ELECTRON_* IDEA_* INTELLIJ_* JETBRAINS_* PYCHARM_* PYDEVD* VSCODE_*",
    ),
    _group("This tool", "TELEPRESENCE_PY_*"),
)
"""docs/environment.md has the same groups in the same order; a test compares them."""

_KEPT_NAME = re.compile("|".join(fnmatch.translate(pattern) for group in KEPT for pattern in group.patterns))


def stays_the_laptops(name: str) -> bool:
    """Whether the pod's value of that variable is left out."""
    return _KEPT_NAME.match(name) is not None


def matches(name: str, globs: Iterable[str]) -> bool:
    """Whether one of them matches the whole name; case counts."""
    return any(fnmatch.fnmatchcase(name, glob) for glob in globs)


def given(pod: Mapping[str, str], choice: EnvironmentChoice) -> dict[str, str]:
    """What the child has from elsewhere than the laptop: the pod's variables where the pod may say and the
    user lets it, and over them, whatever their names, those that the user lays over them."""
    taken = {name: value for name, value in pod.items() if _takes(name, choice)}
    return taken | choice.laid_over


def with_method(choice: EnvironmentChoice, variables: Mapping[str, str]) -> EnvironmentChoice:
    """The choice with what the way of isolating gives the child laid over the pod's and the laptop's, but for
    what the user unsets or sets himself."""
    kept = {name: value for name, value in variables.items() if not matches(name, choice.unset)}
    return replace(choice, laid_over=kept | choice.laid_over)


def merge(pod: Mapping[str, str], laptop: Mapping[str, str], choice: EnvironmentChoice) -> dict[str, str]:
    """The child's environment: the laptop's variables, but for those that are unset, with the given ones over
    them.

    Values are taken as they are: empty, of several lines, or with surrogate escapes for bytes that are not
    UTF-8. A kept variable that the laptop does not have is not in the child's environment either.
    """
    remaining = {name: value for name, value in laptop.items() if not matches(name, choice.unset)}
    return remaining | given(pod, choice)


def left_out(pod: Iterable[str]) -> tuple[str, ...]:
    """Names of the pod's variables that are never taken, sorted, to be told to the user."""
    return tuple(sorted(name for name in pod if stays_the_laptops(name)))


def without_effect(globs: Iterable[str], names: Iterable[str]) -> tuple[str, ...]:
    """The globs that match none of the names: most often a slip of the pen."""
    names = tuple(names)
    return tuple(glob for glob in globs if not any(matches(name, (glob,)) for name in names))


def _takes(name: str, choice: EnvironmentChoice) -> bool:
    included = not choice.include or matches(name, choice.include)
    return included and not stays_the_laptops(name) and not matches(name, (*choice.exclude, *choice.unset))
