#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes the QMP dispatch table out of src/vmm/qmp/schema/*.json.

A member's name with a leading '*' is optional; its type is str, int, bool or any.
"""
import json
import sys

KINDS = {"str": "QMP_STR", "int": "QMP_INT", "bool": "QMP_BOOL", "any": "QMP_ANY"}


def main(out, inputs):
    commands, events = {}, []
    for path in inputs:
        with open(path, encoding="utf-8") as f:
            for entry in json.load(f):
                if "command" in entry:
                    commands[entry["command"]] = entry
                else:
                    events.append(entry["event"])
    lines = ["/* SPDX-License-Identifier: GPL-2.0-or-later */",
             "/* Generated from src/vmm/qmp/schema by scripts/gen-qmp.py. */",
             '#include "vmm/qmp/command.h"', "", "#include <stddef.h>", ""]
    for name, entry in sorted(commands.items()):
        c = name.replace("-", "_")
        lines.append(f"static const struct qmp_arg args_{c}[] = {{")
        for key, kind in entry.get("data", {}).items():
            optional = "true" if key.startswith("*") else "false"
            lines.append(f'    {{ "{key.lstrip("*")}", {KINDS[kind]}, {optional} }},')
        lines.append("    { NULL, QMP_ANY, false },")
        lines.append("};")
    lines.append("const struct qmp_command qmp_commands[] = {")
    for name in sorted(commands):
        c = name.replace("-", "_")
        lines.append(f'    {{ "{name}", args_{c}, qmp_do_{c} }},')
    lines.append("    { NULL, NULL, NULL },")
    lines.append("};")
    lines.append("const char *const qmp_events[] = {")
    lines += [f'    "{e}",' for e in sorted(events)]
    lines.append("    NULL,")
    lines.append("};")
    with open(out, "w", encoding="utf-8") as f:
        f.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
