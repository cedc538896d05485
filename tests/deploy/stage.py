"""Prints a stage of a Dockerfile as a script: its ARGs as variables with defaults, its ENVs, its RUNs.

    stage.py DOCKERFILE STAGE

/out is what $OUT names, and the working directory is the present one.
"""

import re
import sys
from pathlib import Path

text = Path(sys.argv[1]).read_text().replace("\\\n", " ")
inside = False
print("set -euo pipefail")
for line in text.splitlines():
    if line.startswith("FROM "):
        inside = line.endswith(f" AS {sys.argv[2]}")
    elif inside and (default := re.match(r"ARG (\w+)=(.*)", line)):
        print(f'{default[1]}="${{{default[1]}:-{default[2]}}}"')
    elif inside and line.startswith("RUN "):
        print(re.sub(r"^RUN( +--\S+)* +", "", line).replace("/out", "$OUT"))
    elif inside and line.startswith("ENV "):
        print("export " + line.removeprefix("ENV "))
