# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
"""
python3 work.py NAME ROUNDS: pieces of work as programs have it, and mostly allocating. Each looks at its results
and ends with status 1 when they are wrong.
"""

import json
import pickle
import random
import re
import sys

RANDOM = random.Random(42)
WORDS = ["".join(RANDOM.choices("abcdefghijklmnopqrstuvwxyz", k=RANDOM.randint(2, 14))) for _ in range(5000)]


def records(n):
    return [
        {
            "id": i,
            "name": RANDOM.choice(WORDS) + " " + RANDOM.choice(WORDS),
            "tags": RANDOM.sample(WORDS, RANDOM.randint(0, 8)),
            "score": RANDOM.random() * 1000,
            "nested": {"on": i % 2 == 0, "text": " ".join(RANDOM.choices(WORDS, k=RANDOM.randint(1, 30)))},
        }
        for i in range(n)
    ]


def json_work(rounds):
    data = records(4000)
    for _ in range(rounds):
        text = json.dumps(data, indent=1)
        assert json.loads(text) == data


def regex(rounds):
    text = " ".join(f"{w}={i} <{w}@{w[::-1]}.org>;" for i, w in enumerate(WORDS * 4))
    pair = re.compile(r"(?P<key>[a-z]+)=(?P<value>\d+)")
    mail = re.compile(r"<([a-z.]+)@([a-z]+)\.(org|net)>")
    for _ in range(rounds):
        assert sum(int(m["value"]) for m in pair.finditer(text)) == sum(range(20000))
        assert len(mail.findall(text)) == 20000
        assert mail.sub(r"\2 at \1", text).count(" at ") == 20000
        assert len(re.split(r"[;=\s]+", text)) == 60001


class Vector:
    __slots__ = ("x", "y", "z")

    def __init__(self, x, y, z):
        self.x, self.y, self.z = x, y, z

    def __add__(self, o):
        return Vector(self.x + o.x, self.y + o.y, self.z + o.z)

    def __sub__(self, o):
        return Vector(self.x - o.x, self.y - o.y, self.z - o.z)

    def __mul__(self, by):
        return Vector(self.x * by, self.y * by, self.z * by)

    def square(self):
        return self.x * self.x + self.y * self.y + self.z * self.z


class Body:
    def __init__(self, mass):
        self.mass = mass
        self.at = Vector(*(RANDOM.uniform(-10, 10) for _ in range(3)))
        self.speed = Vector(*(RANDOM.uniform(-1, 1) for _ in range(3)))


def nbody(rounds):
    """Every vector is an object."""
    bodies = [Body(RANDOM.uniform(0.1, 1)) for _ in range(12)]

    def momentum():
        return sum((b.speed * b.mass for b in bodies), Vector(0, 0, 0))

    before = momentum()
    for _ in range(rounds):
        for i, a in enumerate(bodies):
            for b in bodies[:i]:
                d = a.at - b.at
                pull = d * (0.001 / (d.square() + 0.1) ** 1.5)
                a.speed -= pull * b.mass
                b.speed += pull * a.mass
        for b in bodies:
            b.at += b.speed * 0.001
    assert (momentum() - before).square() < 1e-12


def churn(rounds):
    """Dicts, lists, sets and tuples that come and go, over a population that stays."""
    live = {}
    added = 0
    for i in range(rounds):
        key = RANDOM.randrange(60000)
        old = live.pop(key, None)
        if old:
            added -= old["n"]
        n = RANDOM.randrange(1, 24)
        live[key] = {"n": n, "list": [(i, j) for j in range(n)], "set": {i + j for j in range(n)}, "key": str(key)}
        added += n
    assert added == sum(len(v["list"]) for v in live.values())


def strings(rounds):
    for i in range(rounds):
        lines = []
        for j, w in enumerate(WORDS):
            lines.append(f"{i}:{j}:{w.upper()},{w * (j % 9)}")
        text = "\n".join(lines)
        back = [line.split(",")[0].partition(":")[2] for line in text.splitlines()]
        assert back[-1] == f"{len(WORDS) - 1}:{WORDS[-1].upper()}"
        grown = ""
        for line in lines[:600]:
            grown += line
            copy = grown[-3000:].replace("0", "zero").encode().decode()
        assert copy
        assert len(set(back)) == len(WORDS)


def pickling(rounds):
    data = [(r["id"], r, Body(r["score"]), frozenset(r["tags"]), r["name"].encode()) for r in records(3000)]
    for _ in range(rounds):
        for protocol in 2, 5:
            back = pickle.loads(pickle.dumps(data, protocol))
            assert len(back) == len(data) and all(a[1] == b[1] and a[3:] == b[3:] for a, b in zip(back, data))


WORK = {"json": json_work, "regex": regex, "nbody": nbody, "churn": churn, "strings": strings, "pickle": pickling}

WORK[sys.argv[1]](int(sys.argv[2]))
