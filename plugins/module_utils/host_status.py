# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one host can say of its own health: each function asks one part and returns plain data; none changes anything.

Commands and connections are passed in. What a part says when it is ill is data too: an error is text under C(error).
"""

from __future__ import annotations

import json
import os
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any

from .redis_client import RedisReplyError, info
from .redis_cluster import parse_nodes
from .redis_driver import Tools

PACKAGES = ("nginx", "haproxy", "keepalived", "supervisor", "redis-server", "mysql-server-core", "swift-proxy")
PEM_BEGIN, PEM_END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"

Run = Callable[[list[str]], str]


# -- what the collection left here -----------------------------------------------------------------------------------


def components(folder: Path) -> dict[str, dict[str, Any]]:
    """What C(converge) remembers of each component here: C(paths), C(owed), C(held) and C(services)."""
    found: dict[str, dict[str, Any]] = {}
    for file in sorted(folder.glob("*.json")):
        try:
            data = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(data, dict) and "paths" in data and "owed" in data:
            found[file.stem] = {key: data.get(key, []) for key in ("paths", "owed", "held", "services")}
    return found


def services(run: Run, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Each unit's state, as systemd tells it."""
    if not names:
        return {}
    told = run(["systemctl", "show", "--property=Id,Type,ActiveState,SubState,Result,NRestarts", "--", *names])
    blocks = [dict(line.split("=", 1) for line in block.splitlines()) for block in told.strip().split("\n\n")]
    return {
        name: {
            "state": _state(block),
            "result": block.get("Result", ""),
            "restarts": block.get("NRestarts", "0"),
        }
        for name, block in zip(names, blocks, strict=False)
    }


def _state(block: dict[str, str]) -> str:
    """What systemd calls the unit; "done" for a oneshot that ended well or whose condition passed it over."""
    state = block.get("ActiveState", "unknown")
    return "done" if (block.get("Type"), state, block.get("Result")) == ("oneshot", "inactive", "success") else state


def failed_units(run: Run) -> list[str]:
    """Units that systemd calls failed."""
    told = run(["systemctl", "list-units", "--failed", "--plain", "--no-legend"])
    return sorted(line.split()[0] for line in told.splitlines() if line.split())


def out_of_traffic(folder: Path) -> dict[str, dict[str, Any]]:
    """The marks that keep new work from this host, by tier. A mark that can't be read counts: it was left on purpose."""
    found: dict[str, dict[str, Any]] = {}
    for file in sorted(folder.iterdir()) if folder.is_dir() else ():
        try:
            data = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            data = "unreadable"
        found[file.name] = data if isinstance(data, dict) else {"reason": str(data)}
    return found


def release(root: Path) -> dict[str, Any] | None:
    """The release that C(current) names and those beside it; None where the application has no folder."""
    if not (root / "releases").is_dir():
        return None
    current = root / "current"
    name = os.path.basename(os.readlink(current)) if current.is_symlink() else ""
    releases = sorted(path.name for path in (root / "releases").iterdir() if path.is_dir() and path.name[0] != ".")
    return {"current": name if name in releases else "", "named": name, "releases": releases}


# -- the machine ------------------------------------------------------------------------------------------------------


def addresses(run: Run) -> list[str]:
    """Every address that this host holds now."""
    rows = json.loads(run(["ip", "-json", "address", "show"]) or "[]")
    return sorted(entry["local"] for row in rows for entry in row.get("addr_info", []) if "local" in entry)


def disks(paths: Sequence[str]) -> list[dict[str, Any]]:
    """Space and inodes of the file systems below C(paths), each once."""
    seen: dict[int, dict[str, Any]] = {}
    for path in paths:
        try:
            device, status = os.stat(path).st_dev, os.statvfs(path)
        except OSError:
            continue
        if device in seen or not status.f_blocks:
            continue
        inodes = round(100 * status.f_favail / status.f_files) if status.f_files else 100
        seen[device] = {
            "path": path,
            "free_percent": round(100 * status.f_bavail / status.f_blocks),
            "free_mb": status.f_bavail * status.f_frsize // 2**20,
            "free_inodes_percent": inodes,
        }
    return list(seen.values())


def memory(text: str) -> dict[str, int]:
    """Memory of C(/proc/meminfo), in MB."""
    kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in text.splitlines() if len(line.split()) > 1}
    return {
        "total_mb": kilobytes.get("MemTotal", 0) // 1024,
        "available_mb": kilobytes.get("MemAvailable", 0) // 1024,
    }


def versions(run: Run, php: str) -> dict[str, str]:
    """Versions of what serves here, without Debian's revision."""
    names = [*PACKAGES, f"php{php}-fpm"]
    told = run(["dpkg-query", "--show", "--showformat", "${db:Status-Status} ${Package} ${Version}\n", *names])
    rows = [line.split() for line in told.splitlines()]
    return {row[1]: row[2].partition(":")[2] or row[2] for row in rows if len(row) == 3 and row[0] == "installed"}


# -- certificates -----------------------------------------------------------------------------------------------------


def _element(data: bytes, start: int) -> tuple[int, int, int]:
    """Of the DER element at C(start): its tag, where its content begins and where it ends."""
    tag, length, begin = data[start], data[start + 1], start + 2
    if length & 0x80:
        size = length & 0x7F
        length, begin = int.from_bytes(data[begin : begin + size], "big"), begin + size
    return tag, begin, begin + length


def certificate_end(der: bytes) -> datetime:
    """When a certificate (RFC 5280, section 4.1) ends. Raises ValueError for what is none."""
    try:
        place = _element(der, _element(der, 0)[1])[1]  # into Certificate, into TBSCertificate
        if der[place] == 0xA0:  # the version, which old ones leave out
            place = _element(der, place)[2]
        for _field in ("serialNumber", "signature", "issuer"):
            place = _element(der, place)[2]
        place = _element(der, place)[1]  # into validity
        tag, begin, end = _element(der, _element(der, place)[2])  # after notBefore
        text = der[begin:end].decode("ascii")
        # Of a two-digit year 50 and above mean 19xx: RFC 5280, section 4.1.2.5.1.
        if tag == 0x17:
            text = ("19" if int(text[:2]) >= 50 else "20") + text
        return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
    except (IndexError, UnicodeDecodeError) as error:
        raise ValueError("not a certificate") from error


def certificates(paths: Sequence[str], now: datetime) -> list[dict[str, Any]]:
    """Days that each certificate among C(paths) has left; files that hold none are passed over."""
    found: list[dict[str, Any]] = []
    for path in sorted(paths):
        try:
            text = Path(path).read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError):
            continue
        begin = text.find(PEM_BEGIN)
        if begin < 0:
            continue
        pem = text[begin : text.find(PEM_END, begin) + len(PEM_END)]
        try:
            end = certificate_end(ssl.PEM_cert_to_DER_cert(pem))
        except ValueError as error:
            found.append({"path": path, "error": str(error)})
            continue
        found.append({"path": path, "days_left": (end - now).days})
    return found


# -- what answers -----------------------------------------------------------------------------------------------------


def page(port: int, path: str, host: str, seconds: float, now: datetime | None = None) -> dict[str, Any]:
    """What this host's own web server answers; C(now) asks over TLS and adds the days that the served certificate has left."""
    context = ssl.create_default_context()
    # It is this host itself that is asked; whether the chain is trusted is for clients to say.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection: HTTPConnection = HTTPConnection("127.0.0.1", port, timeout=seconds)
    told: dict[str, Any] = {"url": f"{'https' if now else 'http'}://127.0.0.1:{port}{path}"}
    try:
        if now:
            connection = HTTPSConnection("127.0.0.1", port, timeout=seconds, context=context)
            raw = socket.create_connection(("127.0.0.1", port), timeout=seconds)
            wrapped = context.wrap_socket(raw, server_hostname=host)
            connection.sock = wrapped
            told["days_left"] = (certificate_end(wrapped.getpeercert(binary_form=True) or b"") - now).days
        connection.request("GET", path, headers={"Host": host, "Accept": "application/json", "User-Agent": "status"})
        answer = connection.getresponse()
        told.update(status=answer.status, body=answer.read(4000).decode(errors="replace"))
    except (OSError, HTTPException, ValueError) as error:
        told["error"] = str(error) or type(error).__name__
    finally:
        connection.close()
    return told


def over_socket(path: str, question: bytes, seconds: float) -> str:
    """What a service answers to one question on its UNIX socket. Raises OSError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(seconds)
        connection.connect(path)
        connection.sendall(question)
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts).decode(errors="replace")


def router_servers(csv: str) -> dict[str, list[str]]:
    """Of C(show stat): the servers that each backend of HAProxy would use now."""
    lines = [line.lstrip("# ").split(",") for line in csv.splitlines() if line.strip()]
    if not lines:
        return {}
    rows = [dict(zip(lines[0], line, strict=False)) for line in lines[1:]]
    found: dict[str, list[str]] = {}
    for row in rows:
        if row["svname"] not in ("FRONTEND", "BACKEND"):
            found.setdefault(row["pxname"], [])
            if row["status"].startswith("UP") or row["status"] == "no check":
                found[row["pxname"]].append(row["svname"])
    return found


def worker_states(text: str) -> dict[str, int]:
    """Of C(supervisorctl status): how many processes are in which state."""
    found: dict[str, int] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) > 1 and words[1].isupper():
            found[words[1]] = found.get(words[1], 0) + 1
    return found


# -- Redis ------------------------------------------------------------------------------------------------------------


def redis_instance(tools: Tools, address: str, port: int) -> dict[str, Any]:
    """What one instance says of itself and of the others."""
    try:
        connection = tools.connect(address, port)
        try:
            cluster = info(connection.command("CLUSTER", "INFO"))
            told = info(connection.command("INFO"))
            lines = parse_nodes(connection.command("CLUSTER", "NODES"))
        finally:
            connection.close()
    except (OSError, RedisReplyError) as error:
        return {"error": str(error)}
    me = next(line for line in lines if "myself" in line.flags)
    by_id = {line.id: line.address for line in lines}
    return {
        "epoch": int(cluster.get("cluster_current_epoch", 0)),
        "slots": {line.address: len(line.slots) for line in lines if line.slots},
        "replicas": {line.address: by_id.get(line.primary_id, "") for line in lines if line.primary_id},
        "moving": me.moving,
        "state": cluster.get("cluster_state", "unknown"),
        "link": told.get("master_link_status", "up"),
        "link_down_seconds": int(told.get("master_link_down_since_seconds", 0)),
        "used_mb": int(told.get("used_memory", 0)) // 2**20,
        "limit_mb": int(told.get("maxmemory", 0)) // 2**20,
        "policy": told.get("maxmemory_policy", ""),
        "version": told.get("redis_version", ""),
        "failed": sorted(line.address for line in lines if line.failed),
    }


def queue_lengths(tools: Tools, address: str, port: int, keys: Mapping[str, str]) -> dict[str, dict[str, int]]:
    """Jobs of the queues that lie on one primary, by name: C(waiting), C(delayed), C(reserved)."""
    found: dict[str, dict[str, int]] = {}
    try:
        connection = tools.connect(address, port)
        try:
            for name, key in keys.items():
                try:
                    counts = {
                        "waiting": int(connection.command("LLEN", key)),
                        "delayed": int(connection.command("ZCARD", f"{key}:delayed")),
                        "reserved": int(connection.command("ZCARD", f"{key}:reserved")),
                    }
                except RedisReplyError:
                    continue  # MOVED: it lies on another
                found[name] = counts
        finally:
            connection.close()
    except (OSError, RedisReplyError):
        return found
    return found
