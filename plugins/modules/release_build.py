# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Documentation of the action plug-in plugins/action/release_build.py.

from __future__ import annotations

DOCUMENTATION = r"""
module: release_build
short_description: Name the release that a source makes, and build it once on the control node
version_added: "0.1.0"
description:
  - Names a release after the content of its source (a folder, an archive, or a commit of a git repository) and after how it is built.
  - When the cache does not hold that release, runs the build steps in a scratch copy and packs the result, the same bytes on every
    machine. When it does, nothing is built.
  - Everything happens on the control node; use it with C(run_once).
author: graphic_school.scaling contributors (@graphic_school)
options:
  source:
    description: Where the application comes from.
    type: dict
    required: true
    suboptions:
      type: {description: Kind of source., type: str, choices: [folder, archive, git], required: true}
      location: {description: "Path of the folder or archive, or address of the git repository.", type: str, required: true}
      ref: {description: "Branch, tag or commit of a git source.", type: str, default: HEAD}
      subdirectory: {description: "Folder of the source that holds the application.", type: str, default: ""}
  steps:
    description:
      - Shell commands that turn the source into a release, run in the application's folder. An entry is a command, or a row of
        C(command), C(directory) (relative to the application's folder) and C(environment).
    type: list
    elements: raw
    default: []
  exclude:
    description:
      - What is left out of a release. A pattern with a slash is matched from the application's root, one without matches any name.
    type: list
    elements: str
    default: []
  cache:
    description: Folder on the control node that keeps packed releases and mirrors of git repositories.
    type: path
    required: true
  keep:
    description: How many packed releases stay in the cache.
    type: int
    default: 10
  release:
    description: Name of a release that was built before; with it O(source) is not looked at.
    type: str
    default: ""
  root:
    description: Folder of the application on the host of this task, which is asked what the fleet remembers of releases.
    type: path
    default: ""
  known_bad:
    description:
      - What becomes of a release that is known to be bad. V(stay) keeps the one in service, and says so; V(refuse) fails, by name; V(take)
        goes on with it.
    type: str
    choices: [stay, refuse, take]
    default: stay
attributes:
  check_mode:
    description: Names the release without building it.
    support: full
  diff_mode:
    description: Has nothing to show.
    support: none
"""

EXAMPLES = r"""
- name: Build | Make the release
  graphic_school.scaling.release_build:
    source: {type: git, location: "https://git.example.com/school.git", ref: v2.0.1, subdirectory: api}
    steps: [composer install --no-dev --optimize-autoloader, npm ci && npm run build]
    cache: ~/.cache/school
  run_once: true
  register: release
"""

RETURN = r"""
release:
  description: Name of the release.
  returned: success
  type: str
  sample: 3f2a9c1b7d20
commit:
  description: Commit that it was made from, for a git source.
  returned: success
  type: str
archive:
  description: The packed release on the control node.
  returned: success
  type: str
instead_of:
  description: The release that the source makes, when it is known to be bad and another one stays.
  returned: when that is so
  type: str
why:
  description: What is held against it.
  returned: when that is so
  type: str
"""
