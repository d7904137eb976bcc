# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
"""Runs one row once, in a thread of its own: its output, its time limit, its memory over time."""

import os
import re
import select
import signal
import subprocess
import tempfile
import threading
import time

import machine

SERIES_MS = 20  # between two looks at the memory, at first
SERIES_POINTS = 400  # then every second one is dropped, and half as many are taken
REST = b"\nfreed_rss "  # what a workload prints before it only waits
GRACE = 5  # seconds from the request to end to the kill


class Execution(threading.Thread):
    """`resting` is set as soon as nothing more than waiting happens, or it is over. Fills the run."""

    def __init__(self, run, row, path, prefix, launcher, limit, watched):
        super().__init__(daemon=True)
        self.run_record, self.row, self.watched = run, row, watched
        self.path, self.prefix, self.launcher, self.limit = path, prefix, launcher, limit
        self.resting = threading.Event()
        self.process = self.child = None
        self.ended = False
        self.series = []
        self.began = time.monotonic()

    def environment(self):
        env = {k: v for k, v in os.environ.items() if k not in ("LD_PRELOAD", "NEAR_PRELOAD")}
        env["LC_ALL"] = "C"
        if self.row.script:
            env["NEAR_PRELOAD"] = self.path
        return env

    def run(self):
        load = machine.load()
        try:
            self.failed = self.attempt()
        except OSError as error:
            self.failed = str(error)
        run = self.run_record
        if self.failed:
            run.figures = {m: v for m, v in run.figures.items() if m.startswith("run_")}
            if "run_wall_s" not in run.figures:  # the launcher was killed too
                run.add("run_wall_s", time.monotonic() - self.began, "lower")
            run.failed = self.failed
        elif self.series:
            run.series = self.series
        run.add("load", load, "none")
        self.resting.set()

    def attempt(self):
        """Returns what was wrong, or None."""
        told_in, told_out = os.pipe()
        with tempfile.TemporaryFile() as errors, os.fdopen(told_in, "rb") as told:
            preload = "" if self.row.script else self.path
            self.process = subprocess.Popen(
                self.prefix + [self.launcher, str(told_out), preload] + self.row.command,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors,
                env=self.environment(), pass_fds=(told_out,), start_new_session=True,
            )
            os.close(told_out)
            self.began = time.monotonic()
            if self.watched:
                threading.Thread(target=self.watch, args=(told.readline(),), daemon=True).start()
            output, late = self.collect()
            self.process.wait()
            self.ended = True
            errors.seek(0)
            complaint = errors.read().decode(errors="replace").strip()
            verdict = self.judge(told.read().decode(errors="replace"), late, complaint)
        return verdict or self.take(output)

    # ---- output -------------------------------------------------------------------------------------

    def collect(self):
        """(output, whether the time was up). What still holds the pipe when the program has ended is not waited for."""
        pipe, output, late = self.process.stdout, b"\n", False
        while True:
            ready = select.select([pipe], [], [], 0.1)[0]
            if ready:
                piece = os.read(pipe.fileno(), 65536)
                output += piece
                if REST in output:
                    self.resting.set()
                if not piece:
                    break
            elif self.process.poll() is not None:
                break
            if time.monotonic() - self.began > self.limit:
                late = True
                self.kill()
                break
        pipe.close()
        return output.decode(errors="replace"), late

    def kill(self):
        """Scripts end what they started when they are asked to."""
        if self.process is None:
            return
        for number, patience in ((signal.SIGTERM, GRACE), (signal.SIGKILL, None)):
            try:
                os.killpg(self.process.pid, number)
                self.process.wait(patience)
            except ProcessLookupError:
                pass
            except subprocess.TimeoutExpired:
                continue

    def judge(self, told, late, complaint):
        """Keeps the launcher's figures; returns what was wrong."""
        ending = None
        for line in told.splitlines():
            words = line.split()
            if words[0].startswith("run_"):
                self.run_record.add(*words)
            elif words[0] in ("exit", "signal"):
                ending = line
        last = " | ".join(complaint.splitlines()[-3:])[:300]
        if late:
            return f"timed out after {self.limit} s"
        if ending != "exit 0":
            return f"{ending or 'not started'}: {last}"
        if complaint and (not self.row.script or "cannot be preloaded" in complaint):
            return f"complained: {last}"
        return None

    def take(self, output):
        run, costs = self.run_record, self.run_record.figures
        run.figures = {}
        for line in output.strip().splitlines():
            words = line.split()
            if len(words) != 3 or words[2] not in ("lower", "higher", "none") or not re.match(r"[-+\d.e]+$", words[1]):
                run.figures = costs
                return f"not understood: {line[:100]}"
            run.add(*words)
        if not run.figures:
            run.figures = costs
            return "no figures"
        run.figures.update(costs)
        return None

    # ---- memory over time ---------------------------------------------------------------------------

    def watch(self, told):
        """statm is cheap; it may lag by some pages for each CPU."""
        words = told.split()
        if len(words) != 2 or words[0] != b"pid":
            return
        page_kib = os.sysconf("SC_PAGE_SIZE") // 1024
        every = SERIES_MS / 1000
        at, began = 0, time.monotonic()
        try:
            with open(f"/proc/{int(words[1])}/statm", encoding="ascii") as statm:
                while not self.ended:
                    statm.seek(0)
                    pages = int(statm.read().split()[1])
                    if not pages:
                        return
                    self.series.append((round((time.monotonic() - began) * 1000), pages * page_kib))
                    if len(self.series) == SERIES_POINTS:
                        self.series[:] = self.series[::2]
                        every *= 2
                    at += every
                    time.sleep(max(0, began + at - time.monotonic()))
        except (OSError, ValueError, IndexError):
            return
