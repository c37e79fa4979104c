/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_SHARE_H_
#define DAXPIN_SHARE_H_

#include "file.h"

#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

/* A member of the file at the other end of a socket */
struct daxpin_conn {
    LIST_ENTRY(daxpin_conn) link;
    daxpin_file_t *file;
    int           fd;
    uint64_t      id;       /* of the monitor */
    pid_t         pid;
    int           member;   /* HELLO was accepted */
    int           acked;    /* has answered BREAK */
    int           guard;    /* daxpin_guard_status_t of his pins */
    uint64_t      deadline; /* ns, for HELLO */
};

/* With daxpin_mutex held: */
int  daxpin_share_serve(daxpin_file_t *file, int listen_fd);
/* Member: sock leads to the holder, which is process pid. */
int  daxpin_share_follow(daxpin_file_t *file, int sock, pid_t pid);
void daxpin_share_send_break(daxpin_file_t *file);
/* Holder: the hold is waived, or to be placed again, see control->waived */
void daxpin_share_send_hold(daxpin_file_t *file);
void daxpin_share_send_ack(daxpin_file_t *file);
void daxpin_share_send_fault(daxpin_file_t *file);
void daxpin_share_expose(daxpin_file_t *file);
/* Is somebody accessing it, or has he said so and it was not read yet? */
int  daxpin_share_is_exposed(daxpin_file_t *file);
int  daxpin_share_has_members(const daxpin_file_t *file);
/* No members, not counting those who have closed just now */
int  daxpin_share_is_alone(daxpin_file_t *file);
int  daxpin_share_is_member(const daxpin_file_t *file, pid_t pid);
/* Tell the holder of file->guard.status */
void daxpin_share_send_guard(daxpin_file_t *file);
/* Holder: all pins of members are guarded, his own too, and there are some */
int  daxpin_share_is_guarded(const daxpin_file_t *file);
/* How many have not answered BREAK; their pids for a message */
unsigned daxpin_share_unacked(daxpin_file_t *file, char *pids, size_t size);
uint64_t daxpin_share_tick(daxpin_file_t *file, uint64_t now);
void     daxpin_share_stop_listening(daxpin_file_t *file);
void     daxpin_share_close(daxpin_file_t *file);

#endif
