#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes the QMP dispatch table out of src/vmm/qmp/schema/*.json.

A member's name with a leading '*' is optional; its type is str, int, bool or any.
"""
import json
import sys

KINDS = {"str": "QMP_STR", "int": "QMP_INT", "bool": "QMP_BOOL", "any": "QMP_ANY"}


def type_of(kind):
    """The name of a type in introspection: built in ones by their own name."""
    return kind if kind in ("str", "int", "bool") else "any"


def members(data):
    out = []
    for key, kind in data.items():
        m = {"name": key.lstrip("*"), "type": type_of(kind)}
        if key.startswith("*"):
            m["default"] = None
        out.append(m)
    return out


def schema_parts(commands, events):
    """query-qmp-schema's answer as pieces of JSON text: types, then commands and events."""
    out = [{"name": n, "meta-type": "builtin", "json-type": j}
           for n, j in (("str", "string"), ("int", "int"), ("bool", "boolean"), ("any", "value"))]
    out.append({"name": "0", "meta-type": "object", "members": []})
    out.append({"name": "[any]", "meta-type": "array", "element-type": "any"})
    number = 0

    def object_type(data):
        nonlocal number
        if not isinstance(data, dict):
            return "any" if data else "0"
        if not data:
            return "0"
        number += 1
        out.append({"name": str(number), "meta-type": "object", "members": members(data)})
        return str(number)

    for name, entry in sorted(commands.items()):
        out.append({"name": name, "meta-type": "command", "arg-type": object_type(entry.get("data", {})),
                    "ret-type": object_type(entry.get("returns", {}))})
    for entry in events:
        out.append({"name": entry["event"], "meta-type": "event",
                    "arg-type": object_type(entry.get("data", {}))})
    text = ["["]
    for i, item in enumerate(out):
        text.append(json.dumps(item) + ("," if i + 1 < len(out) else "]"))
    return text


def main(out, inputs):
    commands, events = {}, []
    for path in inputs:
        with open(path, encoding="utf-8") as f:
            for entry in json.load(f):
                if "command" in entry:
                    commands[entry["command"]] = entry
                else:
                    events.append(entry)
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
    lines.append("static const char schema_text[] =")
    for part in schema_parts(commands, events):
        quoted = part.replace("\\", "\\\\").replace('"', '\\"')
        lines.append(f'    "{quoted}"')
    lines.append("    ;")
    lines.append("const char *const qmp_schema = schema_text;")
    lines.append("const struct qmp_command qmp_commands[] = {")
    for name in sorted(commands):
        c = name.replace("-", "_")
        is_open = "true" if commands[name].get("open") else "false"
        lines.append(f'    {{ "{name}", args_{c}, qmp_do_{c}, {is_open} }},')
    lines.append("    { NULL, NULL, NULL, false },")
    lines.append("};")
    lines.append("const char *const qmp_events[] = {")
    lines += [f'    "{e["event"]}",' for e in sorted(events, key=lambda e: e["event"])]
    lines.append("    NULL,")
    lines.append("};")
    with open(out, "w", encoding="utf-8") as f:
        f.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
