"""Consumer groups and what is built on them: the scenario in groups/ and the applications beside it, each with a broker of its own. The same
for transactions, whose scenario is in transactions/."""
import json
import os
import time

from install import HERE, TOOL, python
from results import cell, in_parallel, run_client, supervised

LIMIT_S = 480
DUMP = [*TOOL, str(HERE / "java" / "DumpLogs.java")]
# the scenario's jobs, as columns
JOBS = ["share", "late-member", "kill-9", "broker-restart", "leave", "every-record", "order", "commits", "delete-group"]


TXN_JOBS = ["commit", "abort", "empty", "offsets", "fenced", "timeout", "end", "chain", "kill-9", "broker-restart", "every-input", "read-all",
            "read-uncommitted"]


def drive_groups(results, members, apps, broker):
    """The members' scenario, and beside it the applications one after the other: both wait most of the time."""
    tasks = [(scenario, results, "groups", members, broker)] if members else []
    in_parallel([*tasks, (applications, results, apps, broker)])


def drive_transactions(results, clients, apps, broker):
    """The clients' scenario, then the applications: what has to come in time is timed by each."""
    if clients:
        scenario(results, "transactions", clients, broker)
    applications(results, apps, broker)


def scenario(results, folder, members, broker):
    """Lines are `CLIENT ok|FAIL JOB DETAIL`."""
    begun = time.monotonic()
    command = [*python(folder, "scenario.py"), *broker, "--dump", json.dumps(DUMP), json.dumps(members)]
    code, out, err = supervised(command, dict(os.environ), LIMIT_S)
    seen = set()
    for line in out.splitlines():
        client, verdict, name, detail = (line.split(" ", 3) + ["", "", ""])[:4]
        if verdict in ("ok", "FAIL"):
            results.job(client, name, verdict == "ok", detail)
            seen.add(client)
    results.bad += [f"{client}: no jobs" for client in members if client not in seen]
    if code != 0 and not results.bad:
        results.bad.append(f"the scenario in {folder} ended with {code}: {err.strip()[-1000:]}")
    results.seconds["scenario"] = time.monotonic() - begun


def applications(results, apps, broker):
    for app, command in apps.items():
        run_client(results, app, [*python("groups", f"{app}.py"), *broker, *command], [], dict(os.environ), limit_s=LIMIT_S)


def group_table(results, members, apps, head="group of", jobs=JOBS):
    """The scenario: clients by jobs. Below it a line for each application, and for the scenario's files."""
    lines = []
    if members:
        width = max(map(len, [*members, head]))
        lines.append(head.ljust(width) + "".join(f"  {job}" for job in jobs))
        for client in members:
            cells = (cell([cells[client]] if client in cells else None) for cells in (results.jobs.get(job, {}) for job in jobs))
            lines.append(client.ljust(width) + "".join(f"  {one:>{max(len(job), 2)}}" for job, one in zip(jobs, cells)))
        lines += [f"in {results.seconds['scenario']:.0f} s", ""]
    for app in [*apps, "DumpLogs"]:
        done = {job: cells[app] for job, cells in results.jobs.items() if app in cells}
        lines += [f"{app}: {', '.join(f'{job} {cell([ok])}' for job, ok in done.items())}; in {results.seconds[app]:.0f} s"] if done else []
    return "\n".join(lines)
