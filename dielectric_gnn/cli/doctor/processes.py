"""Check of the communication between processes: an all-reduce of two ranks over gloo."""

from __future__ import annotations

import socket
import subprocess
import sys

from dielectric_gnn.cli.doctor.finding import Finding

_RANK = """
import sys
from datetime import timedelta
import torch
from torch import distributed
rank, port = int(sys.argv[1]), sys.argv[2]
address = f"tcp://127.0.0.1:{port}"
distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=2, timeout=timedelta(seconds=30))
number = torch.tensor(rank + 1.0)
distributed.all_reduce(number)
distributed.destroy_process_group()
sys.exit(0 if number.item() == 3.0 else 1)
"""
_TIMEOUT = 60.0


def check_all_reduce() -> Finding:
    """Start two processes that add their numbers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    ranks = [
        subprocess.Popen([sys.executable, "-c", _RANK, str(rank), port], stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    try:
        reasons = [rank.communicate(timeout=_TIMEOUT)[1].strip().splitlines()[-1:] for rank in ranks]
    except subprocess.TimeoutExpired:
        reasons = [[f"no answer after {_TIMEOUT:.0f} s"]]
    finally:
        for rank in ranks:
            rank.kill()
    if all(rank.returncode == 0 for rank in ranks):
        return Finding("ok", "all-reduce", "two processes over gloo")
    reason = next((line for lines in reasons for line in lines), "it failed without a message")
    cure = "check firewall and host name; GLOO_SOCKET_IFNAME=lo binds gloo to this machine"
    return Finding("error", "all-reduce", reason, cure)
