#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright the daxpin authors. See LICENSE.

"""
A window that lives in files, in Python: as allocate.c, by mpi4py. Every rank
puts a number at its neighbour, makes it durable by the flush, gets it back, and
goes on with the next one, for some seconds. Started again, it goes on where it
was.

usage: allocate.py FILE [SECONDS [KEY VALUE]...]

FILE, KEY and VALUE: see daxpin-window(7).
Exit status 0: this rank lived to the end, with or without errors from MPI.
"""

import array
import sys

from mpi4py import MPI

SEGMENT_BYTES = 4096
WORD_BYTES = 8

comm = MPI.COMM_WORLD
rank = comm.Get_rank()
neighbour = (rank + 1) % comm.Get_size()


def say(text):
    # One write a line, so that lines of different ranks do not mix
    sys.stdout.write(f"rank {rank}: {text}\n")
    sys.stdout.flush()


def make_window(path, keys):
    info = MPI.Info.Create()
    info.Set("daxpin_path", path)
    info.Set("daxpin_persist", "flush")
    for key, value in zip(keys[::2], keys[1::2]):
        info.Set(key, value)
    win = MPI.Win.Allocate(SEGMENT_BYTES, WORD_BYTES, info, comm)
    info.Free()
    # Errors are exceptions then
    win.Set_errhandler(MPI.ERRORS_RETURN)
    return win


def get_file(win):
    """Return what daxpin reports on the file of this rank, or None: there is no
    daxpin, MPI ignores the keys, and the window is in no file"""
    info = win.Get_info()
    system = info.Get("daxpin_file_system")
    path = info.Get("daxpin_path")
    info.Free()
    return system and f"{path}, on {system}"


def get_number(win):
    number = array.array("q", [0])
    win.Get(number, neighbour)
    win.Flush(neighbour)
    return number[0]


def count_there(win, seconds):
    end = MPI.Wtime() + seconds
    # MPI reads it until the flush: it has to stay that long
    number = array.array("q", [get_number(win)])
    while True:
        number[0] += 1
        win.Put(number, neighbour)
        win.Flush(neighbour)
        back = get_number(win)
        if back != number[0]:
            say(f"put {number[0]} and got {back}")
            comm.Abort(1)
        if MPI.Wtime() >= end:
            break
    say(f"counted to {number[0]} at rank {neighbour}")


def main(arguments):
    if not arguments:
        print(__doc__.strip(), file=sys.stderr)
        comm.Abort(2)
    seconds = float(arguments[1]) if len(arguments) > 1 else 5
    win = make_window(arguments[0], arguments[2:])
    file = get_file(win)
    if file is None:
        say("the window is in no file; daxpin doctor says why")
        comm.Abort(1)
    say(f"the window is in {file}")
    mine = memoryview(win.tomemory()).cast("q")
    say(f"the count here is {mine[0]}")
    comm.Barrier()

    win.Lock_all()
    try:
        count_there(win, seconds)
    except MPI.Exception as error:
        say(f"counting at rank {neighbour} ends: {error.Get_error_string()}")
    status = 0
    try:
        win.Unlock_all()
    except MPI.Exception:
        pass # the same once more

    # This rank's memory is still memory after a truncate
    mine[1] = rank
    mine.release()
    try:
        win.Free()
    except MPI.Exception:
        status = 1
    say("still alive")
    return status


sys.exit(main(sys.argv[1:]))
