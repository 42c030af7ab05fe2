#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A tool that is a program: JSON arguments come on stdin, the result goes to stdout. Runs one query on sales.db."""
import json
import pathlib
import sqlite3
import sys

MAX_ROWS = 50

question = json.load(sys.stdin)
file = pathlib.Path(sys.argv[1]).resolve()
database = sqlite3.connect(f"{file.as_uri()}?mode=ro&immutable=1", uri=True)
try:
    rows = database.execute(question["sql"])
    names = [column[0] for column in rows.description or []]
    print(json.dumps([dict(zip(names, row)) for row in rows.fetchmany(MAX_ROWS)]))
except sqlite3.Error as error:
    sys.exit(f"SQLite says: {error}")
