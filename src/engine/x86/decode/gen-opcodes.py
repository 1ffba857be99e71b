#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Turns opcodes.txt into opcodes.tab.h: the rows, and for each encoding and opcode where they start.

Usage: gen-opcodes.py opcodes.txt opcodes.tab.h
"""
import re
import sys

MAPS = {"1B": 0, "0F": 1, "38": 2, "3A": 3}
FLAGS = {"c": 1, "p": 4, "a": 16, "z": 64, "s": 128, "d": 1024, "o": 2048}
REGS = {"ax": 0, "cx": 1, "dx": 2, "bx": 3, "sp": 4, "bp": 5, "si": 6, "di": 7}
ARITH = sum(FLAGS[c] for c in "oszapc")
CLASSES = {"int", "stack", "branch", "string", "x87", "vec", "system"}
PP = {"NP": 1, "66": 2, "F3": 4, "F2": 8}
MEM = {"b": 1, "w": 2, "d": 4, "q": 8, "o": 16, "t": 10, "v": 0, "y": 0xfa, "x": 0xfe, "h": 0xfd,
       "f": 0xfc, "e": 0xfb, "s": 0xff, "c": 0xff, "k": 2, "l": 1, "n": 4, "m": 4, "z": 0}
BITS = {"lock": "INFO_LOCKABLE", "xlock": "INFO_IMPLICIT_LOCK", "ends": "INFO_ENDS_BLOCK",
        "cpl0": "INFO_CPL0", "fc": "INFO_FLAGS_COND", "vsib": "INFO_VSIB", "bits": "INFO_BITSTRING",
        "masked": "INFO_MASKED", "maskmov": "INFO_MASKMOV"}
IMM = {"Ib": "IMM_B", "Iw": "IMM_W", "Iz": "IMM_Z", "Iv": "IMM_V", "Jb": "IMM_B", "Jz": "IMM_Z",
       "Ap": "IMM_FAR", "Ob": "IMM_MOFFS", "Ov": "IMM_MOFFS", "Lx": "IMM_B"}


def expand(line):
    groups = re.findall(r"\{([^}]*)\}", line)
    if not groups:
        return [line]
    lists = []
    for g in groups:
        m = re.fullmatch(r"([0-9A-F]+)\.\.([0-9A-F]+)", g)
        lists.append(["%02X" % i for i in range(int(m[1], 16), int(m[2], 16) + 1)] if m
                     else g.split(","))
    n = max(len(x) for x in lists)
    if any(len(x) != n for x in lists):
        sys.exit("braces of different lengths: " + line)
    out = []
    for i in range(n):
        it = iter(lists)
        out.append(re.sub(r"\{[^}]*\}", lambda _: next(it)[i], line))
    return out


def flags(text):
    return sum(FLAGS[c] for c in text)


def use(text):
    return ("r" in text) * 1 + ("w" in text) * 2


def parse(line):
    head, _, attrs = line.partition(" : ")
    words = head.split()
    attrs = attrs.split()
    row = dict(map=MAPS[words[0]], opcode=int(words[1], 16), legacy=True, vex=False, pp=0, w=-1, l=-1,
               mod="any", reg=-1, rm=-1, mode=0, modig=False)
    words = words[2:]
    while not re.match(r"[a-z]", words[0]):
        c = words.pop(0)
        if c in PP:
            row["pp"] |= PP[c]
        elif c in ("V", "LV"):
            row["vex"], row["legacy"] = True, c == "LV"
        elif c[0] == "/":
            row["reg"] = int(c[1:])
        elif c.startswith("RM"):
            row["rm"] = int(c[2:])
        elif c in ("MEM", "REG"):
            row["mod"] = c
        elif c == "MODIG":
            row["modig"] = True
        elif c in ("W0", "W1"):
            row["w"] = int(c[1])
        elif c in ("L0", "L1"):
            row["l"] = int(c[1])
        elif c in ("I64", "O64"):
            row["mode"] = 1 if c == "I64" else 2
        else:
            sys.exit("what is %s in: %s" % (c, line))
    row["pp"] = row["pp"] or 15
    row["name"] = words.pop(0)
    row["ops"] = words[0].split(",") if words else []
    row["attrs"] = attrs
    return row


def finish(row, vex):
    ops = [o for o in row["ops"] if vex or o[0] != "H" or row["ops"][0] == o]
    attrs = row["attrs"]
    val = dict(a.split("=") for a in attrs if "=" in a)
    vec = any(o[0] in "VWUH" for o in ops)
    mmx = any(o[0] in "PQN" for o in ops)
    cls = next((a for a in attrs if a in CLASSES), "x87" if mmx and not vec else
               "vec" if vec or vex else "int")
    bits = {BITS[a] for a in attrs if a in BITS}
    out = dict(cls="CLASS_" + cls.upper(), mem=0, fr=0, fw=0, fu=0, rr=0, rw=0, form=set(),
               gpr=dict(reg=0, rm=0, vvvv=0, opc=0), imm="IMM_NONE", imm2="IMM_NONE")
    for a in attrs:
        if a == "fa":
            out["fw"] |= ARITH
        elif a == "fl":
            out["fw"] |= ARITH
            out["fu"] |= FLAGS["a"]
        elif a[:2] == "w:":
            out["fw"] |= flags(a[2:])
        elif a[:2] == "u:":
            out["fu"] |= flags(a[2:])
        elif a[:2] == "r:":
            out["fr"] |= flags(a[2:])
    for key in ("ir", "iw", "iu"):
        for r in val.get(key, "").split(",") if key in val else []:
            if key != "iw":
                out["rr"] |= 1 << REGS[r]
            if key != "ir":
                out["rw"] |= 1 << REGS[r]
    if cls == "x87" or cls == "vec" and (mmx or vec):
        pass
    memory_use, has_modrm = None, row["reg"] >= 0 or row["rm"] >= 0 or row["mod"] != "any"
    for n, o in enumerate(ops):
        kind = o[0]
        if n == 0:
            u = val.get("d", "w" if kind in "VWUHPQN" or (vec and kind in "EGRM") else "rw")
        elif n == 1:
            u = val.get("d2", "r")
        else:
            u = "r"
        how = use(u)
        byte = 4 if o[1:] in ("b",) and kind in "EGRZ" else 0
        if kind in "EGMRVWUPQNSCDNH" and kind != "H":
            has_modrm = True
        if kind in "EMWQ":
            memory_use = u
            out["mem"] = MEM[o[1:]]
        if kind in "ER":
            out["gpr"]["rm"] = how | byte if how else 1 | byte
        elif kind == "G":
            out["gpr"]["reg"] = how | byte
        elif kind == "B":
            out["gpr"]["vvvv"] = how
        elif kind == "Z":
            out["gpr"]["opc"] = how | byte
        if o in IMM:
            key = "imm" if out["imm"] == "IMM_NONE" else "imm2"
            out[key] = IMM[o]
        if kind == "O":
            out["mem"] = MEM[o[1:]]
            memory_use = u if n == 0 else "r"
    if has_modrm:
        out["form"].add("FORM_MODRM")
    if memory_use is not None and row["mod"] != "REG":
        if "r" in memory_use:
            bits.add("INFO_MEM_READ")
        if "w" in memory_use:
            bits.add("INFO_MEM_WRITE")
        if memory_use == "a":
            bits.add("INFO_MEM_ADDR")
    wide = out["mem"] in (16, 0xfe) and any(o[0] in "WM" for o in ops) and row["mod"] != "REG"
    if memory_use and wide and "ua" not in attrs and (not vex and (vec or mmx) or "al" in attrs):
        bits.add("INFO_ALIGN")
    if "al" in attrs and not vec:
        bits.add("INFO_ALIGN")
    for a, f in (("d64", "FORM_D64"), ("f64", "FORM_F64")):
        if a in attrs:
            out["form"].add(f)
    if row["modig"]:
        out["form"].add("FORM_MODIG")
    if any(o[0] == "S" for o in ops) and row["map"] == 0 and row["opcode"] in (0x8c, 0x8e):
        out["form"].add("FORM_SREG")
    if any(o[0] == "C" for o in ops):
        out["form"].add("FORM_CREG")
    if any(o[0] == "D" for o in ops):
        out["form"].add("FORM_DREG")
    if vex and not any(o[0] in "HB" for o in ops):
        out["form"].add("FORM_NO_VVVV")
    if vec and not vex:
        out["form"].add("FORM_SSE")
    if any(o[1:] == "x" or o[1:] in ("h", "f", "e") for o in ops if o[0] in "VWUHM"):
        out["form"].add("FORM_VL")
    out["bits"] = " | ".join(sorted(bits)) or "0"
    out["form"] = " | ".join(sorted(out["form"])) or "0"
    return out


FEATURES = [
    (r"sha(1|256)", "SHA"), (r"v?gf2p8", "GFNI"), (r"(extr|insert)q$", "SSE4A"),
    (r"movnts[sd]$", "SSE4A"), (r"movbe", "MOVBE"), (r"ad[co]x$", "ADX"), (r"rdrand", "RDRAND"),
    (r"rdseed", "RDSEED"), (r"vf(n?m(add|sub))", "FMA"), (r"vcvt(ph2ps|ps2ph)", "F16C"),
    (r"(andn|bls|bextr)", "BMI1"), (r"(bzhi|pext|pdep|mulx|shlx|sarx|shrx|rorx)$", "BMI2"),
    (r"(tzcnt|lzcnt)$", "BMI1")]


def feature(name, vex):
    """What the host must have; x86-64-v2 is taken for granted."""
    if re.match(r"v?aes", name):
        return "AES"
    if re.match(r"v?pclmul", name):
        return "PCLMUL"
    for pattern, f in FEATURES:
        if re.match(pattern, name):
            return f
    return "AVX2" if vex else "NONE"


def main(src, dst):
    tables = {}
    for line in open(src):
        line = line.split("#")[0].rstrip()
        if not line:
            continue
        for one in expand(line):
            row = parse(one)
            if row["legacy"]:
                tables.setdefault((0, row["map"], row["opcode"]), []).append((row, False))
            if row["vex"]:
                tables.setdefault((1, row["map"], row["opcode"]), []).append((row, True))
    lines, index = [], {}
    for key in sorted(tables):
        index[key] = (len(lines), len(tables[key]))
        for row, vex in tables[key]:
            o = finish(row, vex)
            name = row["name"]
            if vex and name[0] != "v" and row["legacy"]:
                name = "v" + name
            g = o["gpr"]
            lines.append(
                "    {{%s, 0x%02x, %d, %d, %d, %d, 0x%x, 0x%x, 0x%x, %s, 0x%x, 0x%x, FEATURE_%s, \"%s\"},\n"
                "     %d, %d, 0x%02x, 0x%x, %d, %d, %s, %d, %d, %d, %s, %s, %s}," %
                (o["cls"], o["mem"], g["reg"], g["rm"], g["vvvv"], g["opc"], o["fr"], o["fw"], o["fu"],
                 o["bits"], o["rr"], o["rw"], feature(name, vex), name, key[0], key[1], key[2], row["pp"], row["w"],
                 row["l"], {"any": "MOD_ANY", "MEM": "MOD_MEM", "REG": "MOD_REG"}[row["mod"]],
                 row["reg"], row["rm"], row["mode"], o["imm"], o["imm2"], o["form"]))
    with open(dst, "w") as f:
        f.write("/* Made by gen-opcodes.py from opcodes.txt. */\n")
        f.write("static const struct row rows[] = {\n" + "\n".join(lines) + "\n};\n\n")
        f.write("static const struct {\n    uint16_t first;\n    uint8_t n;\n} row_index[2][4][256] = {\n")
        for key, (first, n) in sorted(index.items()):
            f.write("    [%d][%d][0x%02x] = {%d, %d},\n" % (*key, first, n))
        f.write("};\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
