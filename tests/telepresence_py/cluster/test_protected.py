from __future__ import annotations

import pytest

from telepresence_py.cluster.protected import is_protected, protected_patterns
from telepresence_py.model.errors import PreconditionFailed


def test_a_pattern_covers_the_whole_name_and_case_counts():
    assert is_protected("prod-eu", ["prod-*"])
    assert not is_protected("my-prod-eu", ["prod-*"])
    assert not is_protected("PROD-eu", ["prod-*"])
    assert not is_protected("prod-eu", [])


def test_patterns_come_from_the_config_file_and_none_from_no_file(tmp_path):
    environment = {"XDG_CONFIG_HOME": str(tmp_path)}
    assert protected_patterns(environment) == ()
    (tmp_path / "telepresence-py").mkdir()
    (tmp_path / "telepresence-py" / "config.toml").write_text('protected_contexts = ["prod-*", "live"]\n')
    assert protected_patterns(environment) == ("prod-*", "live")


def test_without_xdg_the_file_is_below_home(tmp_path):
    (tmp_path / ".config" / "telepresence-py").mkdir(parents=True)
    (tmp_path / ".config" / "telepresence-py" / "config.toml").write_text('protected_contexts = ["a"]')
    assert protected_patterns({"HOME": str(tmp_path)}) == ("a",)


@pytest.mark.parametrize(
    "text", ["protected_contexts = [", 'protected_contexts = "prod-*"', "protected_contexts = [1]"]
)
def test_a_file_that_cannot_be_understood_is_refused_rather_than_skipped(tmp_path, text):
    (tmp_path / "telepresence-py").mkdir()
    (tmp_path / "telepresence-py" / "config.toml").write_text(text)
    with pytest.raises(PreconditionFailed, match=r"config\.toml"):
        protected_patterns({"XDG_CONFIG_HOME": str(tmp_path)})
