"""Every error has its own place among the exit codes."""

from __future__ import annotations

from telepresence_py.model import errors


def test_exit_codes_are_those_of_the_documentation():
    codes = {cls.__name__: cls.exit_code for cls in errors.TelepresenceError.__subclasses__()}
    assert codes == {
        "BadUsage": 2,
        "NamedObjectMissing": 66,
        "ClusterUnreachable": 69,
        "InternalError": 70,
        "WorkloadHeld": 73,
        "SessionLost": 75,
        "NoRights": 77,
        "PreconditionFailed": 78,
        "CommandNotExecutable": 126,
        "CommandNotFound": 127,
    }


def test_an_error_is_found_by_its_name():
    assert errors.error_named("NoRights") is errors.NoRights
    assert errors.error_named("Unheard") is errors.InternalError
