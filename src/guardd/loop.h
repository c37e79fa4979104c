/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* The loop: which descriptors the daemon waits for */

#ifndef GUARD_LOOP_H_
#define GUARD_LOOP_H_

#include <signal.h>
#include <stdint.h>

/* Called when there is something to read. Must not free a guard_event_t of
 * another one: it may be due in the same round. */
typedef void (*guard_event_cb_t)(void *arg);

typedef struct guard_event {
    guard_event_cb_t ready;
    void             *arg;
} guard_event_t;

/* Return 0 or -errno. */
int guard_loop_init(void);

/* Watch a descriptor; return 0 or -errno. A copy of it in a child process keeps
 * the watch alive, so it has to be removed before the descriptor is closed. */
int  guard_loop_add(int fd, guard_event_t *event);
void guard_loop_remove(int fd);

/* Wait for at most timeout_ms, with these signals let in, and call what is
 * due. */
void guard_loop_wait(int timeout_ms, const sigset_t *mask);

/* Return the number of this round. */
uint64_t guard_loop_round(void);

/* Return the time (ms). */
long guard_now_ms(void);

#endif
