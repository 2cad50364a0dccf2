"""What the comparisons share: their common flags, the brokers by name, and the table."""
import json
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "peers"))
import brokers

BROKERS = ("kafka", "ringlog")


def add_arguments(parser):
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--brokers", default=",".join(BROKERS), type=lambda s: s.split(","), help="in this order (default kafka,ringlog)")
    parser.add_argument("--kafka-set", action="append", default=[], metavar="K=V", help="server.properties of Kafka")
    parser.add_argument("--ringlog-set", action="append", default=[], metavar="K=V", help="settings of Ringlog")
    parser.add_argument("--binary", help="a ringlog binary (default: cargo build --release)")
    parser.add_argument("--dir", type=pathlib.Path, default=HERE / ".work", help="where the brokers' directories go: the disk to measure")
    parser.add_argument("--json", metavar="FILE", help="every round and the machine's facts")


def parse_arguments(parser):
    options = parser.parse_args()
    unknown = set(options.brokers) - set(BROKERS)
    if unknown:
        parser.error(f"unknown broker {', '.join(unknown)}")
    options.dir.mkdir(parents=True, exist_ok=True)
    options.dir = options.dir.resolve()
    return options


def run_rounds(options, one_round):
    """A B A B: one_round(broker, round number) for every broker in every round, on a directory of its own."""
    if "ringlog" in options.brokers and not options.binary:
        options.binary = brokers.build()
    results = []
    for number in range(1, options.rounds + 1):
        for name in options.brokers:
            data, port = options.dir / f"{name}-{number}", brokers.free_port()
            broker = (brokers.Kafka(data, port, options.kafka_set) if name == "kafka"
                      else brokers.Ringlog(data, port, options.binary, options.ringlog_set))
            broker.wipe()
            try:
                results.append({"broker": name, "round": number, **one_round(broker, number)})
            finally:
                if broker.running():
                    broker.kill()
                broker.wipe()
    return results


def table(names, rows):
    """Markdown: a row a metric (title, digits, a list of values a broker), a column a broker, the last one second over first."""
    head = [*names] + ([f"{names[1]} / {names[0]}"] if len(names) == 2 else [])
    lines = ["| | " + " | ".join(head) + " |", "|---" * (len(head) + 1) + "|"]
    for title, digits, values in rows:
        cells = [f"{statistics.median(each):.{digits}f} ({min(each):.{digits}f}..{max(each):.{digits}f})" for each in values]
        if len(values) == 2:
            base = statistics.median(values[0])
            cells.append(f"{statistics.median(values[1]) / base:.2f}" if base else "-")
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def machine_line(machine):
    return f"{machine['processors']} x {machine['cpu']}, Linux {machine['kernel']}, {machine['filesystem']}"


def write_json(options, machine, results):
    if options.json:
        settings = {key: value if isinstance(value, (int, float, list, type(None))) else str(value) for key, value in vars(options).items()}
        pathlib.Path(options.json).write_text(json.dumps({"settings": settings, "machine": machine, "rounds": results}, indent=1) + "\n")


def run_tool(*command):
    """A class on Kafka's classpath; what it says, or an exception with it."""
    done = subprocess.run([brokers.KAFKA_TOOL, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise brokers.BrokerError(f"{command[0]}: {(done.stdout + done.stderr)[-1500:]}")
    return done.stdout


def create_topic(broker, topic, partitions):
    run_tool("TopicCommand", "--bootstrap-server", broker.address, "--create", "--topic", topic, "--partitions", str(partitions))
