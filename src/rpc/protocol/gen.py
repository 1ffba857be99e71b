#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Makes C out of a protocol description: gen.py INPUT.x OUTPUT.h OUTPUT.c LOCK, or
gen.py --ops INPUT.x OUTPUT.h OUTPUT.c for the server's side: a struct of handlers, one member a call, and the
table that calls them; or
gen.py --client OUTPUT.h OUTPUT.c INPUT.x...: the client library's calls, and the header that is installed.

The header gets a struct for each type and for each call's arguments and results, an enum of the
procedures, and the program's table. The source gets their encoders and decoders. LOCK lists the wire layout
line by line, for the test that compares it with the committed one.
"""
import pathlib
import re
import sys

SCALARS = {
    "i8": ("int8_t", "u32"), "u8": ("uint8_t", "u32"), "i16": ("int16_t", "u32"), "u16": ("uint16_t", "u32"),
    "i32": ("int32_t", "u32"), "u32": ("uint32_t", "u32"), "i64": ("int64_t", "u64"), "u64": ("uint64_t", "u64"),
    "double": ("double", "double"),
}
STRING_MAX = 4194304
STRUCT = re.compile(r"struct (\w+) \{ (.*); \}$")
CALL = re.compile(r"(\d+) (\w+)( event)? \((.*?)\)(?: -> \((.*?)\))?(?: : (.*))?$")
FIELD = re.compile(r"(\w+?)(?:<(\d+)>)?(\?)?(?:\[(<?)(\d*)\])? (\w+)$")


class Field:
    def __init__(self, text, program):
        m = FIELD.match(text.strip())
        if not m:
            sys.exit(f"cannot read field '{text}'")
        self.type, self.max, self.optional, less, count, self.name = m.groups()
        self.array = count is not None and count != "" and less != "<"
        self.list = less == "<" or (count == "" and count is not None)
        self.count = int(count) if count else 0
        self.program = program
        self.c = {"type": "type_", "default": "default_"}.get(self.name, self.name)

    def ctype(self):
        if self.type in SCALARS:
            return SCALARS[self.type][0]
        if self.type == "string":
            return "char *"
        return "struct rpc_typed_param" if self.type == "typed_param" else f"struct {self.program.owner(self.type)}_{self.type}"

    def declare(self):
        if self.type == "bytes":
            return f"uint32_t n_{self.c};\n    uint8_t *{self.c};"
        if self.type == "uuid":
            return f"uint8_t {self.c}[16];"
        sep = "" if self.ctype().endswith("*") else " "
        if self.list:
            return f"uint32_t n_{self.c};\n    {self.ctype()}{sep}*{self.c};"
        if self.array:
            return f"{self.ctype()}{sep}{self.c}[{self.count}];"
        star = "*" if self.optional and self.type != "string" else ""
        return f"{self.ctype()}{sep}{star}{self.c};"

    def least(self):
        """Bytes that one element takes on the wire at the least."""
        return 8 if self.type in ("i64", "u64", "double") else 16 if self.type == "uuid" else 4

    def put_one(self, v):
        if self.type in SCALARS:
            kind = SCALARS[self.type][1]
            cast = {"u32": "(uint32_t)", "u64": "(uint64_t)", "double": ""}[kind]
            return f"xdr_put_{kind}(x, {cast}{v});"
        if self.type == "string":
            return f"rpc_put_string{'_opt' if self.optional else ''}(x, {v});"
        fn = "rpc_put_typed_param" if self.type == "typed_param" else f"put_{self.program.owner(self.type)}_{self.type}"
        return f"{fn}(x, &{v});"

    def get_one(self, v):
        if self.type in SCALARS:
            ctype, kind = SCALARS[self.type]
            return f"{v} = ({ctype})xdr_get_{kind}(x);"
        if self.type == "string":
            return f"{v} = rpc_get_string{'_opt' if self.optional else ''}(x, a);"
        fn = "rpc_get_typed_param" if self.type == "typed_param" else f"get_{self.program.owner(self.type)}_{self.type}"
        return f"{fn}(x, a, &{v});"

    def put(self):
        v = f"v->{self.c}"
        if self.type == "bytes":
            return [f"xdr_put_bytes(x, {v}, v->n_{self.c}, {self.max});"]
        if self.type == "uuid":
            return [f"xdr_put_fixed(x, {v}, 16);"]
        if self.list:
            return [f"rpc_put_count(x, v->n_{self.c}, {self.count or 16384});",
                    f"for (uint32_t i = 0; i < v->n_{self.c}; i++) {{", "    " + self.put_one(v + "[i]"), "}"]
        if self.array:
            return [f"for (uint32_t i = 0; i < {self.count}; i++) {{", "    " + self.put_one(v + "[i]"), "}"]
        if self.optional and self.type != "string":
            return [f"xdr_put_u32(x, {v} != NULL ? 1 : 0);", f"if ({v} != NULL) {{", "    " + self.put_one("(*" + v + ")"), "}"]
        return [self.put_one(v)]

    def get(self):
        v = f"v->{self.c}"
        if self.type == "bytes":
            return [f"{v} = rpc_get_bytes(x, a, {self.max}, &v->n_{self.c});"]
        if self.type == "uuid":
            return [f"xdr_get_fixed(x, {v}, 16);"]
        if self.list:
            return [f"v->n_{self.c} = xdr_get_count(x, {self.count or 16384}, {self.least()});",
                    f"{v} = rpc_get_array(x, a, v->n_{self.c}, sizeof(*{v}));",
                    f"for (uint32_t i = 0; !x->failed && i < v->n_{self.c}; i++) {{", "    " + self.get_one(v + "[i]"), "}"]
        if self.array:
            return [f"for (uint32_t i = 0; i < {self.count}; i++) {{", "    " + self.get_one(v + "[i]"), "}"]
        if self.optional and self.type != "string":
            return [f"{v} = NULL;", "if (xdr_get_bool(x)) {", f"    {v} = rpc_get_array(x, a, 1, sizeof(*{v}));",
                    "    if (!x->failed) {", "        " + self.get_one("(*" + v + ")"), "    }", "}"]
        return [self.get_one(v)]


class Program:
    def __init__(self, path):
        self.structs, self.calls, self.used = [], [], None
        for line in path.read_text().splitlines():
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            if line.startswith("program "):
                _, self.name, self.nr, self.version = line.split()
            elif line.startswith("use "):
                self.used = Program(path.parent / (line.split()[1] + ".x"))
            elif m := STRUCT.match(line):
                self.structs.append((m[1], self.fields(m[2], ";")))
            elif m := CALL.match(line):
                self.calls.append((int(m[1]), m[2], bool(m[3]), self.fields(m[4], ","), self.fields(m[5] or "", ","),
                                   (m[6] or "").split(), m[5] is not None))
            else:
                sys.exit(f"{path}: cannot read '{line}'")

    def fields(self, text, sep):
        return [Field(f, self) for f in text.split(sep) if f.strip()]

    def owner(self, struct):
        if any(n == struct for n, _ in self.structs):
            return self.name
        if self.used:
            return self.used.owner(struct)
        sys.exit(f"no struct '{struct}'")

    def all_structs(self):
        """Every C struct of the program: types, then arguments, results and messages of the calls."""
        named = [n for n, _ in self.structs]
        yield from ((f"{self.name}_{n}", f) for n, f in self.structs)
        for _, n, event, args, ret, _, _ in self.calls:
            for what, fields in (("msg" if event else "args", args), ("ret", ret)):
                # A layout that other structs contain has been declared by name already.
                if fields and f"{n}_{what}" not in named:
                    yield f"{self.name}_{n}_{what}", fields


def header(p):
    out = [f"/* Made by gen.py from {p.name}.x. */", "#pragma once", "", '#include "rpc/codec.h"']
    if p.used:
        out.append(f'#include "rpc/protocol/{p.used.name}.h"')
    out += ["", f"enum {{ {p.name.upper()}_PROGRAM = {p.nr}, {p.name.upper()}_VERSION = {p.version} }};", "", f"enum {p.name}_proc {{"]
    out += [f"    {p.name.upper()}_{n.upper()} = {nr}," for nr, n, *_ in p.calls]
    out += [f"    _{p.name.upper()}_PROC_END", "};", ""]
    for name, fields in p.all_structs():
        out += [f"struct {name} {{"] + [f"    {f.declare()}" for f in fields] + ["};"]
        out += [f"void put_{name}(struct xdr_out *x, const struct {name} *v);",
                f"void get_{name}(struct xdr_in *x, struct arena *a, struct {name} *v);", ""]
    out += [f"extern const struct rpc_program {p.name}_program;", ""]
    return "\n".join(out)


def source(p):
    out = [f"/* Made by gen.py from {p.name}.x. */", f'#include "rpc/protocol/{p.name}.h"', ""]
    for name, fields in p.all_structs():
        out += [f"void put_{name}(struct xdr_out *x, const struct {name} *v)", "{"]
        out += ["    " + line for f in fields for line in f.put()] + ["}", ""]
        out += [f"void get_{name}(struct xdr_in *x, struct arena *a, struct {name} *v)", "{", "    (void)a;"]
        out += ["    " + line for f in fields for line in f.get()] + ["}", ""]
        out += [f"static void any_put_{name}(struct xdr_out *x, const void *v)", "{", f"    put_{name}(x, v);", "}", ""]
        out += [f"static void any_get_{name}(struct xdr_in *x, struct arena *a, void *v)", "{", f"    get_{name}(x, a, v);", "}", ""]
    unused = [f"{p.name}_{n}" for n, _ in p.structs]
    out += ["/* Types are reached by name; the table needs only calls and messages. */"]
    for name in unused:
        out += [f"static const struct rpc_codec codec_{name} __attribute__((unused)) = {{ sizeof(struct {name}), any_put_{name}, any_get_{name} }};"]
    out += ["", f"static const struct rpc_proc procs[_{p.name.upper()}_PROC_END] = {{"]
    for nr, n, event, args, ret, attrs, _ in p.calls:
        acl = [a[4:] for a in attrs if a.startswith("acl=")]
        flags = " | ".join([f"RPC_{a.upper()}" for a in attrs if not a.startswith("acl=")] + (["RPC_EVENT"] if event else [])) or "0"
        out += [f"    [{nr}] = {{", f'        .name = "{n}",', f"        .flags = {flags},"]
        for what, fields in (("msg" if event else "args", args), ("ret", ret)):
            if fields:
                t = f"{p.name}_{n}_{what}"
                member = "ret" if what == "ret" else "args"
                out += [f"        .{member} = {{ sizeof(struct {t}), any_put_{t}, any_get_{t} }},"]
        if acl:
            out += ["        .acl = { " + ", ".join(f'"{a}"' for a in acl) + " },"]
        out += ["    },"]
    out += ["};", "", f"const struct rpc_program {p.name}_program = {{", f'    .name = "{p.name}",', f"    .nr = {p.nr},",
            f"    .version = {p.version},", f"    .n_procs = _{p.name.upper()}_PROC_END,", "    .procs = procs,", "};", ""]
    return "\n".join(out)


def lock(p):
    def text(f):
        suffix = f"<{f.max}>" if f.max else ""
        suffix += "?" if f.optional else ""
        suffix += f"[<{f.count}]" if f.list else f"[{f.count}]" if f.array else ""
        return f"{f.type}{suffix} {f.name}"
    lines = [f"struct {n}: {', '.join(map(text, f))}" for n, f in p.structs]
    lines += [f"{nr} {n}{' event' if e else ''}: {', '.join(map(text, a))} -> {', '.join(map(text, r))}" for nr, n, e, a, r, _, _ in p.calls]
    return "\n".join(lines) + "\n"


# ---- the client library: a function for each call, and its types in the installed header ----

# Hand-written in the library, or of no use to its users.
NOT_PUBLIC = re.compile(r"(connect_(open|close|un?register_close_callback|set_identity)|auth_.*|domain_open_graphics\w*|"
                        r"domain_events?_(de)?register(_any)?|connect_domain_event_(de)?register(_any)?|.*_with_files|"
                        r"domain_create_(xml_)?with_files|domain_fd_associate)$")


def public_type(f):
    if f.type in SCALARS:
        return SCALARS[f.type][0]
    return {"string": "char *", "typed_param": "struct vireo_param"}.get(f.type, f"struct vireo_{f.type}")


def public_declare(f):
    if f.type == "bytes":
        return f"uint32_t n_{f.c};\n    uint8_t *{f.c};"
    if f.type == "uuid":
        return f"uint8_t {f.c}[16];"
    t = public_type(f)
    sep = "" if t.endswith("*") else " "
    if f.list:
        return f"uint32_t n_{f.c};\n    {t}{sep}*{f.c};"
    if f.array:
        return f"{t}{sep}{f.c}[{f.count}];"
    return f"{t}{sep}{'*' if f.optional and f.type != 'string' else ''}{f.c};"


def parameters(args):
    """What a function takes for these arguments, and how they get into the struct."""
    out, fill = [], []
    for f in args:
        t = public_type(f)
        if f.type == "bytes":
            out += [f"const uint8_t *{f.c}", f"uint32_t n_{f.c}"]
            fill += [f"    a.{f.c} = (uint8_t *)(uintptr_t){f.c};", f"    a.n_{f.c} = n_{f.c};"]
        elif f.type == "uuid":
            out += [f"const uint8_t {f.c}[16]"]
            fill += [f"    memcpy(a.{f.c}, {f.c}, 16);"]
        elif f.list:
            const = "const char *const *" if f.type == "string" else f"const {t} *"
            out += [f"{const}{f.c}", f"uint32_t n_{f.c}"]
            fill += [f"    a.{f.c} = (void *)(uintptr_t){f.c};", f"    a.n_{f.c} = n_{f.c};"]
        elif f.type == "string":
            out += [f"const char *{f.c}"]
            fill += [f"    a.{f.c} = (char *)(uintptr_t){f.c};"]
        elif f.type in SCALARS:
            out += [f"{t} {f.c}"]
            fill += [f"    a.{f.c} = {f.c};"]
        else:
            out += [f"const {t} *{f.c}"]
            fill += [f"    a.{f.c} = (void *)(uintptr_t){f.c};" if f.optional else f"    memcpy(&a.{f.c}, {f.c}, sizeof(a.{f.c}));"]
    return out, fill


def public_prototype(n, args, ret, attrs):
    params = ["struct vireo_connect *c"] + parameters(args)[0]
    params += ["struct vireo_stream **ret_stream"] if {"readstream", "writestream"} & set(attrs) else []
    params += [f"struct vireo_{n}_ret **ret"] if ret else []
    return f"int vireo_{n}({', '.join(params)})"


def client_header(programs):
    out = ["/* SPDX-License-Identifier: LGPL-2.1-or-later */", "/* calls.h - made from the protocol: a function for each of the daemon's calls. */",
           "#pragma once", ""]
    for p in programs:
        events = [c for c in p.calls if c[2]]
        out += [f"enum vireo_{p.name}_event {{"] + [f"    VIREO_{n.upper()} = {nr}," for nr, n, *_ in events] + ["};", ""]
        for n, fields in p.structs:
            if n != "error":
                out += [f"struct vireo_{n} {{"] + [f"    {public_declare(f)}" for f in fields] + ["};", ""]
        named = [n for n, _ in p.structs]
        for _, n, _, args, _, _, _ in events:
            if args and f"{n}_msg" not in named:
                out += [f"struct vireo_{n}_msg {{"] + [f"    {public_declare(f)}" for f in args] + ["};", ""]
        for _, n, event, args, ret, attrs, _ in p.calls:
            if event or NOT_PUBLIC.match(n):
                continue
            if ret and f"{n}_ret" not in named:
                out += [f"struct vireo_{n}_ret {{"] + [f"    {public_declare(f)}" for f in ret] + ["};"]
            out += [public_prototype(n, args, ret, attrs) + ";", ""]
    return "\n".join(out)


def client_source(programs):
    out = ["/* Made by gen.py. */", '#include "client/library.h"', "", "#include <string.h>", ""]
    for p in programs:
        for n, _ in p.structs:
            if n == "error":
                continue
            out += [f'_Static_assert(sizeof(struct vireo_{n}) == sizeof(struct {p.name}_{n}), "same layout");']
        for _, n, event, args, ret, attrs, _ in p.calls:
            if event or NOT_PUBLIC.match(n):
                continue
            stream = {"readstream", "writestream"} & set(attrs)
            if ret:
                out += [f'_Static_assert(sizeof(struct vireo_{n}_ret) == sizeof(struct {p.name}_{n}_ret), "same layout");']
            out += ["", public_prototype(n, args, ret, attrs), "{"]
            if args:
                out += [f"    struct {p.name}_{n}_args a = {{ 0 }};", ""] + parameters(args)[1]
            given = ["c", f"&{p.name}_program", f"{p.name.upper()}_{n.upper()}", "&a" if args else "NULL",
                     "(void **)ret" if ret else "NULL", "ret_stream" if stream else "NULL"]
            out += [f"    return library_call({', '.join(given)});", "}", ""]
    return "\n".join(out)


def prototype(p, n, args, ret, name):
    params = ["struct call *call"]
    params += [f"const struct {p.name}_{n}_args *args"] if args else []
    params += [f"struct {p.name}_{n}_ret *ret"] if ret else []
    return f"int {name}({', '.join(params)}, struct err **err)"


def ops_header(p):
    out = [f"/* Made by gen.py from {p.name}.x: a handler for each call; NULL: not supported. */", "#pragma once", "",
           '#include "base/err.h"', f'#include "rpc/protocol/{p.name}.h"', "", "struct call;", "", f"struct {p.name}_ops {{"]
    out += [f"    {prototype(p, n, args, ret, '(*' + n + ')')};" for _, n, event, args, ret, *_ in p.calls if not event]
    out += ["};", "", "/* Where a call's handler is in the struct, and how it is called. */", f"struct {p.name}_thunk {{",
            "    size_t offset;", "    int (*run)(const void *ops, struct call *call, const void *args, void *ret, struct err **err);",
            "};", f"extern const struct {p.name}_thunk {p.name}_thunks[_{p.name.upper()}_PROC_END];", ""]
    return "\n".join(out)


def ops_source(p, header_name):
    out = [f"/* Made by gen.py from {p.name}.x. */", f'#include "{header_name}"', "", "#include <stddef.h>", ""]
    for _, n, event, args, ret, *_ in p.calls:
        if event:
            continue
        out += [f"static int run_{n}(const void *ops, struct call *call, const void *args, void *ret, struct err **err)", "{"]
        out += [] if args else ["    (void)args;"]
        out += [] if ret else ["    (void)ret;"]
        given = ["call"] + (["args"] if args else []) + (["ret"] if ret else []) + ["err"]
        out += [f"    const struct {p.name}_ops *o = ops;", "", f"    return o->{n}({', '.join(given)});", "}", ""]
    out += [f"const struct {p.name}_thunk {p.name}_thunks[_{p.name.upper()}_PROC_END] = {{"]
    out += [f"    [{nr}] = {{ offsetof(struct {p.name}_ops, {n}), run_{n} }}," for nr, n, event, *_ in p.calls if not event]
    out += ["};", ""]
    return "\n".join(out)


def main():
    if sys.argv[1] == "--client":
        programs = [Program(pathlib.Path(a)) for a in sys.argv[4:]]
        pathlib.Path(sys.argv[2]).write_text(client_header(programs))
        pathlib.Path(sys.argv[3]).write_text(client_source(programs))
        return
    if sys.argv[1] == "--ops":
        p = Program(pathlib.Path(sys.argv[2]))
        pathlib.Path(sys.argv[3]).write_text(ops_header(p))
        pathlib.Path(sys.argv[4]).write_text(ops_source(p, "mgmt/server/" + pathlib.Path(sys.argv[3]).name))
        return
    p = Program(pathlib.Path(sys.argv[1]))
    for path, make in zip(sys.argv[2:5], (header, source, lock)):
        pathlib.Path(path).write_text(make(p))


if __name__ == "__main__":
    main()
