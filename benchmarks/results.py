"""What a benchmark measured: a table, its command and a note, which a JSON file keeps.

This needs no Keras, so that docs/scripts/benchmark_tables.py can read such files anywhere.
"""

import json


def as_markdown(result):
    headings, *rows = result["table"]
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + f"\n\n{result['note']}"


def write_result(result, path):
    """Write JSON with a line for each row of the table."""
    text = json.dumps(result | {"table": []}, indent=2, ensure_ascii=False)
    rows = ",\n    ".join(json.dumps(row, ensure_ascii=False) for row in result["table"])
    text = text.replace('"table": []', f'"table": [\n    {rows}\n  ]')
    path.write_text(text + "\n", encoding="utf-8")


def read_result(path):
    return json.loads(path.read_text(encoding="utf-8"))
