# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What actions that work on the control node have in common: how they begin, and how they keep files."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from .before_fork import load_filters

load_filters()

BY_SUFFIX = {".json": "json", ".md": "markdown", ".html": "html"}
LOG_BYTES = 5_000_000


class Action(ActionBase):  # type: ignore[misc]
    """An action whose arguments are checked, and which knows itself what to leave out in check mode."""

    _supports_check_mode = True
    TRANSFERS_FILES = False
    SPEC: ClassVar[Mapping[str, Mapping[str, Any]]]

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = self.validate_argument_spec(argument_spec=self.SPEC)[1]
        return {**result, **self.work(arguments, task_vars or {})}

    @abstractmethod
    def work(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Do it; what comes back is the task's result. Raises AnsibleActionFail."""


class ControlAction(Action):
    """One that needs no connection to its host."""

    _requires_connection = False


def tell(forms: Mapping[str, Callable[[], str]], form: str | None, file: str | None, variable: str) -> None:
    """Print what C(forms) make in C(form); with a file that gets it, and the text is printed. Raises AnsibleActionFail.

    Without C(form) the file's suffix tells it, else it is text. C(variable) is where a person gave the file.
    """
    chosen = form or BY_SUFFIX.get(Path(file or "").suffix, "text")
    chosen = chosen if chosen in forms else "text"
    if file:
        write(Path(file), forms[chosen](), variable)
    Display().display("\n" + forms["text" if file else chosen]())


def write(file: Path, text: str, variable: str) -> None:
    """Write a file that a person asked for in C(variable). Raises AnsibleActionFail."""
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise AnsibleActionFail(f"{variable} {file} can't be written: {error.strerror}") from error


def replace(file: Path, text: str) -> None:
    """The whole file or the old one, whenever this is interrupted. Raises OSError."""
    # A suffix that no folder of an inventory reads.
    partial = file.with_name(f".{file.name}.{os.getpid()}.md")
    try:
        partial.write_text(text, "utf-8")
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def bound(log: Path) -> None:
    """Begin a log anew when it has grown long, and keep the old one beside it. Raises OSError."""
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_suffix(f"{log.suffix}.old"))
