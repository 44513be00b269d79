# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which connections count as open."""

from __future__ import annotations

import pytest

from plugins.module_utils.open_connections import connections

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue\n"
# 198.18.10.21:80 ← 198.18.10.11:40000, and friends, as the kernel of a little-endian machine writes them.
FROM_BALANCER = "   0: 150A12C6:0050 0B0A12C6:9C40 01 00000000:00000000\n"
CLOSING = "   1: 150A12C6:0050 0B0A12C6:9C41 06 00000000:00000000\n"
# The end of the stream is not acknowledged yet; and 0x4000 bytes before it are not either.
ENDING = "   1: 150A12C6:0050 0B0A12C6:9C41 04 00000001:00000000\n"
SENDING = "   1: 150A12C6:0050 0B0A12C6:9C41 04 00004001:00000000\n"
OTHER_PORT = "   2: 150A12C6:0016 0B0A12C6:9C42 01 00000000:00000000\n"
LOOPBACK = "   3: 0100007F:0050 0100007F:9C43 01 00000000:00000000\n"
ITSELF = "   4: 150A12C6:0050 150A12C6:9C44 01 00000000:00000000\n"
MAPPED = "   5: 0000000000000000FFFF0000150A12C6:0050 0000000000000000FFFF00000C0A12C6:9C45 01 0:0\n"
LOOPBACK6 = "   6: 00000000000000000000000001000000:0050 00000000000000000000000001000000:9C46 01 0:0\n"


@pytest.mark.parametrize(
    ("tables", "found"),
    [
        pytest.param([HEAD + FROM_BALANCER], ["198.18.10.11:40000"], id="a balancer's connection counts"),
        pytest.param([HEAD + CLOSING], [], id="one that is being closed does not"),
        pytest.param([HEAD + OTHER_PORT], [], id="nor one to another port"),
        pytest.param([HEAD + LOOPBACK + ITSELF], [], id="nor the host's own"),
        pytest.param([HEAD, HEAD + MAPPED], ["198.18.10.12:40005"], id="an IPv4 client of an IPv6 socket counts"),
        pytest.param([HEAD, HEAD + LOOPBACK6], [], id="the IPv6 loopback does not"),
        pytest.param(["", ""], [], id="no tables, no connections"),
    ],
)
def test_connections_from_elsewhere_are_counted(tables: list[str], found: list[str]) -> None:
    assert list(connections(tables, {80})) == found


@pytest.mark.parametrize(
    ("row", "sending", "found"),
    [
        pytest.param(SENDING, True, ("198.18.10.11:40001",), id="its answer is on the way"),
        pytest.param(ENDING, True, (), id="all but the end has arrived"),
        pytest.param(CLOSING, True, (), id="nothing is left to do"),
        pytest.param(SENDING, False, (), id="nobody asked for those"),
    ],
)
def test_one_that_is_being_closed_counts_until_its_answer_has_arrived(row: str, sending: bool, found: tuple[str, ...]) -> None:
    assert connections([HEAD + row], {80}, sending=sending) == found


def test_those_to_one_address_are_counted_alone() -> None:
    assert connections([HEAD + FROM_BALANCER], {80}, only="198.18.10.21") == ("198.18.10.11:40000",)
    assert connections([HEAD + FROM_BALANCER], {80}, only="198.18.10.10") == ()
