# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is told goes to the screen and, where a person gave a file, in that file's form into it."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.errors import AnsibleActionFail
from ansible.utils.display import Display

from plugins.plugin_utils import control_action
from plugins.plugin_utils.control_action import bound, replace, tell

FORMS = {"text": lambda: "as text", "json": lambda: "{}", "markdown": lambda: "# it"}


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    monkeypatch.setattr(Display, "display", lambda _self, words, *_more, **_named: said.append(words.strip()))
    return said


@pytest.mark.parametrize(
    ("form", "name", "told"),
    [
        pytest.param(None, None, (None, "as text"), id="nothing given: text on the screen"),
        pytest.param("json", None, (None, "{}"), id="a form alone is for the screen"),
        pytest.param(None, "it.json", ("{}", "as text"), id="the suffix tells the form of the file"),
        pytest.param("markdown", "it.json", ("# it", "as text"), id="a form wins over the suffix"),
        pytest.param(None, "it.html", ("as text", "as text"), id="a form that there isn't is text"),
        pytest.param(None, "it", ("as text", "as text"), id="no suffix is text"),
    ],
)
def test_forms(screen: list[str], tmp_path: Path, form: str | None, name: str | None, told: tuple[str | None, str]) -> None:
    file = str(tmp_path / name) if name else None
    tell(FORMS, form, file, "plan_file")
    assert (Path(file).read_text() if file else None, *screen) == told


def test_a_file_that_cannot_be_written_is_named_with_its_variable(tmp_path: Path) -> None:
    with pytest.raises(AnsibleActionFail, match=r"plan_file .*/none/it can't be written: No such file"):
        tell(FORMS, None, str(tmp_path / "none/it"), "plan_file")


def test_a_file_is_replaced_whole_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "scaled.yml"
    for text in ("one", "two"):
        replace(file, text)
        assert file.read_text() == text
    assert list(tmp_path.iterdir()) == [file]


def test_a_long_log_begins_anew_and_the_old_one_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_action, "LOG_BYTES", 5)
    log = tmp_path / "runs.log"
    bound(log)
    log.write_text("12345")
    bound(log)
    assert log.exists()
    log.write_text("123456")
    bound(log)
    assert [path.name for path in tmp_path.iterdir()] == ["runs.log.old"]
