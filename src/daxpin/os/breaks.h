/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_BREAKS_H_
#define DAXPIN_BREAKS_H_

/*
 * The signal by which the kernel announces that a lease breaks.
 *
 * The kernel sends the signal to the loop thread alone, which has it blocked.
 * But a signalfd also reads what was sent to the process. So the signal is a
 * real-time signal that the program does not use, chosen when the loop starts.
 * What the loop reads and what no lease of daxpin has sent goes back to the
 * process, and the loop moves to another signal first, because else it would
 * read the same again.
 *
 * A signal has the descriptor of its lease, so that a break costs a look at one
 * file, however many there are.
 *
 * The kernel keeps the number of a process's signals within
 * RLIMIT_SIGPENDING. Beyond the limit it sends SIGIO to the thread instead,
 * which stays pending there and is never read, because SIGIO is the program's.
 * So every second all leases are checked.
 *
 * All of this is for the loop. Caller holds daxpin_mutex.
 */

#include <stdint.h>
#include <sys/types.h>

/* Choose a signal. Return a signalfd, or -errno without a message. */
int daxpin_breaks_open(void);

/* Close the signalfd, and forget all leases. */
void daxpin_breaks_close(void);

/* Return the signal. No lock is needed. */
int daxpin_breaks_signal(void);

/* Take the lease as daxpin_lease_take() does, for the loop thread @a tid. */
int daxpin_breaks_take_lease(int fd, pid_t tid);

/* Read all signals, and give back what is the program's. Return whether any
 * lease may have been broken; of those whose signal was read,
 * daxpin_breaks_take_hint() knows. In the loop thread. */
int daxpin_breaks_read(void);

/* Do what is due. Return whether any lease may have been broken. In the loop
 * thread. */
int daxpin_breaks_tick(uint64_t now);

/* Return whether a signal said that a lease breaks; that the one on a descriptor
 * does. */
int daxpin_breaks_has_hints(void);
int daxpin_breaks_has_hint(int fd);

/* The latter, once for the signals before. */
int daxpin_breaks_take_hint(int fd);

/* Forget the signals of leases that no file has taken. Return whether there
 * were any. */
int daxpin_breaks_drop_hints(void);

/* Return when to call daxpin_breaks_tick() again (ns). */
uint64_t daxpin_breaks_next(void);

#endif
