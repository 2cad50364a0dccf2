"""Kafka Streams as in streams.py, with exactly_once_v2: every count comes once, in order, whoever is killed."""
from app import jobs_of
from streams import run

# so that what a killed instance left open does not hold up the others for long
SETTINGS = ["transaction.abort.timed.out.transaction.cleanup.interval.ms=500"]

jobs_of("streams_eos", lambda app, command: run(app, command, "exactly_once_v2"), SETTINGS)
