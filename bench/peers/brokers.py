"""Brokers as processes, Ringlog and Apache Kafka alike: start on a directory and a port, wait until ready, stop, kill, and what they cost.
Used by bench/compare and tests/interop."""
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import time

PEERS = pathlib.Path(__file__).resolve().parent
REPO = PEERS.parent.parent
KAFKA_TOOL = str(PEERS / "kafka" / "tool")
READY_LIMIT_S = 120
STOP_LIMIT_S = 60
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class BrokerError(Exception):
    """A broker that does not start or stop as it should, in a sentence."""


class Ringlog:
    """`ringlog serve`."""

    name = "ringlog"

    def __init__(self, data, port, binary=None, settings=()):
        self.data, self.port = pathlib.Path(data), port
        self.binary, self.settings = binary, settings
        self.log = self.data.with_name(self.data.name + ".log")
        self.process = None

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self):
        return self.process.pid

    def start(self):
        """Returns the line it prints when ready."""
        command = [self.binary or build(), "serve", "--data-dir", str(self.data), "--listen", self.address]
        for setting in self.settings:
            command += ["--set", setting]
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
        return self.wait_ready()

    def wait_ready(self):
        deadline, said = time.monotonic() + READY_LIMIT_S, b""
        while not said.endswith(b"\n"):
            readable, _, _ = select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))
            piece = os.read(self.process.stdout.fileno(), 4096) if readable else b""
            if not piece:
                self.kill()
                raise BrokerError(f"ringlog did not become ready: {said.decode(errors='replace')} {self.complaint()}")
            said += piece
        if not said.startswith(b"ready"):
            self.kill()
            raise BrokerError(f"ringlog said {said!r} instead of `ready`: {self.complaint()}")
        return said.decode(errors="replace").strip()

    def complaint(self):
        return self.log.read_text(errors="replace").strip()[-800:]

    def running(self):
        return self.process is not None and self.process.poll() is None

    def stop(self):
        if not self.running():
            raise BrokerError(f"ringlog ended by itself with {self.process.returncode}: {self.complaint()}")
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise BrokerError(f"ringlog did not stop within {STOP_LIMIT_S} s of SIGTERM") from None
        if code != 0:
            raise BrokerError(f"ringlog ended with {code} after SIGTERM: {self.complaint()}")

    def kill(self):
        if self.running():
            self.process.kill()
        self.process.wait()

    def wipe(self):
        shutil.rmtree(self.data, ignore_errors=True)


class Kafka:
    """Apache Kafka, one node, by the scripts in kafka/."""

    name = "kafka"

    def __init__(self, data, port, settings=()):
        self.data, self.port, self.settings = pathlib.Path(data), port, settings
        self.pid = None

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def start(self):
        done = subprocess.run([PEERS / "kafka" / "up", str(self.port), str(self.data), *self.settings], stdout=subprocess.PIPE, text=True)
        if done.returncode:
            raise BrokerError("Apache Kafka did not start")
        self.pid = int(done.stdout)
        return f"ready {(self.data / 'ready_s').read_text().strip()} s"

    def running(self):
        return self.pid is not None and os.path.exists(f"/proc/{self.pid}")

    def down(self, *flags):
        subprocess.run([PEERS / "kafka" / "down", str(self.data), *flags], check=True)
        self.pid = None

    def stop(self):
        self.down()

    def kill(self):
        self.down("--kill")

    def wipe(self):
        shutil.rmtree(self.data, ignore_errors=True)


def build():
    """The release binary of this checkout, built when it is not up to date."""
    done = subprocess.run(["cargo", "build", "--release", "--bin", "ringlog"], cwd=REPO)
    if done.returncode:
        raise BrokerError("cargo build failed")
    return str(REPO / os.environ.get("CARGO_TARGET_DIR", "target") / "release" / "ringlog")


def free_port():
    """A port with a free neighbour: Kafka's controller listens on the next one."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port


# ---- is it there


def metadata_brokers(host, port):
    """The number of brokers in a Metadata v4 answer (no topics asked for, none created)."""
    request = struct.pack(">hhih5sib", 3, 4, 7, 5, b"probe", 0, 0)
    with socket.create_connection((host, port), timeout=2) as connection:
        connection.settimeout(2)
        connection.sendall(struct.pack(">i", len(request)) + request)
        answer = b""
        while len(answer) < 4 or len(answer) < 4 + struct.unpack(">i", answer[:4])[0]:
            piece = connection.recv(65536)
            if not piece:
                return 0
            answer += piece
    _, correlation, _, count = struct.unpack(">iiii", answer[:16])
    return count if correlation == 7 else 0


def wait_metadata(host, port, pid=None, limit_s=READY_LIMIT_S):
    """Asks until a broker names itself. Raises when the time is up or the process gone."""
    deadline = time.time() + limit_s
    while time.time() < deadline:
        try:
            if metadata_brokers(host, port) > 0:
                return
        except OSError:
            pass
        if pid and not os.path.exists(f"/proc/{pid}"):
            raise BrokerError(f"process {pid} is gone")
        time.sleep(0.001)
    raise BrokerError(f"no answer from {host}:{port} within {limit_s:.0f} s")


# ---- what it costs


def process_cpu_s(pid):
    """User and system time of all its threads, the kernel's io_uring workers for it included; ticks of 10 ms."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def process_rss_mib(pid):
    with open(f"/proc/{pid}/status") as file:
        return int(re.search(r"VmRSS:\s+(\d+)", file.read())[1]) / 1024


def machine_cpu_s():
    """Busy and stolen seconds of all processors since boot."""
    with open("/proc/stat") as file:
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, file.readline().split()[1:9])
    return (user + nice + system + irq + softirq) / TICKS_PER_S, steal / TICKS_PER_S


def facts(folder):
    """What a figure from this machine needs beside it."""
    cpu = re.search(r"model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text())
    memory = int(re.search(r"MemTotal:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text())[1])
    mount = subprocess.run(["df", "--output=fstype", str(folder)], stdout=subprocess.PIPE, text=True).stdout.split()[-1]
    return {"cpu": cpu[1] if cpu else "unknown", "processors": os.cpu_count(), "memory_gib": round(memory / 2**20, 1),
            "kernel": os.uname().release, "filesystem": mount}
