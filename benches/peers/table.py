"""Prints the medians of run.sh's samples (of errors, the sum): table.py DIR COLUMN,... PEER...

A peer's samples are lines of numbers in DIR/PEER.samples, one number for each column, one line for each round. The ratio is that of the
first column to HAProxy's, taken within each round, since a noisy neighbour touches all of a round alike. A peer without samples has no row.
"""

import statistics
import sys
from pathlib import Path

directory, columns, *peers = sys.argv[1:]
columns = columns.split(",")


def samples(peer):
    file = Path(directory, f"{peer}.samples")
    return [list(map(float, line.split())) for line in file.read_text().splitlines()] if file.exists() else []


rounds = {peer: rows for peer in peers if (rows := samples(peer))}
print(f"{'proxy':<10}", *(f"{column:>16}" for column in columns), f"{'ratio':>8}")
for peer, rows in rounds.items():
    values = zip(columns, zip(*rows))
    medians = (sum(column) if name == "errors" else statistics.median(column) for name, column in values)
    pairs = zip(rows, rounds.get("haproxy", []))
    ratios = [row[0] / base[0] for row, base in pairs if base[0]]
    ratio = f"{statistics.median(ratios):>8.2f}" if ratios else f"{'':>8}"
    print(f"{peer:<10}", *(f"{median:>16,.2f}" for median in medians), ratio)
