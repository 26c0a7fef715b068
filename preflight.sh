#!/bin/sh
# Says in one line what this machine lacks, else what will be installed; prints the Python 3.11 found on stdout.
cd "$(dirname "$0")" || exit 2

missing=
lacks() { missing="${missing:+$missing; }$1"; }
say() { printf 'preflight: %s\n' "$1" >&2; }

interpreter=
if [ -n "${PYTHON:-}" ]; then set -- "$PYTHON"; else set -- python3.11 python3 python; fi
for candidate; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' >/dev/null 2>&1; then
        interpreter=$candidate
        break
    fi
done
if [ -z "$interpreter" ]; then
    lacks "Python 3.11 (${PYTHON:+PYTHON=$PYTHON is not that; }set PYTHON=/path/to/python3.11 if it is not on PATH)"
elif ! "$interpreter" -c 'import venv, ensurepip' >/dev/null 2>&1; then
    lacks "the venv module of $interpreter (Debian and Ubuntu: apt install python3.11-venv)"
fi

command -v make >/dev/null 2>&1 || lacks "make"

if [ -x .venv/bin/python ]; then needed_mb=1000; else needed_mb=4000; fi
free_mb=$(df -Pk . | awk 'NR == 2 { print int($4 / 1024) }')
[ "$free_mb" -ge "$needed_mb" ] || lacks "disk space ($free_mb MB free in $PWD, $needed_mb MB needed)"

for folder in . build build/local; do
    if [ -e "$folder" ] && ! { [ -d "$folder" ] && [ -w "$folder" ] && [ -x "$folder" ]; }; then
        if [ -d "$folder" ]; then lacks "write permission on $PWD/$folder"; else lacks "a folder at $PWD/$folder (a file is in its place)"; fi
    fi
done

if [ -n "$missing" ]; then
    say "missing: $missing"
    exit 2
fi
if [ ! -x .venv/bin/python ]; then
    say "ok; first use downloads about 1 GB (Python packages, Node, Java) into .venv and node_modules, 2 GB on disk, one to three minutes"
fi
printf '%s\n' "$interpreter"
