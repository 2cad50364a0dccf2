"""The clients: how each is installed, once, and started."""
import hashlib
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
REPO = HERE.parent.parent
WORK = HERE / ".work"
sys.path.insert(0, str(REPO / "bench" / "peers"))
from brokers import KAFKA_TOOL

TOOL = [KAFKA_TOOL]
JAVA = TOOL + [str(HERE / "java" / "Interop.java")]
SETUP_LIMIT_S = 600


class Failed(Exception):
    """Something that ends the run, in a sentence."""


def stamped(name, inputs, install):
    """Runs install unless it has already succeeded for the same content of its input files."""
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in inputs)).hexdigest()
    stamp = WORK / f"{name}.stamp"
    if not stamp.exists() or stamp.read_text() != digest:
        install()
        stamp.write_text(digest)


def sh(*command, cwd=HERE):
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=SETUP_LIMIT_S)
    if done.returncode:
        raise Failed(f"{' '.join(command)}: {done.stdout.strip()[-600:]}")


def setup_java():
    sh(*JAVA, "compiled")
    return JAVA


def setup_perf():
    return [str(HERE / "java" / "perf")]


def setup_kcat():
    if not shutil.which("kcat"):
        sh("apt-get", "update")
        sh("apt-get", "install", "-y", "--no-install-recommends", "kcat")
    return [sys.executable, str(HERE / "kcat" / "jobs.py")]


def setup_go(name):
    sh("go", "build", "-buildvcs=false", "-o", str(WORK / name), f"./{name}")
    return [str(WORK / name)]


def setup_python():
    """The interpreter that has the Python clients."""
    venv, wanted = WORK / "venv", HERE / "kafka-python" / "requirements.txt"

    def install():
        shutil.rmtree(venv, ignore_errors=True)
        sh(sys.executable, "-m", "venv", str(venv))
        sh(str(venv / "bin" / "pip"), "install", "-q", "--disable-pip-version-check", "-r", str(wanted))

    stamped("kafka-python", [wanted], install)
    return str(venv / "bin" / "python")


def setup_kaskade():
    """In an environment of its own: it wants another confluent-kafka than the members have. tmux is the window it runs in."""
    if not shutil.which("tmux"):
        sh("apt-get", "update")
        sh("apt-get", "install", "-y", "--no-install-recommends", "tmux")
    venv, wanted = WORK / "kaskade-venv", HERE / "kaskade" / "requirements.txt"

    def install():
        shutil.rmtree(venv, ignore_errors=True)
        sh(sys.executable, "-m", "venv", str(venv))
        sh(str(venv / "bin" / "pip"), "install", "-q", "--disable-pip-version-check", "-r", str(wanted))

    stamped("kaskade", [wanted], install)
    return [str(venv / "bin" / "kaskade")]


def python(*program):
    return [setup_python(), str(HERE.joinpath(*program))]


def setup_kafkajs():
    """Beside a copy of the program: the sources' folder stays clean."""
    folder = WORK / "kafkajs"
    folder.mkdir(exist_ok=True)
    for file in (HERE / "kafkajs").iterdir():
        if file.is_file():
            shutil.copy(file, folder)
    stamped("kafkajs", [HERE / "kafkajs" / "package-lock.json"], lambda: sh("npm", "ci", "--no-audit", "--no-fund", cwd=folder))
    return folder


CLIENTS = {
    "java": setup_java,
    "java-perf": setup_perf,
    "kcat": setup_kcat,
    "franz-go": lambda: setup_go("franz-go"),
    "sarama": lambda: setup_go("sarama"),
    "kafka-python": lambda: python("kafka-python", "jobs.py"),
    "kafkajs": lambda: ["node", str(setup_kafkajs() / "jobs.js")],
}
WRITERS = [client for client in CLIENTS if client != "java-perf"]


def java_member(protocol):
    setup_java()
    return [*TOOL, str(HERE / "java" / "Member.java"), "TOPIC", "GROUP", protocol]


def kafka_class(*program):
    setup_java()
    return [*TOOL, *program]


# How a member of a group is started, see groups/scenario.py; -848 is the protocol of that KIP.
MEMBERS = {
    "java": lambda: java_member("classic"),
    "java-848": lambda: java_member("consumer"),
    "librdkafka": lambda: [*python("confluent", "member.py"), "TOPIC", "GROUP", "classic"],
    "librdkafka-coop": lambda: [*python("confluent", "member.py"), "TOPIC", "GROUP", "cooperative"],
    "librdkafka-848": lambda: [*python("confluent", "member.py"), "TOPIC", "GROUP", "consumer"],
    "franz-go": lambda: [*setup_go("franz-go"), "member", "TOPIC", "GROUP", "classic"],
    "franz-go-848": lambda: [*setup_go("franz-go"), "member", "TOPIC", "GROUP", "consumer"],
    "sarama": lambda: [*setup_go("sarama"), "member", "TOPIC", "GROUP"],
    "kafka-go": lambda: [*setup_go("kafka-go"), "member", "TOPIC", "GROUP"],
    "kafkajs": lambda: ["node", str(setup_kafkajs() / "member.js"), "TOPIC", "GROUP"],
    "kafka-python": lambda: [*python("kafka-python", "member.py"), "TOPIC", "GROUP"],
    "aiokafka": lambda: [*python("aiokafka", "member.py"), "TOPIC", "GROUP"],
}


def txn(links, *command):
    """A client's program for transactions, see transactions/scenario.py, and how many links of its chain there may be."""
    return {"command": list(command), "links": links}


def java_txn():
    setup_java()
    return txn(2, *TOOL, str(HERE / "java" / "Txn.java"))


TRANSACTIONS = {
    "java": java_txn,
    "librdkafka": lambda: txn(2, *python("confluent", "txn.py")),
    "franz-go": lambda: txn(2, *setup_go("franz-go"), "txn"),
    "sarama": lambda: txn(2, *setup_go("sarama"), "txn"),
    "kafkajs": lambda: txn(1, "node", str(setup_kafkajs() / "txn.js")),
    "aiokafka": lambda: txn(1, *python("aiokafka", "txn.py")),
}

# What is built on groups, see groups/NAME.py.
APPS = {
    "streams": lambda: kafka_class(str(HERE / "java" / "WordCount.java")),
    "connect": kafka_class,
    "tools": kafka_class,
    "kaskade": setup_kaskade,
}

# What is built on transactions, beside the clients above; see groups/NAME.py too.
TXN_APPS = {
    "streams_eos": APPS["streams"],
    "txn_tools": kafka_class,
}
# The same, which take their time: only when they are asked for by name.
LONG_TXN_APPS = {
    "txn_handover": lambda: kafka_class(str(HERE / "java" / "DumpLogs.java")),
}


def install(kinds, names):
    """The commands of these names, some of `kinds`."""
    commands = {}
    for name in names:
        try:
            commands[name] = kinds[name]()
        except (OSError, subprocess.TimeoutExpired, Failed) as error:
            raise Failed(f"{name} could not be installed: {error}") from None
    return commands
