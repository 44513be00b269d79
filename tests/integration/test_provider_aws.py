# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The provider aws against a moto server on loopback: the role's tasks, the modules of amazon.aws, HTTP, and what EC2 then has."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
CREDENTIALS = {"region": "eu-central-1", "access_key": "none", "secret_key": "none"}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < deadline and server.poll() is None, "moto's server did not start"
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(20)


@pytest.fixture(scope="module")
def ec2(endpoint: str) -> Any:
    return boto3.client(
        "ec2", endpoint_url=endpoint, region_name="eu-central-1", aws_access_key_id="none", aws_secret_access_key="none"
    )


def play(folder: Path, options: dict[str, Any], steps: list[tuple[str, list[dict[str, Any]]]]) -> list[list[dict[str, Any]]]:
    """What the provider told after each step."""
    tasks: list[dict[str, Any]] = []
    for number, (action, hosts) in enumerate(steps):
        tasks += [
            {
                "name": f"{number} {action}",
                "ansible.builtin.include_role": {"name": "graphic_school.scaling.provider"},
                "vars": {"provider_action": action, "provider_hosts": hosts},
            },
            {
                "name": "Keep what it told",
                "ansible.builtin.copy": {"dest": str(folder / f"{number}.json"), "content": "{{ provider_found | to_json }}"},
            },
        ]
    variables = {
        "fleet_provider": "aws",
        "fleet_provider_options": options,
        "ansible_python_interpreter": sys.executable,
    }
    book = [{"name": "Try the provider", "hosts": "localhost", "gather_facts": False, "vars": variables, "tasks": tasks}]
    (folder / "try.yml").write_text(yaml.safe_dump(book), encoding="utf-8")
    done = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "-c", "local", str(folder / "try.yml")],
        cwd=ROOT,
        env=os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    return [json.loads((folder / f"{number}.json").read_text(encoding="utf-8")) for number in range(len(steps))]


def test_instances_come_grow_stop_start_and_go(endpoint: str, ec2: Any, tmp_path: Path) -> None:
    subnet = next(iter(ec2.describe_subnets()["Subnets"]))
    first = subnet["CidrBlock"].rsplit(".", 1)[0]
    image = ec2.describe_images()["Images"][0]["ImageId"]
    options = {
        "connection": {**CREDENTIALS, "endpoint_url": endpoint},
        "fleet": "academy",
        "image_id": image,
        "instance_type": "t3.small",
        "instance_types": {"large": "t3.large"},
        "subnet_id": subnet["SubnetId"],
    }
    app3 = {"name": "app3", "address": f"{first}.33", "tiers": ["app_servers"], "size": "small"}
    app4 = {"name": "app4", "address": "app4", "tiers": ["app_servers"], "size": "large"}
    steps: list[tuple[str, list[dict[str, Any]]]] = [
        ("create", [app3, app4]),
        ("create", [app3, app4]),
        ("resize", [{**app3, "size": "large"}]),
        ("fence", [app4]),
        ("start", [app4]),
        ("destroy", [app3]),
        ("list", []),
    ]
    made, again, grown, fenced, started, ended, left = play(tmp_path, options, steps)

    assert [(row["name"], row["state"], row["type"]) for row in made] == [
        ("app3", "running", "t3.small"),
        ("app4", "running", "t3.large"),
    ]
    assert made[0]["address"] == app3["address"], "an address of the pool is asked for"
    assert made[1]["address"].startswith(first), "without a pool the provider gives one"
    assert again == made, "the same again makes nobody"
    assert [(row["state"], row["type"]) for row in grown] == [("running", "t3.large")]
    assert [row["state"] for row in fenced] == ["stopped"]
    assert [row["state"] for row in started] == ["running"]
    assert ended == [{"name": "app3", "state": "absent"}]
    assert [row["name"] for row in left] == ["app4"]

    there = [i for r in ec2.describe_instances()["Reservations"] for i in r["Instances"] if i["State"]["Name"] == "running"]
    tags = [{tag["Key"]: tag["Value"] for tag in instance["Tags"]} for instance in there]
    assert tags == [{"Name": "app4", "fleet": "academy", "tier": "app_servers"}]
