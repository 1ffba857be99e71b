# SPDX-License-Identifier: GPL-2.0-or-later
"""A small all-round Python load: objects, dicts, strings, floats, sorting, exceptions."""
import hashlib, json, math


class Rec:
    __slots__ = ("a", "b", "c", "nxt")

    def __init__(self, a, b, c, nxt=None):
        self.a, self.b, self.c, self.nxt = a, b, c, nxt

    def step(self, n):
        self.a = (self.a * 31 + n) & 0xFFFFFFFF
        return self.b(self.a) if self.a & 1 else self.c


def objects(n):
    r = Rec(1, lambda x: x >> 3, 7)
    t = 0
    for i in range(n):
        t += r.step(i)
        if i % 100 == 0:
            r = Rec(r.a, r.b, r.c + 1)
    return t


def dicts(n):
    d = {}
    for i in range(n):
        k = "k%d" % (i * 7919 % 5003)
        d[k] = d.get(k, 0) + i
    return sum(sorted(d.values())[:100])


def strings(n):
    words = []
    for i in range(n):
        words.append("-".join(str(x) for x in range(i % 17)))
    s = "|".join(words)
    return len(s.replace("-", "--").split("|")) + s.count("1-2") + len(json.dumps(words))


def floats(n):
    x = 0.5
    t = 0.0
    for i in range(1, n):
        x = 3.7 * x * (1 - x)
        t += math.sin(x) + math.sqrt(i) / (1 + x)
    return round(t, 6)


def excs(n):
    c = 0
    for i in range(n):
        try:
            if i % 3 == 0:
                raise ValueError(i)
            [][i]
        except ValueError:
            c += 1
        except IndexError:
            c += 2
    return c


def sieve(n):
    f = bytearray([1]) * n
    for i in range(2, int(n ** 0.5) + 1):
        if f[i]:
            f[i * i::i] = bytes(len(range(i * i, n, i)))
    return sum(f)


out = [objects(60000), dicts(40000), strings(6000), floats(60000), excs(15000), sieve(300000)]
out.append(hashlib.sha256(repr(out).encode()).hexdigest()[:16])
print(out)
