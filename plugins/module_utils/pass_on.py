# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of a balancer that takes the shared address from one which keeps its connections (handover.py)."""

from __future__ import annotations

from .handover import FORGET_SECONDS, HOP_LIMIT, Shared

TABLE = "graphic_school_pass_on"


def pass_on_rules(shared: Shared) -> str:
    """Return nft's input that passes on to a giver what belongs to it.

    A packet is passed on when it opens no connection, no connection here is meant (only a listening socket would take it: "wildcard"),
    and no peer has sent it (so none goes round in circles). Without a giver the lookup finds nothing, and the packet stays here.
    """
    family, kind, hops = ("ip", "ipv4_addr", "ttl") if shared.version == 4 else ("ip6", "ipv6_addr", "hoplimit")
    anew = f"table {family} {TABLE}\ndelete table {family} {TABLE}\n"
    if not shared.peers:
        return anew
    ports = ", ".join(map(str, shared.ports))
    memory = f"flags dynamic,timeout; size 16; timeout {FORGET_SECONDS}s;"
    return (
        f"{anew}table {family} {TABLE} {{\n"
        f"\tmap givers {{ type iface_index : {kind}; {memory} }}\n"
        f"\tset links {{ type ether_addr; {memory} }}\n"
        "\tchain arriving {\n"
        # Before connections are tracked: those of others are none of this host's.
        "\t\ttype filter hook prerouting priority -310; policy accept;\n"
        f"\t\t{family} saddr {{ {', '.join(shared.peers)} }} udp dport {shared.port} {family} {hops} {HOP_LIMIT} jump told\n"
        f"\t\t{family} daddr {shared.address} tcp dport {{ {ports} }} tcp flags & (fin | syn | rst | ack) != syn"
        f" {family} {hops} > 1 ether saddr != @links socket wildcard 1 dup to meta iif map @givers drop\n"
        "\t}\n"
        "\tchain told {\n"
        f"\t\tupdate @givers {{ meta iif : {family} saddr }}\n"
        "\t\tupdate @links { ether saddr }\n"
        "\t\tdrop\n"
        "\t}\n"
        "}\n"
    )
