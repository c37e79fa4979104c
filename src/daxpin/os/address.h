/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_ADDRESS_H_
#define DAXPIN_ADDRESS_H_

/*
 * The address of a file: where its holder listens, and the election of it.
 *
 * An address is two names in the directory of rundir.h, made of device and
 * inode: a socket, and a lock file beside it. The process that has the lock
 * (flock) is the holder, and replaces a socket that a killed holder left
 * behind. Nothing waits for the lock. The lock file has the pid of the holder,
 * for messages. A holder that is killed leaves both names behind; the next new
 * process that listens removes them, unless the lock file is the roster of
 * members that are left (roster.h). Only one of those becomes the holder then.
 * Network namespaces do not matter, because the socket has a name in a file
 * system.
 *
 * An address begins with a socket of its own. All addresses of a process can
 * share one socket, its door, so that files cost no sockets: the name of the
 * socket of each file is then a hard link to that of the door. The door is an
 * address as well, of a number that no file has.
 *
 * No lock of the library is needed, but only one thread at a time uses an
 * address or its door.
 */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

/* When the names in a directory may have changed, as its time shows */
typedef struct daxpin_address_watch {
    uint64_t        looked;  /* ns, of the last look */
    uint64_t        number;  /* of looks that may have met a change */
    struct timespec changed; /* time of the directory at the last look */
    int             settled; /* that was long ago: a change has another time */
} daxpin_address_watch_t;

typedef struct daxpin_address {
    uint64_t dev;       /* of the file that is to be leased */
    uint64_t ino;
    int      lock_fd;   /* -1: this process does not listen */
    int      dir_fd;    /* -1: there is a door, which has these two */
    int      listen_fd;
    struct daxpin_address *door; /* NULL: a socket of its own */
    daxpin_address_watch_t watch; /* of dir_fd */
    uint64_t               seen;  /* the number of the door's watch, or its own,
                                     when the names were there */
} daxpin_address_t;

/* Initialize an address at which no process listens. */
void daxpin_address_init(daxpin_address_t *address);

/* Take the address of a file and listen there: become the holder. roster_fd: of
 * a member whose holder has ended; -1: of a newcomer. Return 0; -EADDRINUSE if
 * another process has the address, or a newcomer has to leave it to the members
 * of a holder that has ended; -ESTALE if the member's address was given up; or
 * another -errno with a message. */
int daxpin_address_listen(uint64_t dev, uint64_t ino, int roster_fd,
                          daxpin_address_t *address);

/* Listen at a door. Return 0, or -errno with a message. */
int daxpin_address_open_door(daxpin_address_t *door);

/* Have an address use a door that is not lost, and stays open as long as the
 * address. Return the socket that the address has had, for the caller to accept
 * those that wait there and to close, or -1; *error_p is 0. Or set it to -errno,
 * without a message: then the address stays as it is. */
int daxpin_address_share(daxpin_address_t *address,
                         daxpin_address_t *door, int *error_p);

/* Return whether something has removed the names of an address at which this
 * process listens, so that no process finds it any more. What cannot be looked
 * at is not lost. As long as the directory does not change, all addresses with a
 * door together take one look at it in a tenth of a second. */
int daxpin_address_is_lost(daxpin_address_t *address);

/* Make the names of a lost address again: of its door, if that is not lost, or
 * of a socket of its own. Return 0; -EADDRINUSE if another process has the
 * address by now; or another -errno with a message. Unless 0, the address stays
 * as it is. */
int daxpin_address_restore(daxpin_address_t *address);

/* Return whether a file has members, with a holder or without. */
int daxpin_address_has_members(uint64_t dev, uint64_t ino);

/* Stop to listen. Leave the lock file if others are on the roster. */
void daxpin_address_leave(daxpin_address_t *address);

/* Stop to listen, and remove the names. */
void daxpin_address_close(daxpin_address_t *address);

/* Close the descriptors only, because the parent of this process listens. */
void daxpin_address_forget(daxpin_address_t *address);

/* Connect a socket, which does not block, to the address of a file. Try again
 * until the deadline (ns) if the queue of the holder is full. Return 0;
 * -ECONNREFUSED if no process listens, and -ETIMEDOUT, both without a message;
 * or another -errno with a message. */
int daxpin_address_connect(uint64_t dev, uint64_t ino, int fd,
                           uint64_t deadline);

/* Return the process that has the address of a file; 0: one of another pid
 * namespace, or it cannot be read. It may have ended. */
pid_t daxpin_address_owner(uint64_t dev, uint64_t ino);

/* Write the process that has the address of a file, for a message. */
void daxpin_address_describe(uint64_t dev, uint64_t ino, char *buffer,
                             size_t size);

#endif
