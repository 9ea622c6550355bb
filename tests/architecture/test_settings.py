"""Every setting stands in the reference, with its variable and its default."""

from __future__ import annotations

import re
from dataclasses import MISSING, fields

import pytest

from executions.errors import InvalidSetting
from executions.settings import PREFIX, Settings
from tests.architecture.source import ROOT

PAGE = (ROOT / "docs/reference/settings.md").read_text()
ROWS = dict(re.findall(r"^\| `(\w+)` \| `EXECUTIONS_.+?` \| (.*?) \|", PAGE, re.MULTILINE))


def test_the_table_lists_every_setting_with_its_default() -> None:
    defaults = {f.name: f.default for f in fields(Settings) if f.default is not MISSING}
    assert ROWS.keys() == {f.name for f in fields(Settings)}
    assert {name: text for name, text in ROWS.items() if name in defaults} == {
        name: f"`{value}`" if value != "" else "" for name, value in defaults.items()
    }
    assert [name for name in ROWS if f"`{PREFIX}{name.upper()}`" not in PAGE] == []


@pytest.mark.parametrize("field", [f for f in fields(Settings) if f.type in ("int", "float")], ids=lambda f: f.name)
@pytest.mark.parametrize("text", ["many", "-1", "0"])
def test_a_wrong_value_is_refused_by_the_name_of_its_variable(field: object, text: str) -> None:
    variable = f"{PREFIX}{field.name.upper()}"  # type: ignore[attr-defined]
    with pytest.raises(InvalidSetting, match=variable):
        Settings.from_env({variable: text})
