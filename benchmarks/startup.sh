#!/usr/bin/env bash
# Seconds until `identmetric --help` and `--version` answer: ten runs each, sorted.
set -euo pipefail
for option in --help --version; do
    for _ in $(seq 10); do
        /usr/bin/env time -f %e identmetric "$option" 2>&1 >/dev/null
    done | sort -n | tr '\n' ' ' | sed "s/^/$option: /"
    echo
done
