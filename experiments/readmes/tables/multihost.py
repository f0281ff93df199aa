"""What several processes computed together, and how long it took."""

from experiments.multihost import report

RUN = "two_processes"
TABLES = {"values": lambda runs: report.table(runs[RUN])}
