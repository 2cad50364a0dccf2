"""Jobs: started, their outcomes, and the table of them."""
import collections
import concurrent.futures
import os
import re
import signal
import subprocess
import time

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
CLIENT_LIMIT_S = 180
END_LIMIT_S = 15


class Results:
    """Every job's outcome, and every process's exit code, by client."""

    def __init__(self, verbose):
        self.jobs = collections.OrderedDict()
        self.exits = collections.defaultdict(list)
        self.seconds = collections.Counter()
        self.bad = []
        self.verbose = verbose

    def job(self, client, name, ok, detail):
        self.jobs.setdefault(name, {})[client] = ok
        if not ok:
            self.bad.append(f"{client}: {name}: {detail}")
        if self.verbose or not ok:
            print(f"{client:13} {'ok' if ok else 'FAIL':4} {name} {detail}", flush=True)

    def exit(self, client, phase, code, said):
        self.exits[client].append(str(code))
        if code != 0:
            self.bad.append(f"{client}: `{phase}` ended with {code}")
        if code != 0 and said.strip():
            print(f"{client:13} stderr: {said.strip()[-1000:]}", flush=True)


def supervised(command, environment, limit_s):
    """Exit code, or what it was instead, and both outputs of a process; it gets a moment to end what it started."""
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        out, err = process.communicate(timeout=limit_s)
        return process.returncode, out, err
    except subprocess.TimeoutExpired:
        process.terminate()
    try:
        out, err = process.communicate(timeout=END_LIMIT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
    return f"timeout after {limit_s} s", out, err


def run_client(results, client, command, arguments, environment, alive=lambda: True, limit_s=CLIENT_LIMIT_S):
    """One client process; its lines become results. A process that prints nothing has failed too."""
    if not alive():
        results.exit(client, " ".join(arguments[:1]), "broker gone", "")
        return
    begun = time.monotonic()
    code, out, err = supervised(command + arguments, environment, limit_s)
    results.seconds[client] += time.monotonic() - begun
    jobs = [line.split(" ", 2) + [""] for line in out.splitlines() if re.match(r"(ok|FAIL) ", line)]
    for verdict, name, detail, *_ in jobs:
        results.job(client, name, verdict == "ok", detail)
    if code == 0 and not jobs:
        code = "no jobs"
    results.exit(client, " ".join(arguments[:1]) or "perf", code, err)


def in_parallel(tasks):
    """Two at a time: other clients' traffic is part of the test, starved clients are not."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(*task) for task in tasks]:
            future.result()


def table(results, clients):
    """Rows are jobs, with the five codecs of a reader and writer in one row; columns are clients."""
    rows = collections.OrderedDict()
    for name, cells in results.jobs.items():
        match = re.fullmatch(r"read-(.+)-(%s)" % "|".join(CODECS), name)
        row = rows.setdefault(f"read {match[1]}'s" if match else name, {})
        for client, ok in cells.items():
            row.setdefault(client, []).append(ok)
    columns = [client for client in clients if any(client in row for row in rows.values())]
    width = max(len(row) for row in rows) if rows else 10
    lines = ["job".ljust(width) + "".join(f"  {client:>12}" for client in columns)]
    for name, row in rows.items():
        lines.append(name.ljust(width) + "".join(f"  {cell(row.get(client)):>12}" for client in columns))
    lines.append("exit codes".ljust(width) + "".join(f"  {' '.join(results.exits[client]):>12}" for client in columns))
    lines.append("seconds".ljust(width) + "".join(f"  {results.seconds[client]:>12.0f}" for client in columns))
    return "\n".join(lines)


def cell(outcomes):
    if not outcomes:
        return "-"
    if all(outcomes):
        return "ok" if len(outcomes) == 1 else f"ok {len(outcomes)}/{len(outcomes)}"
    return "FAIL" if len(outcomes) == 1 else f"FAIL {sum(outcomes)}/{len(outcomes)}"
