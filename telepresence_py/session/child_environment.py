"""The child's variables: put together, written to the files that the user asked for, and told about."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from telepresence_py.cluster.names import nearest
from telepresence_py.environment.merging import given, left_out, merge, without_effect
from telepresence_py.model.events import Event, Level, Report
from telepresence_py.model.intent import EnvironmentChoice
from telepresence_py.session.environment_files import write_environment_files


def child_environment(
    choice: EnvironmentChoice,
    pod: Mapping[str, str],
    report: Report,
    laptop: Mapping[str, str] = os.environ,
) -> dict[str, str]:
    """What the child is started with; the files of the choice are there then, or PreconditionFailed."""
    if names := left_out(pod):
        text = f"Variables that stay as they are on the laptop: {', '.join(names)}"
        report(Event("environment", text, Level.DETAIL))
    for text in slips(choice, pod):
        report(Event("environment-unmatched", text, Level.NOTICE))
    write_environment_files(choice, given(pod, choice), report)
    return merge(pod, laptop, choice)


def slips(choice: EnvironmentChoice, pod: Mapping[str, str]) -> Iterator[str]:
    """PURE: a line for each choice among the pod's variables that chooses none."""
    for option, globs in (("--env-include", choice.include), ("--env-exclude", choice.exclude)):
        for glob in without_effect(globs, pod):
            meant = nearest(glob, pod)
            hint = f"; did you mean {meant}?" if meant else ""
            yield f"{option} {glob} matches no variable of the pod{hint}"
    untaken = set(left_out(pod))
    for glob in without_effect(choice.include, pod.keys() - untaken):
        if not without_effect((glob,), untaken):
            yield f"--env-include {glob} matches only what stays as it is on the laptop; --env sets it"
