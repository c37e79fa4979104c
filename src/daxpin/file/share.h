/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_SHARE_H_
#define DAXPIN_SHARE_H_

/*
 * The connections of a file, between the holder and its members.
 *
 * A process listens at one socket for all files that it holds, its door; see
 * os/address.h. Where the file system of the names allows no hard links, and
 * where there is no descriptor for the door, a file has a socket of its own. A
 * newcomer names the file in its first message.
 *
 * Caller of every function holds daxpin_mutex. Sending never fails, and never
 * waits: a lost process is noticed when its connection ends, and a message for
 * which the socket has no room, because the process at the other end is stopped,
 * is sent when there is room. Of several of one type, that is the last one:
 * each stands for those before it. So nothing has to be allocated.
 */

#include "file.h"

#include <stdint.h>
#include <sys/types.h>

/* Initialize the socket of a file, before anything else. */
void daxpin_share_init(daxpin_file_t *file);

/* Accept members at an address, which the file takes if this succeeds. Also for
 * a member that becomes the holder. Return 0, or -errno with a message. */
int daxpin_share_serve(daxpin_file_t *file, const daxpin_address_t *address);

/* Prepare to join the holder of a file, process pid, before HELLO: what comes by
 * a channel is noted from now on. Return NULL if there is no memory. Member
 * only. */
daxpin_conn_t *daxpin_share_prepare(const daxpin_key_t *key, pid_t pid);

/* Give up what was prepared, after the socket of the HELLO is closed. Member
 * only. */
void daxpin_share_forgo(daxpin_conn_t *conn);

/* Follow the holder, process pid, that was joined: by way of sock, or of the
 * channel that was prepared (-1). Takes conn and sock unless it fails. Return 0,
 * or -errno with a message. Member only. */
int daxpin_share_follow(daxpin_file_t *file, daxpin_conn_t *conn, int sock,
                        pid_t pid);

/* Return whether another file waits for an answer of the process that is in
 * file->share.ask, which may bring a connection for this one too. Member only. */
int daxpin_share_expects(const daxpin_file_t *file);

/* Wait for the answer of a new holder, which was asked by file->share.ask.fd.
 * Takes conn unless it fails. Return 0 or -errno. Member only. */
int daxpin_share_ask(daxpin_file_t *file, daxpin_conn_t *conn);

/* End that wait; conn and the socket are the caller's. Member only. */
void daxpin_share_end_ask(daxpin_file_t *file);

/* Leave the holder, or the one that was asked. Member only. */
void daxpin_share_leave(daxpin_file_t *file);

/* Send BREAK to all members. Holder only. */
void daxpin_share_send_break(daxpin_file_t *file);

/* Have all members drop their holds or place them, according to
 * control->waived. Holder only. */
void daxpin_share_send_hold(daxpin_file_t *file);

/* Send the answer to BREAK. Does nothing without a connection to the holder. */
void daxpin_share_send_ack(daxpin_file_t *file);

/* Report to the holder that an access of this member has failed. */
void daxpin_share_send_fault(daxpin_file_t *file);

/* Report file->guard.status to the holder. Does nothing at the holder. */
void daxpin_share_send_guard(daxpin_file_t *file);

/* Report to the holder that this member accesses the file. */
void daxpin_share_send_expose(daxpin_file_t *file);

/* Wait until all messages to the holder have left this process: they wait for room
 * while the holder does not read. Return 0, or -EAGAIN after 2 s. Not for the loop,
 * which sends them; the caller does not hold daxpin_mutex. */
int daxpin_share_await_sent(const daxpin_file_t *file);

/* Note that this process is about to access the file; a member reports it. */
void daxpin_share_expose(daxpin_file_t *file);

/* Return whether a process accesses the file. Reads what members have sent.
 * Holder only. */
int daxpin_share_is_exposed(daxpin_file_t *file);

/* Report to the holder that this member begins or ends to make the file longer.
 * Does nothing at the holder. */
void daxpin_share_send_grow(daxpin_file_t *file, int grows);

/* Return whether a process of daxpin makes the file longer, or has done so since
 * the last call. Reads what members have sent. Holder only. */
int daxpin_share_take_grew(daxpin_file_t *file);

/* Return whether the file has members. Holder only. */
int daxpin_share_has_members(const daxpin_file_t *file);

/* Return whether a member of the holder before this one has not followed it yet:
 * it will, or it ends its accesses by itself. Holder only. */
int daxpin_share_has_lost_members(const daxpin_file_t *file);

/* Return whether the file has no members. Reads what members have sent, so that
 * those that have just closed the file do not count. Holder only. */
int daxpin_share_is_alone(daxpin_file_t *file);

/* Return whether a process is a member. Those of other pid namespaces, which
 * have pid 0 here, are not found. Holder only. */
int daxpin_share_is_member(const daxpin_file_t *file, pid_t pid);

/* Return whether there are pins, of the holder or of members, and all of them
 * are guarded. Holder only. */
int daxpin_share_is_guarded(const daxpin_file_t *file);

/* Return how many members have not answered BREAK. Holder only. */
unsigned daxpin_share_unacked(const daxpin_file_t *file);

/* Write the pids and names of those for a message. Reads /proc. Holder only. */
void daxpin_share_list_unacked(daxpin_file_t *file, char *pids, size_t size);

/* Look for the address of a file now and then, and listen again if there was no
 * room. Return when to call again (ns). Loop thread only. */
uint64_t daxpin_share_tick(daxpin_file_t *file, uint64_t now);

/* Drop newcomers that are silent for too long, and listen again at the door if
 * there was no room. Return when to call again (ns). Loop thread only. */
uint64_t daxpin_share_tick_door(uint64_t now);

/* Accept no more members, and give up the address. */
void daxpin_share_stop_listening(daxpin_file_t *file);

/* Close all connections in the child of a fork; the parent still listens. Before
 * the files do so. */
void daxpin_share_fork_all(void);

/* The same for one file. */
void daxpin_share_fork(daxpin_file_t *file);

/* Close all connections. */
void daxpin_share_close(daxpin_file_t *file);

#endif
