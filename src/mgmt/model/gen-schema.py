#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes the tables of schema.h: gen-schema.py OUTPUT.c INPUT.schema...

A line is an element; its children follow, two blanks deeper, in the order in which they are written:
    NAME[*] [&DEF] [@ATTR...] [$TEXT] [%] [!] [~]
* may occur again; &DEF has the attributes and children of that definition; $ has text; % keeps any content;
~ is there only while the object runs. "+ DEF" in place of an element (or after its name) adds the
definition's children (and attributes). "def NAME" begins a definition whose element follows; "doc NAME" a document.
Attributes and texts have a kind after their name: # number, - signed number, ? yes or no, ^ on or off, :N hex of
N digits, =a|b one of these; for texts $#, $a|b.
"""
import pathlib
import re
import sys


class Elem:
    def __init__(self, name):
        self.name, self.attrs, self.children = name, [], []
        self.flags, self.text, self.ref, self.plus = set(), None, None, []


defs, docs = {}, {}


def kind_of(spec):
    if spec == "":
        return ("VALUE_TEXT", None, 0)
    if spec[0] == ":":
        return ("VALUE_HEX", None, int(spec[1:]))
    if spec[0] == "=":
        return ("VALUE_ENUM", spec[1:].split("|"), 0)
    return ({"#": "VALUE_UINT", "-": "VALUE_INT", "?": "VALUE_YESNO", "^": "VALUE_ONOFF"}[spec], None, 0)


def parse_elem(words):
    name = words[0]
    e = Elem(name.rstrip("*~"))
    if "*" in name:
        e.flags.add("ELEM_MANY")
    if name.endswith("~"):
        e.flags.add("ELEM_LIVE")
    it = iter(words[1:])
    for w in it:
        if w.startswith("@"):
            live = w.endswith("~")
            m = re.match(r"@((?:xmlns:)?[\w-]*?\w)(:\d+|=[^~]*|[#?^-])?~?$", w)
            if not m:
                sys.exit(f"cannot read '{w}'")
            e.attrs.append((m[1], *kind_of(m[2] or ""), live))
        elif w.startswith("$"):
            live = w.endswith("~") and not w == "$"
            spec = w[1:].rstrip("~")
            e.flags.add("ELEM_TEXT")
            e.text = kind_of("=" + spec if spec and spec[0].isalpha() else spec)
            if live:
                e.flags.add("ELEM_LIVE")
        elif w.startswith("%"):
            e.flags.add("ELEM_ANY")
            if w.endswith("~"):
                e.flags.add("ELEM_LIVE")
        elif w == "!":
            e.flags.add("ELEM_EMPTY")
        elif w.startswith("&"):
            e.ref = w[1:]
        elif w == "+":
            e.plus.append(next(it))
        else:
            sys.exit(f"cannot read '{w}' of {name}")
    return e


def parse(path):
    stack = []  # (indent, elem)
    pending = None
    for line in path.read_text().splitlines():
        if not line.strip() or line.strip().startswith("#"):
            continue
        indent = (len(line) - len(line.lstrip())) // 2
        words = line.split()
        if words[0] in ("def", "doc"):
            pending = words
            stack = []
            if words[0] == "doc":
                e = parse_elem(words[1:])
                docs[words[1]] = e
                if not e.ref:
                    defs.setdefault(words[1], e)
                stack = [(0, e)]
            continue
        if pending[0] == "def" and indent == 1 and not stack and words[0] != "+":
            e = parse_elem(words)
            # A definition with one root element is that element; device_info is a list of children.
            defs.setdefault(pending[1], Elem(pending[1])).children.append(e)
            stack = [(1, e)]
            continue
        if pending[0] == "def" and indent == 1:
            e = parse_elem(words)
            defs[pending[1]].children.append(e)
            stack = [(1, e)]
            continue
        while stack and stack[-1][0] >= indent:
            stack.pop()
        parent = stack[-1][1]
        if words[0] == "+":
            parent.children.append(("plus", words[1]))
            continue
        e = parse_elem(words)
        parent.children.append(e)
        stack.append((indent, e))


LISTS = {"device_info", "device"}  # definitions that are lists of children


def body(name):
    """The element that a definition stands for."""
    d = defs[name]
    return d if d is docs.get(name) or len(d.children) != 1 else d.children[0]


def attrs_of(e):
    out = list(e.attrs)
    if e.ref:
        out = attrs_of(body(e.ref)) + out
    for p in e.plus:
        out += attrs_of(body(p))
    return out


def children_of(e):
    out = []
    if e.ref:
        out += children_of(body(e.ref))
    for p in e.plus:
        out += children_of(body(p))
    for c in e.children:
        if isinstance(c, tuple):
            d = defs[c[1]]
            out += children_of(d) if c[1] in LISTS else children_of(body(c[1]))
        else:
            out.append(c)
    return out


class Out:
    def __init__(self):
        self.lines, self.done, self.enums, self.n = [], {}, {}, 0

    def enum(self, values):
        key = tuple(values)
        if key not in self.enums:
            name = f"values{len(self.enums)}"
            self.enums[key] = name
            self.lines.append(f"static const char *const {name}[] = {{ " + ", ".join(f'"{v}"' for v in values) + ", NULL };")
        return self.enums[key]

    def kind(self, k):
        kind, values, width = k
        return f"{self.enum(values) if values else 'NULL'}, {kind}, {width}"

    def elem(self, e, symbol=None, static=True):
        """Emits the tables of an element; returns its symbol. Definitions are emitted once."""
        base = body(e.ref) if e.ref and not e.children and not e.attrs and not e.plus else e
        key = (id(base), e.name)
        if symbol is None and key in self.done:
            return self.done[key]
        name = symbol or f"elem{self.n}_{re.sub(r'[^a-z0-9]', '_', e.name.lower())}"
        self.n += 1
        self.done.setdefault(key, name)
        flags = set(e.flags) | (base.flags if base is not e else set())
        text = e.text or base.text or ("VALUE_TEXT", None, 0)
        children = children_of(e)
        attrs = attrs_of(e)
        if static:
            self.lines.append(f"static const struct elem {name};")
        refs = [(c, self.elem(c)) for c in children]
        if attrs:
            rows = [f'    {{ "{a[0]}", {self.kind(a[1:4])} }},' for a in attrs]
            self.lines += [f"static const struct attr {name}_attrs[] = {{"] + rows + ["};"]
        if refs:
            rows = []
            for c, sym in refs:
                cf = set(c.flags) | (body(c.ref).flags if c.ref else set())
                cf -= {"ELEM_TEXT", "ELEM_ANY"}
                if c.ref and "*" not in c.name and "ELEM_MANY" not in c.flags:
                    cf.discard("ELEM_MANY")
                rows.append(f'    {{ "{c.name}", &{sym}, {" | ".join(sorted(cf)) or "0"}, 0 }},')
            self.lines += [f"static const struct elem_ref {name}_children[] = {{"] + rows + ["};"]
        self.lines += [f"{'static ' if static else ''}const struct elem {name} = {{",
                       f'    "{e.name}", {name + "_attrs" if attrs else "NULL"}, {len(attrs)},',
                       f'    {name + "_children" if refs else "NULL"}, {len(refs)}, {" | ".join(sorted(flags)) or "0"},',
                       f'    {{ NULL, {self.kind(text)} }},', "};"]
        return name


def main():
    for path in sys.argv[2:]:
        parse(pathlib.Path(path))
    out = Out()
    for name, e in docs.items():
        out.elem(e, f"schema_{name}", False)
    text = ["/* Made by gen-schema.py. */", '#include "mgmt/model/schema.h"', "", "#include <stddef.h>", ""]
    pathlib.Path(sys.argv[1]).write_text("\n".join(text + out.lines) + "\n")


if __name__ == "__main__":
    main()
