# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Documentation of the action plug-in plugins/action/converge.py.

from __future__ import annotations

DOCUMENTATION = r"""
module: converge
short_description: Bring a role's packages, users, files and services to their state in one task
version_added: "0.1.0"
description:
  - Renders every file below the role's C(templates/) folder, whose paths mirror the host, and ships them in one transfer.
  - Installs what is missing, validates the whole new tree with the real tool before anything lands, writes what differs, removes
    files that the role wrote in an earlier run and no longer renders, and reloads or restarts just the services whose files changed.
  - An action that failed or was interrupted is remembered on the host in C(/var/lib/graphic_school) and repeated by the next run,
    which is why roles of this collection have no handlers.
  - Packages are installed by M(ansible.builtin.apt) and users made by M(ansible.builtin.user), only when they are missing.
author: graphic_school.scaling contributors (@graphic_school)
options:
  component:
    description: Name under which the host remembers what was written. Defaults to the name of the role.
    type: str
  parts:
    description:
      - What a role computes, each a dictionary with any of O(packages), O(users), O(directories), O(files), O(absent), O(validate),
        O(on_change) and O(services), which come before those given here.
      - An expression that gives many of them at once is worked out once for a host, not once for each option.
    type: list
    elements: dict
    version_added: "0.3.0"
  templates:
    description: Whether the role's C(templates/) folder is rendered. Folders in it that start with C(_) never are.
    type: bool
    default: true
  packages:
    description: Debian packages that must be installed.
    type: list
    elements: str
  default_release:
    description: Release that apt prefers for these packages, as C(apt-get -t) takes it.
    type: str
  users:
    description: System users that must exist.
    type: list
    elements: dict
    suboptions:
      name: {description: Name of the user., type: str, required: true}
      home: {description: Home directory; it is not created., type: str}
      shell: {description: Login shell., type: str, default: /usr/sbin/nologin}
      groups: {description: Further groups of the user., type: list, elements: str}
  directories:
    description: Directories that must exist, with owner and mode.
    type: list
    elements: dict
    suboptions:
      path: {description: Absolute path., type: path, required: true}
      owner: {description: Owner., type: str, default: root}
      group: {description: Group; the owner's name when left out., type: str}
      mode: {description: Mode as an octal string., type: str, default: "0755"}
  files:
    description: Files beside the template tree, such as one per instance of a service.
    type: list
    elements: dict
    suboptions:
      path: {description: Absolute path on the host., type: path, required: true}
      content: {description: The text of the file., type: str}
      template: {description: A template below the role's C(templates/) folder., type: str}
      vars: {description: Variables for the template., type: dict}
      owner: {description: Owner., type: str, default: root}
      group: {description: Group; the owner's name when left out., type: str}
      mode: {description: Mode as an octal string., type: str, default: "0644"}
      secret: {description: Never show the content., type: bool, default: false}
  file_options:
    description:
      - Owner, group, mode and secrecy of files, by glob. C(*) stays within a folder, C(**) crosses folders; later globs win.
    type: dict
  links:
    description: Symbolic links, from path to target.
    type: dict
  absent:
    description: Files and links that must not exist.
    type: list
    elements: path
  validate:
    description:
      - Commands that must accept the new state before it lands. Each runs in a mount namespace of its own, where the named trees
        show their new content at their real paths.
    type: list
    elements: dict
    suboptions:
      trees: {description: Folders to show with their new content., type: list, elements: path, required: true}
      command: {description: The command and its arguments., type: list, elements: str, required: true}
  on_change:
    description: Commands that run once after the files have landed, when a path that matches has changed.
    type: list
    elements: dict
    suboptions:
      paths: {description: Globs., type: list, elements: str, required: true}
      command: {description: The command and its arguments., type: list, elements: str, required: true}
  services:
    description: systemd units and what makes them reload or restart. Changed unit files cause a daemon-reload by themselves.
    type: list
    elements: dict
    suboptions:
      name: {description: Name of the unit., type: str, required: true}
      enabled: {description: Whether it starts at boot., type: bool, default: true}
      state: {description: Whether it runs., type: str, choices: [started, stopped], default: started}
      reload_on: {description: Globs of files whose change reloads the unit., type: list, elements: str}
      restart_on: {description: Globs of files whose change restarts the unit., type: list, elements: str}
      restart:
        description: With V(hold), a restart is never done here; RV(restart_pending) names the unit until it was restarted.
        type: str
        choices: [now, hold]
        default: now
attributes:
  check_mode:
    description: Can run in check mode, also on a host where nothing is installed yet.
    support: full
  diff_mode:
    description: Shows the lines that change, except in files marked secret.
    support: full
"""

EXAMPLES = r"""
- name: Main | Bring packages, files and services to their state
  graphic_school.scaling.converge:
    packages: [nginx]
    absent: [/etc/nginx/sites-enabled/default]
    validate: [{trees: [/etc/nginx], command: [nginx, -t]}]
    services: [{name: nginx, reload_on: ["/etc/nginx/**"]}]
"""

RETURN = r"""
changed_paths:
  description: Paths written, linked, removed, or given another owner or mode.
  returned: success
  type: list
  elements: str
services_reloaded:
  description: Units that were (in check mode, would be) reloaded.
  returned: success
  type: list
  elements: str
services_restarted:
  description: Units that were (in check mode, would be) restarted.
  returned: success
  type: list
  elements: str
services_started:
  description: Units that were (in check mode, would be) started.
  returned: success
  type: list
  elements: str
restart_pending:
  description: Units whose restart is held back that still run with an earlier configuration.
  returned: success
  type: list
  elements: str
missing_packages:
  description: In check mode, the packages that would be installed.
  returned: success
  type: list
  elements: str
"""
