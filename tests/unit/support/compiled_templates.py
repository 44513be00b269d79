# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compile each template once for all tests of a process.

Ansible makes a new Jinja environment for every Templar, and each compiles the same sources again: half the time of a test
that renders a role. The compiled code knows nothing of its environment, so one may serve them all.
"""

from __future__ import annotations

from types import CodeType
from typing import Any

from ansible._internal._templating import _jinja_bits
from jinja2 import nodes
from jinja2.environment import TemplateExpression

Environment = _jinja_bits.AnsibleEnvironment


def remember_compiled_templates() -> None:
    """From now on, in this process. What is the same source under other settings of Jinja is compiled anew."""
    compile_anew = Environment.compile
    expression_anew = Environment.compile_expression
    templates: dict[tuple[Any, ...], CodeType] = {}
    expressions: dict[tuple[Any, ...], CodeType] = {}
    of_nodes: list[CodeType] = []

    def compile_once(self: Environment, source: str | nodes.Template, *args: Any, **options: Any) -> Any:
        if not isinstance(source, str):
            code = compile_anew(self, source, *args, **options)
            of_nodes.append(code)
            return code
        key = (str(source), args, tuple(sorted(options.items())), _settings(self))
        if key not in templates:
            templates[key] = compile_anew(self, source, *args, **options)
        return templates[key]

    def expression_once(self: Environment, source: str, undefined_to_none: bool = True) -> TemplateExpression:
        key = (str(source), _settings(self))
        if key not in expressions:
            of_nodes.clear()
            expression_anew(self, source, undefined_to_none)
            expressions[key] = of_nodes.pop()
        template = self.template_class.from_code(self, expressions[key], self.make_globals(None))
        return TemplateExpression(template, undefined_to_none)

    Environment.compile = compile_once
    Environment.compile_expression = expression_once


def _settings(environment: Environment) -> tuple[Any, ...]:
    """What makes other code of the same source."""
    context = _jinja_bits._TemplateCompileContext.current(optional=True)
    names = _jinja_bits._TEMPLATE_OVERRIDE_FIELD_NAMES
    return (context and context.escape_backslashes, *(getattr(environment, name) for name in names))
