"""Consumer groups and what is built on them: the scenario in groups/ and the applications beside it, each with a broker of its own."""
import json
import os
import time

from install import HERE, TOOL, python
from results import cell, in_parallel, run_client, supervised

LIMIT_S = 480
DUMP = [*TOOL, str(HERE / "java" / "DumpLogs.java")]
# the scenario's jobs, as columns
JOBS = ["share", "late-member", "kill-9", "broker-restart", "leave", "every-record", "order", "commits", "delete-group"]


def drive_groups(results, members, apps, broker):
    """The members' scenario, and beside it the applications one after the other: both wait most of the time."""
    tasks = [(scenario, results, members, broker)] if members else []
    in_parallel([*tasks, (applications, results, apps, broker)])


def scenario(results, members, broker):
    """Lines are `CLIENT ok|FAIL JOB DETAIL`."""
    begun = time.monotonic()
    code, out, err = supervised([*python("groups", "scenario.py"), *broker, "--dump", json.dumps(DUMP), json.dumps(members)], dict(os.environ), LIMIT_S)
    seen = set()
    for line in out.splitlines():
        client, verdict, name, detail = (line.split(" ", 3) + ["", "", ""])[:4]
        if verdict in ("ok", "FAIL"):
            results.job(client, name, verdict == "ok", detail)
            seen.add(client)
    results.bad += [f"{client}: no jobs" for client in members if client not in seen]
    if code != 0 and not results.bad:
        results.bad.append(f"the group scenario ended with {code}: {err.strip()[-1000:]}")
    results.seconds["scenario"] = time.monotonic() - begun


def applications(results, apps, broker):
    for app, command in apps.items():
        run_client(results, app, [*python("groups", f"{app}.py"), *broker, *command], [], dict(os.environ), limit_s=LIMIT_S)


def group_table(results, members, apps):
    """The scenario: clients by jobs. Below it a line for each application, and for the scenario's files."""
    lines = []
    if members:
        width = max(map(len, members))
        lines.append("group of".ljust(width) + "".join(f"  {job}" for job in JOBS))
        for client in members:
            cells = (cell([cells[client]] if client in cells else None) for cells in (results.jobs.get(job, {}) for job in JOBS))
            lines.append(client.ljust(width) + "".join(f"  {one:>{len(job)}}" for job, one in zip(JOBS, cells)))
        lines += [f"in {results.seconds['scenario']:.0f} s", ""]
    for app in [*apps, "DumpLogs"]:
        done = {job: cells[app] for job, cells in results.jobs.items() if app in cells}
        lines += [f"{app}: {', '.join(f'{job} {cell([ok])}' for job, ok in done.items())}; in {results.seconds[app]:.0f} s"] if done else []
    return "\n".join(lines)
