// Headline tiles, what went wrong, and everything a reader needs to run it again.
function ledgerWord(ledger) {
  if (!ledger) return "";
  if (!ledger.checked) return "not checked";
  return ledger.passed ? "✓ passed" : "✗ FAILED";
}

function ledgerCounts(ledger) {
  const counts = ["lost", "duplicated", "reordered", "corrupt", "aborted", "overstayed", "misplaced"].filter((key) => ledger[key] > 0).map((key) => `${whole(ledger[key])} ${key}`);
  return `${counts.join(", ") || "not all read back"} of ${whole(ledger.acknowledged)} acknowledged`;
}

function alarms() {
  const failed = merged.flatMap((steps, side) => steps.filter(failedLedger).map((step) => ({ side, step })));
  return [
    failed.length > 0 && el("section", { class: "alarm", role: "alert" }, el("h2", null, "✗ The ledger failed"),
      failed.map(({ side, step }) => [el("p", null, el("b", null, `${report.sides[side].name}, ${step.label}: `), ledgerCounts(step.ledger)), el("ul", null, step.ledger.notes.map((note) => el("li", null, note)))]),
      el("p", null, "Figures of a broker that loses what it acknowledged say nothing.")),
    report.warnings.length > 0 && el("section", { class: "warnings" }, el("h2", null, "⚠ Before you believe the figures"), el("ul", null, report.warnings.map((warning) => el("li", null, warning)))),
  ];
}

function tile(name, values, cls) {
  const shown = values.filter(({ value }) => value);
  if (!shown.length) return null;
  return el("div", { class: `tile ${cls || ""}` }, el("h3", null, name), shown.map(({ side, value, small, bad, good }) =>
    el("p", { class: (bad ? "bad" : "") + (good ? "good" : "") }, two && swatch(side), el("strong", null, value), small && el("small", null, small))));
}

function tiles(label) {
  const steps = stepsOf(label);
  const each = (read) => steps.map((step, side) => ({ side, ...(step ? read(step, report.sides[side]) : {}) }));
  const key = steps.filter(Boolean).map(mainKey).find(Boolean);
  const quantile = (field, q) => each(({ latencies }) => (key && filled(latencies[key]) && enough(latencies[key], q) ? { value: time(latencies[key][field]) } : {}));
  const own = [...new Set(steps.filter(Boolean).flatMap((step) => Object.keys(step.figures)))];
  const asked = (step) => (step.offered_per_s && flowOf(step).records_per_s < step.offered_per_s * 0.98 ? `of ${whole(step.offered_per_s)} asked for` : `${digits(flowOf(step).mib_per_s)} MiB/s`);
  return el("div", { class: "tiles" },
    tile("Records/s", each((step) => (flowOf(step) ? { value: whole(flowOf(step).records_per_s), small: asked(step) } : {}))),
    key && [["p50", "p50_us", 0.5], ["p99", "p99_us", 0.99], ["p99.9", "p999_us", 0.999]].map(([name, field, q]) => tile(`${nameOf(key)} ${name}`, quantile(field, q))),
    !key && own.map((name) => tile(name.replace(/_(us|ms|s|bytes)$/, "").replaceAll("_", " "), each(({ figures }) => (name in figures ? { value: figure(name, figures[name]) } : {})))),
    tile("Broker CPU-s/GiB", each(({ broker }) => (broker && broker.cpu_s_per_gib !== null ? { value: digits(broker.cpu_s_per_gib) } : {}))),
    tile("Ledger", each(({ ledger }) => ({ value: ledgerWord(ledger), bad: ledger && ledger.checked && !ledger.passed, good: ledger && ledger.checked && ledger.passed, small: ledger && ledger.checked && (ledger.passed ? `${compact(ledger.verified)} records` : ledgerCounts(ledger)) }))),
    tile("An ack means", each((_, side) => ({ value: side.durability })), "words"));
}

function copyButton(text) {
  return el("button", { type: "button", class: "copy", onclick(event) {
    const button = event.currentTarget;
    const done = (word) => { button.textContent = word; setTimeout(() => { button.textContent = "copy"; }, 1500); };
    navigator.clipboard ? navigator.clipboard.writeText(text).then(() => done("copied"), () => done("select it by hand")) : done("select it by hand");
  } }, "copy");
}

const quote = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);
const pairs = (entries) => el("dl", null, entries.filter(([, value]) => value !== "" && value !== null && value !== undefined && value !== false).map(([name, value]) => el("div", null, el("dt", null, name), el("dd", null, value))));
const share = (count, of) => `${(of ? (count / of) * 100 : 0).toFixed(2)} % (${whole(count)})`;

function processFacts(name, used) {
  if (!used || !(used.user_s + used.system_s > 0)) return [];
  return [[`${name} CPU`, `${digits(used.user_s)} s user, ${digits(used.system_s)} s system${used.cpu_s_per_gib === null ? "" : `, ${digits(used.cpu_s_per_gib)} s/GiB`}`],
    [`${name} memory`, `${bytes(used.rss_bytes)}, peak ${bytes(used.peak_rss_bytes)}`],
    [`${name} context switches`, whole(used.context_switches)], [`${name} disk`, `${bytes(used.disk_write_bytes)} written, ${bytes(used.disk_read_bytes)} read`]];
}

function machineFacts(used) {
  const each = [[used.cpu_s_per_gib, (value) => `${digits(value)} s/GiB`], [used.us_per_request, (value) => `${time(value)} a request`]];
  return [`${digits(used.less_client_s)} s`, ...each.filter(([value]) => value !== null).map(([value, say]) => say(value))].join(", ");
}

function sideCard(side, step) {
  const one = report.sides[side], schedule = step && step.schedule, ledger = step && step.ledger;
  const errors = step ? ["produced", "consumed", "cold"].flatMap((flow) => Object.entries((step[flow] || { errors: {} }).errors)) : [];
  return el("section", { class: "card" }, el("h2", null, sideName(side)), pairs([
    ["address", one.bootstrap], ["an ack means", one.durability], ["because", one.durability_reason],
    ["started by", one.start_command && el("code", null, one.start_command)],
    ["ledger", ledger && (ledger.passed && ledger.checked ? `passed: ${ledger.held || `${whole(ledger.verified)} of ${whole(ledger.acknowledged)} records read back, once, in order, as sent`}` : `${ledgerWord(ledger)}: ${ledger.checked ? ledgerCounts(ledger) : ledger.notes.join("; ")}`)],
    ["unacknowledged but found", ledger && ledger.unacknowledged_found > 0 && whole(ledger.unacknowledged_found)],
    ["sent late, broker", schedule && share(schedule.late_by_broker, schedule.intended)], ["sent late, client", schedule && share(schedule.late_by_client, schedule.intended)],
    ["unsent, unanswered", schedule && `${whole(schedule.unsent)}, ${whole(schedule.unanswered)}`],
    ...errors.map(([name, count]) => [`errors: ${name}`, whole(count)]),
    ...processFacts("broker", step && step.broker), ["machine CPU less client", step && step.machine && machineFacts(step.machine)], ...processFacts("client", step && step.client),
  ]), Object.keys(one.settings).length > 0 && [el("h3", null, "Settings that are not the default"), pairs(Object.entries(one.settings).map(([name, value]) => [el("code", null, name), value]))]);
}

function facts(label) {
  const { machine, disk, load } = report;
  const floor = (name, size) => [name, time(size.p50_us), time(size.p99_us), whole(size.count)];
  const command = report.command.map(quote).join(" ");
  return [
    el("div", { class: "facts" }, stepsOf(label).map((step, side) => sideCard(side, step)),
      card("Load", null, pairs(Object.entries(load).map(([name, value]) => [el("code", null, `--${name}`), value]))),
      card("Machine", null, pairs([["processor", machine.cpu], ["cores", machine.cores], ["memory", bytes(machine.memory_bytes)], ["kernel", machine.kernel],
        ["virtual", machine.virtual_machine ? "a hypervisor is below" : "no"], ["governor", machine.governor || "not shown by the kernel"],
        ...(disk ? [["data in", disk.directory], ["device", disk.device], ["filesystem", disk.filesystem]] : [])]),
        disk && [el("h3", null, "The disk itself, O_DIRECT and O_DSYNC"), table(["write of", "p50", "p99", "writes"], [floor("4 KiB", disk.write_4k), floor("128 KiB", disk.write_128k)], "figures")])),
    card("Run it again", null, el("div", { class: "command" }, el("pre", { tabindex: "0" }, command), copyButton(command))),
  ];
}
