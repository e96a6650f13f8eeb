"""A Ray cluster of two nodes with one processor each, on loopback, for a program that is run in it.

Started by Ray's own Python: ``ray_cluster.py PROGRAM ARGUMENT...``. Exits as the program does.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

# Ray's word for a node that is reached on loopback only. Read when ray is imported.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"

from ray.cluster_utils import Cluster

#: Bytes: the smallest object store that Ray makes.
MEMORY = 80 * 1024 * 1024
NODE = {"num_cpus": 1, "node_ip_address": "127.0.0.1", "object_store_memory": MEMORY}

# Sockets are made in it, so its path has to be short.
with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True) as folder:
    # Whatever its temp_dir, Ray notes its address below this one: in a folder that is there where Ray ran before.
    os.environ["RAY_TMPDIR"] = folder
    os.mkdir(f"{folder}/ray")
    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False, "temp_dir": folder})
    try:
        cluster.add_node(**NODE)
        cluster.wait_for_nodes()
        ran = subprocess.run(sys.argv[1:], env={**os.environ, "RAY_ADDRESS": cluster.address}, timeout=60, check=False)
    finally:
        cluster.shutdown()
sys.exit(ran.returncode)
