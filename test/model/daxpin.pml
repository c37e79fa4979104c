/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * A model of the protocol of a leased file, for spin. test/model/run checks it.
 *
 * PROCESSES
 *   process 0       the holder: a thread that accesses, and the loop thread
 *   process 1..     members: the same, with the holder's description
 *   intruders       processes that open the file by its name: readers, writers
 *                   (open for writing, truncate), opens with O_NONBLOCK, and
 *                   turners (readers that are lent the file, then write)
 *   the kernel      one lease, /proc/locks, one signal, one inotify queue
 *
 * WHERE IT IS IN THE CODE (src/daxpin)
 *   PENDING .. RELEASED   daxpin_state_t in daxpin.h; the control page
 *                         (os/control.h) has `state`
 *   slot, begin, end      access.h, os/control.c
 *   holder: wait          os/loop.c: signal and poll
 *   filling               description.c: the thread that opened the file fills
 *                         it under the lease, in PENDING
 *   beat                  a time in the control page, while the lease is whole
 *   holder: decide        file/holder.c gathers facts, file/decide.c decides.
 *                         The labels below are its actions: TRY, LEND_READER,
 *                         AWAIT_LATE, REVOKE.
 *   k_*                   the kernel, as os/lease.c uses it: F_GETLEASE,
 *                         F_SETLEASE, F_UNLCK, /proc/locks
 *   revoke                file/revoke.c: the sequence that ends a lease
 *   watch                 the holder's inotify descriptor, which members have
 *                         too; `judging` is a word of the control page
 *   synchronise           what a thread does after its accesses, before it
 *                         reports them as done
 *   serve                 file/share.c: socket, SCM_RIGHTS, BREAK, ACK, EXPOSE
 *   member                file/join.c: how a process joins; file/member.c,
 *                         file/revoke.c: what follows a BREAK or a hang-up
 *   fault in thread       file/fault.c
 *
 * PROPERTIES (the numbers are used below)
 *   1  Nothing reaches the file's blocks between the F_UNLCK of a revoke (or
 *      of PENDING) and the next lease.                            [assert]
 *   2  An intruder that waits goes on in the end.           [ltl breaks_end]
 *   3  The holder handles every break, whenever it comes.   [ltl breaks_end]
 *   4  A reader or an open with O_NONBLOCK never causes a revoke or a failed
 *      operation [assert], and the lease comes back.       [ltl held_again]
 *      Without a watch a reader does cause a revoke (NO_WATCH).
 *   5  If an operation is reported as done, its data is in the file. [assert]
 *   6  If the holder dies, members are revoked. [ltl orphans_end] If any
 *      process dies, in a slot or not, breaks still end.    [ltl breaks_end]
 *   7  A process that joins sees HELD or an error. [ltl joins_end, end states]
 *   8  The state becomes HELD only if no outsider has changed the content since
 *      it was HELD, be it by calls or through a mapping.            [assert]
 *   9  When a synchronisation succeeds, no call of an outsider that has returned
 *      had changed the content when the synchronisation looked. Stores through
 *      an outsider's mapping show only when it closes the file.     [assert]
 *  10  A process that opens the file never finds it filled in part, unless the
 *      holder has died.                                           [assert]
 *
 * WHAT IS NOT MODELLED
 *   - The lease expires only with EXPIRE, else the lease-break-time is 0. So
 *     property 2 does not depend on it. In the code, the sum of all time limits
 *     must be less than the lease-break-time. If a lease expires all the same,
 *     an access is known to be good only when it has been synchronised (9).
 *   - The hand-over (file/handover.c), which handover.pml has: DIES_HOLDER and
 *     CLOSE are the cases in which no member takes the place of the holder.
 *   - The hold (vmsplice), the guard, pins, and DAXPIN_ON_BREAK_HOLD with the
 *     actions DELAY, LEND_WRITER, WAIVE, HOLD_AGAIN, UNGUARD. DELAY only adds
 *     time. Callbacks are a step before REVOKED that does not block.
 *   - A file that shrinks in PENDING and grows again: only its size is checked
 *     then. There is no access in PENDING, and late members close what they
 *     have opened for writing, so the events of that time are dropped.
 *   - An inotify queue that overflows: that is an event.
 *   - The intruder's call changes the content before it queues the event. A
 *     store that faults between the two is a failed operation by itself.
 *
 * CONFIGURATIONS (-D)
 *   MEMBERS=n          0, 1, 2
 *   READERS, WRITERS, NONBLOCKS, TURNERS = n
 *   NO_WATCH           the holder has no inotify instance
 *   ONE_LOOK           a synchronisation reads `judging` after its poll only
 *   KILL               a waiting intruder may be killed
 *   DIES_HOLDER, DIES_MEMBER   the process may die at any step (DIES_MEMBER:
 *                      process 1)
 *   JOIN               members first have a description of their own; the file
 *                      starts PENDING
 *   NEVER_JOINS        process 1 opens the file like a late member, but never
 *                      joins
 *   PATIENT            the time limit of PENDING does not expire
 *   RELEASE, CLOSE     the holder's user may release the lease, or close
 *   SLOW               every time limit may expire at any time. A process that
 *                      others no longer wait for is `excused`. Property 5 still
 *                      holds for it: the data was put into the file, under
 *                      lease or not, and there is no crash. Implies CPU_COPY.
 *   STOP               the same, but only for process 1, which may be stopped
 *                      (SIGSTOP) for good. It shows that there are time limits.
 *                      STOP needs spin without partial order reduction, so
 *                      there is SLOW too.
 *   EXPIRE             the holder may be stopped, and then a break may expire;
 *                      the time limits of others expire while it is stopped.
 *                      Implies CPU_COPY, needs NOREDUCE as STOP does.
 *   CPU_COPY           replacing the mapping stops a copy, as it does for loads
 *                      and stores. Without it a copy under way (by the kernel
 *                      or a device) reaches the pages it began with, so the
 *                      drain alone must protect them.
 *   ATTACHED           members are attached from the start (fewer states)
 *   NO_THREAD_0, _2    no accesses in that process (fewer states)
 *   BUG_*              a seeded bug that spin must find
 */

#ifndef MEMBERS
#define MEMBERS 1
#endif
#ifndef READERS
#define READERS 0
#endif
#ifndef WRITERS
#define WRITERS 0
#endif
#ifndef NONBLOCKS
#define NONBLOCKS 0
#endif
#ifndef TURNERS
#define TURNERS 0
#endif
#if defined(SLOW) || defined(STOP) || defined(EXPIRE)
#define CPU_COPY
#endif

#define PROCESSES (MEMBERS + 1)
#define HOLDER    0

/* In these configurations a revoke is a bug, and a failed operation (4). */
#if (WRITERS + TURNERS == 0) && !defined(NO_WATCH) && !defined(JOIN) && !defined(DIES_HOLDER) && \
    !defined(CLOSE)
#define NO_FAILURE true
#define NO_REVOKE  true
#elif (WRITERS + TURNERS == 0) && (MEMBERS == 1) && defined(PATIENT) && \
      !defined(DIES_HOLDER) && !defined(NEVER_JOINS)
#define NO_FAILURE false
#define NO_REVOKE  true
#else
#define NO_FAILURE false
#define NO_REVOKE  false
#endif

mtype:state  = { PENDING, HELD, LENT, BREAKING, REVOKED, RELEASED };
mtype:lease  = { NONE, GRANTED, TO_READ, TO_UNLCK };
mtype:map    = { NOTHING, THE_FILE, ANONYMOUS };
mtype:slot   = { FREE, BUFFERED, BUSY };
mtype:answer = { SILENCE, WELCOME, REFUSED };
mtype:intruder_kind = { READER, WRITER, NONBLOCK, TURNER };


/* ------------------------------------------------------------- shared state */

/* The control page: the holder writes it, all processes see it at once. */
mtype:state state;
bool        beat_valid; /* the holder's last beat is young. A beat carries the
                         * time of before the look that saw the lease whole. */
bool        judging; /* the holder has read events, the state is not yet set */

/* Of each process. */
bool         alive[PROCESSES];
mtype:map    map[PROCESSES];     /* what its mapping of the file shows */
mtype:slot   slot[PROCESSES];    /* of its thread that accesses */
bool         usable[PROCESSES];  /* attached, has seen HELD: may access */
bool         orphan[PROCESSES];  /* has seen the holder die: is REVOKED */
bool         seceded[PROCESSES]; /* could not synchronise: is REVOKED */
bool         joining[PROCESSES]; /* on the way from connect() to HELD */

/* The holder's socket, with one connection for each member. The connections
 * hang up when !alive[HOLDER]. */
bool          hello[PROCESSES];
mtype:answer  answered[PROCESSES];
bool          brk[PROCESSES];    /* BREAK message, holder to member */
bool          ack[PROCESSES];    /* the answer to it */

/* flock() on the control page's file. The holder sends every member another
 * description of it, with LOCK_SH. After the holder's death each member asks
 * for LOCK_EX, and gets it when all others have asked too, or have died. */
bool          locked[PROCESSES];

bool          expose[PROCESSES]; /* EXPOSE message, joined member to holder */
bool          exposed;           /* holder: a member may access, so a late
                                  * writer is an intruder */
#if MEMBERS == 0
#define EXPOSE_SENT false
#elif MEMBERS == 1
#define EXPOSE_SENT (expose[1])
#else
#define EXPOSE_SENT (expose[1] || expose[2])
#endif

/* The state as a process sees it: an orphaned member replaces the page, and so
 * does one that has seceded. */
#define VIEW(p)    ((orphan[p] || seceded[p]) -> REVOKED : state)
#define MAY(s)     ((s) == HELD || (s) == LENT || (s) == RELEASED)

/* Variables for the properties, not in the code */
bool forbidden;                  /* 1: from F_UNLCK to the next lease */
bool excused[PROCESSES];         /* was not waited for any longer */
bool is_stopped[PROCESSES];
bool wrote;                      /* 8, 9: an outsider's call has changed the
                                  * content while accesses were allowed */
bool stored;                     /* 8: the same, through a mapping */

#if defined(STOP) || defined(EXPIRE)
#define UNLESS_STOPPED(p) provided (!is_stopped[p])
#else
#define UNLESS_STOPPED(p)
#endif

/* Time limits for a process, and for a slot */
#if defined(SLOW)
#define GIVEN_UP(p)            alive[p]
#elif defined(STOP)
#define GIVEN_UP(p)            (alive[p] && is_stopped[p])
#else
#define GIVEN_UP(p)            false
#endif
#if defined(SLOW) || defined(STOP)
#define BOUND_EXPIRES          true
#elif defined(EXPIRE)
#define BOUND_EXPIRES          is_stopped[HOLDER]
#else
#define BOUND_EXPIRES          false
#endif


/* --------------------------------------------------------------- the kernel */

mtype:lease lease;
bool        setsig;              /* F_SETSIG and owner; F_UNLCK resets both */
bool        sig;                 /* one pending signal, a hint */
byte        openers;             /* have the file open, or try to open it */
byte        waits_reader;        /* /proc/locks: waiters of each kind */
byte        waits_writer;
byte        waits_late;          /* a writer that may be a late member */
bool        own[PROCESSES];      /* has a description of its own open */
bool        waits_own[PROCESSES];
bool        ref[PROCESSES];      /* has the leased description */
bool        shrunk;              /* the file is shorter than it was */
bool        changed;             /* has been filled in part */

bool         fresh;              /* the time that the next beat carries */
bool         event;              /* inotify: the queue is not empty */

#ifdef NO_WATCH
#define WATCHED false
#else
#define WATCHED true
#endif

/* An outsider's call has changed the content. */
inline k_modify()
{
    d_step {
        event = WATCHED;
        wrote = wrote || state == HELD || state == LENT
    }
}

#define K_BREAKING (lease == TO_READ || lease == TO_UNLCK)
#define K_WAITS    (waits_reader + waits_writer + waits_late)

/* An intruder opens a leased file: only the first one causes a signal. */
inline k_break(target)
{
    if
    :: lease == GRANTED ->
        assert(setsig); /* SIGIO would kill the holder */
        sig   = true;
        lease = target
    :: lease == TO_READ && target == TO_UNLCK ->
        lease = TO_UNLCK
    :: else
    fi
}

/* F_SETSIG, F_SETOWN_EX, F_SETLEASE in that order. While others have the file
 * open, or try to open it, F_SETLEASE fails. Here it blocks, because the caller
 * tries again. */
inline k_setlease()
{
    atomic {
        openers == 0 ->
        lease     = GRANTED;
        forbidden = false;
#ifndef BUG_SETSIG_LATE
        setsig    = true
    }
#else
    }
    setsig = true
#endif
}

inline k_unlck()
{
    d_step {
        lease  = NONE;
        setsig = false
    }
}

/* F_UNLCK of a revoke: no access may reach the file from now on (1). */
#define REACHES(p) (alive[p] && map[p] == THE_FILE && !excused[p])

inline k_unlck_for_good()
{
    d_step {
        lease     = NONE;
        setsig    = false;
        forbidden = true;
        assert(!REACHES(0));
#if MEMBERS > 0
        assert(!REACHES(1));
#endif
#if MEMBERS > 1
        assert(!REACHES(2))
#endif
    }
}

/* The lease exists as long as a process has the description. */
#if MEMBERS == 0
#define NO_REFS (!ref[0])
#elif MEMBERS == 1
#define NO_REFS (!ref[0] && !ref[1])
#else
#define NO_REFS (!ref[0] && !ref[1] && !ref[2])
#endif

inline k_exit(p)
{
    d_step {
        alive[p]  = false;
        slot[p]   = FREE;
        joining[p] = false;
        ref[p]    = false;
        locked[p] = false;
        hello[p]  = false;
        map[p]    = NOTHING;
        if
        :: waits_own[p] -> waits_late--; waits_own[p] = false
        :: else
        fi;
        if
        :: own[p] -> openers--; own[p] = false
        :: else
        fi;
        if
        :: NO_REFS -> lease = NONE
        :: else
        fi
    }
}


/* ----------------------------------------------------- an access (access.h) */

#ifdef BUG_FAULT_FORGOTTEN
#define NO_FAULT(landed) true
#else
#define NO_FAULT(landed) (landed)
#endif

/*
 * Prove that what the thread has accessed until now is in the file that nobody
 * else has changed. The holder sets `judging` before it takes events out of the
 * queue, and clears it after the state that follows from them. So a queue that
 * looks empty, with `judging` clear afterwards, means that the state tells.
 */
inline synchronise(p)
{
    do
#ifdef EXPIRE
    :: VIEW(p) == HELD ->
        if
        :: atomic { beat_valid -> clean = !wrote }
        :: atomic { !beat_valid && lease == GRANTED -> clean = !wrote }
        :: atomic {
            !beat_valid && lease != GRANTED ->
            (VIEW(p) != HELD || beat_valid || lease == GRANTED || BOUND_EXPIRES)
        }
            goto again
        fi;
        /* LENT would not have led back to HELD with a change. */
        if
        :: atomic { VIEW(p) == HELD -> seen = HELD }
            break
        :: VIEW(p) != HELD
        fi;
again:  skip
#define UNPROVED(s) ((s) == HELD)
#else
#define UNPROVED(s) false
#endif
    :: atomic {
        VIEW(p) != LENT && !UNPROVED(VIEW(p)) ->
        seen  = VIEW(p);
        clean = !wrote
    };  break
#if !defined(ONE_LOOK) && !defined(BUG_NO_JUDGING)
    :: VIEW(p) == LENT && !judging ->
#else
    :: VIEW(p) == LENT ->
#endif
        if
        :: atomic { !event -> clean = !wrote }
#ifndef BUG_NO_JUDGING
            if
            :: !judging ->
                seen = VIEW(p);
#ifndef BUG_POLL_THEN_HELD
                /* HELD: the queue may have been read after an expiry. */
                if
                :: !UNPROVED(seen) -> goto looked
                :: else
                fi
#else
                goto looked
#endif
            :: judging  -> skip
            fi
#else
            seen = VIEW(p);
            goto looked
#endif
        :: event -> (!event || VIEW(p) != LENT || BOUND_EXPIRES)
        fi
    :: BOUND_EXPIRES && p != HOLDER -> seceded[p] = true; seen = REVOKED;
        break
    od;
looked:
    atomic {
        if
        :: seen == HELD || seen == LENT ->
            assert(landed || excused[p]); /* 5: done */
            assert(clean || excused[p])   /* 9 */
        :: else ->
            assert(!NO_FAILURE) /* 4: reported as failed */
        fi;
        landed = false;
        clean  = false
    }
}

/*
 * Mark the slot, check the state, copy, check again, clear the slot. The mark
 * is a plain store. It stays in the store buffer (BUFFERED: the loop reads the
 * slot as free) until a membarrier() makes it visible.
 */
proctype thread(byte p) UNLESS_STOPPED(p)
{
    mtype:state seen;
    bool        reaches; /* the copy is into the file */
    bool        landed;  /* all of it is in the file */
    bool        clean;   /* nobody had changed the file at the last look */
    bool        lent;    /* a synchronisation must follow */

end_idle: {
        usable[p];
        expose[p] = true; /* does not wait for an answer */
        do
        ::
#ifdef BUG_NO_CHECK
            seen    = VIEW(p);
            slot[p] = BUFFERED;
#else
            slot[p] = BUFFERED;
            seen    = VIEW(p);
#endif
            if
            :: MAY(seen) ->
                /* Copy: look up the pages first, then store to them. */
                reaches = (map[p] == THE_FILE);
                atomic {
#ifdef CPU_COPY
                    reaches = (map[p] == THE_FILE);
#endif
                    assert(!reaches || !forbidden || excused[p]); /* 1 */
                    landed  = reaches && !shrunk; /* shrunk: a fault, then
                                                     anonymous memory */
                    reaches = false
                }
                /* Check again, and after a release the size too. */
                atomic {
                    seen = VIEW(p);
                    if
                    :: excused[p] && !landed ->
                        skip
                        /* The operation has failed in every state, because
                         * of a fault, or because it missed the file */
#ifdef EXPIRE
                    :: seen == HELD && landed -> lent = true
                    :: seen == HELD && !landed && !excused[p] -> skip
#else
                    :: seen == HELD && !(excused[p] && !landed) ->
                        assert(landed && (!shrunk || excused[p])) /* 5: done */
#endif
                    :: seen == RELEASED && !shrunk &&
                       !(excused[p] && !landed) ->
                        assert(landed) /* 5: done */
                    :: seen == LENT && NO_FAULT(landed) &&
                       !(excused[p] && !landed) ->
                        lent = true
                    :: else ->
                        assert(!NO_FAILURE) /* 4: reported as failed */
                    fi;
                    landed = landed && lent
                }
            :: else ->
                assert(!NO_FAILURE) /* 4 */
            fi;
            atomic {
                slot[p] = FREE
            }
            if
            :: lent ->
                lent = false;
                synchronise(p)
            :: else
            fi;
            atomic {
                if
                :: seen == BREAKING || seen == REVOKED -> break
                :: else -> seen = 0
                fi
            }
        od
    } unless {
        !alive[p]
    }
}

/* Make the marks in the store buffers of a process visible. A thread that marks
 * its slot later sees the new state. */
inline membarrier(p)
{
#ifndef BUG_NO_MEMBARRIER
    d_step {
        if
        :: slot[p] == BUFFERED -> slot[p] = BUSY
        :: else
        fi
    }
#else
    skip
#endif
}

/* The same for all processes of the node: what the holder does. */
inline membarrier_all()
{
    membarrier(HOLDER);
#if MEMBERS > 0
    membarrier(1);
#endif
#if MEMBERS > 1
    membarrier(2)
#endif
}

/* Wait until no slot of this process is in use, or until the time limit
 * expires. In that case replacing the mapping must suffice. */
inline drain(p)
{
    if
    :: slot[p] != BUSY
    :: slot[p] == BUSY && BOUND_EXPIRES
    fi
}


/* ------------------------------------------------- the holder's loop thread */

/* Answer a process that has sent HELLO: send it the description and the control
 * page, or refuse. A member gets BREAK from now on, and the holder waits for
 * its ACK. */
inline serve_one(p)
{
    hello[p] = false;
    if
    :: state == PENDING || state == HELD || state == LENT ->
        ref[p]      = true;
#ifndef BUG_LOCK_LATE
        locked[p]   = true;
#endif
        answered[p] = WELCOME;
#ifndef JOIN
        exposed     = true
#endif
    :: else ->
        answered[p] = REFUSED
    fi
}

#if MEMBERS == 0
#define HELLO_SENT      false
#elif MEMBERS == 1
#define HELLO_SENT      (hello[1])
#else
#define HELLO_SENT      (hello[1] || hello[2])
#endif

inline serve()
{
#if MEMBERS > 0
    if
    :: hello[1] -> serve_one(1)
#if MEMBERS > 1
    :: hello[2] -> serve_one(2)
#endif
    fi
#else
    skip
#endif
}

inline send_break(p)
{
    d_step {
        if
        :: answered[p] == WELCOME && alive[p] -> brk[p] = true
        :: else
        fi
    }
}

/* Wait for ACK, for death (the socket hangs up), or for the time limit. */
inline wait_ack(p)
{
    atomic {
        if
        :: answered[p] != WELCOME || ack[p]
#ifndef BUG_NO_DEATH_BOUND
        :: !alive[p]
#endif
#ifndef BUG_NO_BOUND
        :: GIVEN_UP(p) && answered[p] == WELCOME && !ack[p] ->
            excused[p] = true
#endif
        fi
    }
}

proctype holder() UNLESS_STOPPED(HOLDER)
{
    bool filled; /* by the thread that opened the file */
    {
#ifdef JOIN
        goto await_late;
#else
        goto wait;
#endif
wait:
end_wait:
        if
        :: atomic { sig -> sig = false }
        :: atomic { HELLO_SENT -> serve() }
        :: atomic { EXPOSE_SENT && !exposed -> exposed = true }
#ifdef RELEASE
        :: state == HELD ->
            state = RELEASED;
            k_unlck()
#endif
#ifdef CLOSE
        :: state == HELD -> goto revoke
#endif
        fi;

decide: /* The signal is only a hint. Check the lease. */
#ifdef EXPIRE
        fresh = true;
#endif
        if
#ifdef EXPIRE
        :: state == HELD && lease == NONE -> /* it has expired */
#ifdef NO_WATCH
            goto revoke
#elif defined(BUG_EXPIRED_IS_POKE)
            k_setlease();
            atomic {
                state = HELD;
                assert(!wrote && !stored)
            }
            goto done
#else
            state = LENT; /* the watch tells whether to revoke */
            goto try
#endif
        :: lease == GRANTED ->
#ifdef BUG_STAMP_LATE
            fresh = true;
#endif
            d_step { beat_valid = fresh; fresh = false }
            goto wait
#endif
        :: K_BREAKING -> skip
        :: else       -> goto wait
        fi;

#ifdef NO_WATCH
        goto revoke; /* to lend without a watch is to lend blindly */
#endif
        /* Which waiters are there? Read /proc/locks once. */
        if
#ifdef BUG_READER_AS_WRITER
        :: K_WAITS > 0 -> goto revoke
#else
        :: waits_writer > 0 -> goto revoke
        :: waits_writer == 0 && waits_late > 0 && exposed -> goto revoke
        :: waits_writer == 0 && waits_late > 0 && !exposed -> goto await_late
#endif
        :: else -> goto lend_reader /* readers, or no waiter is left */
        fi;

lend_reader: /* LEND_READER. Accesses go on, the watch tells of writers. */
#ifdef BUG_LENT_LATE
        k_unlck();
        state = LENT;
#elif defined(BUG_REARM_WITHOUT_UNLCK)
        state = LENT; /* F_SETLEASE of a broken lease has no effect */
        state = HELD;
        goto done;
#else
        state = LENT;
        k_unlck();
#endif
        goto try;

await_late: /* AWAIT_LATE: let a late member in, which will give up its own
          * description. There is no access until the lease is back. So drain
          * the holder; members have not accessed yet. The mapping stays, so
          * if the time limit expires, a revoke must follow. */
        state = PENDING;
#ifndef BUG_PENDING_UNDRAINED
        membarrier(HOLDER);
        if
        :: slot[HOLDER] != BUSY
#ifndef BUG_PENDING_BOUND
        :: slot[HOLDER] == BUSY && BOUND_EXPIRES -> goto revoke
#else
        :: slot[HOLDER] == BUSY && BOUND_EXPIRES
#endif
        fi;
#endif
#ifndef BUG_EXPOSE_OVERLOOKED
        /* An EXPOSE may wait in the socket. A member that sends it later sees
         * PENDING before its first access. */
        if
        :: EXPOSE_SENT || exposed -> goto revoke
        :: else
        fi;
#endif
        d_step {
            k_unlck();
            forbidden = true
        }

try: /* TRY until the lease is back. Processes may join meanwhile. */
        do
#ifdef BUG_PENDING_NOT_SERVING
        :: atomic { state == LENT && HELLO_SENT -> serve() }
#else
        :: atomic { HELLO_SENT -> serve() }
#endif
        :: state == PENDING && shrunk -> goto revoke
#ifndef BUG_WATCH_UNREAD
        :: state == LENT && event -> /* read in each turn */
#ifndef BUG_NO_JUDGING
            judging = true;
#endif
            event = false;
            goto revoke
#endif
#ifdef CLOSE
        :: true -> goto revoke
#endif
#ifndef PATIENT
        :: state == PENDING -> goto revoke /* the time limit */
#endif
        :: k_setlease() ->
#ifdef JOIN
            /* Phase FILLING, once: if a process breaks the lease, undo, give
             * the lease back and try again. */
            if
            :: !filled ->
                changed = true;
                do
                :: atomic { HELLO_SENT -> serve() }
                :: K_BREAKING ->
#ifdef BUG_UNDO_LATE
                    k_unlck();
                    changed = false;
#else
                    changed = false;
                    k_unlck();
#endif
                    goto try
#ifndef PATIENT
                :: changed = false; goto revoke /* no space */
#endif
                :: atomic { filled = true; changed = false; break }
                od
            :: else
            fi;
#endif
            if
            :: state == PENDING && shrunk -> goto revoke
            :: state == PENDING && !shrunk ->
                event = false /* of late members, which had no access */
            :: state == LENT ->
#if !defined(BUG_READ_BEFORE_SETLEASE) && !defined(BUG_WATCH_UNREAD)
                judging = true;
                if
                :: event -> event = false; goto revoke
                :: else
                fi
#endif
            fi;
            atomic {
                state = HELD;
                assert(!wrote && !stored) /* 8 */
            }
            judging = false;
            goto done
        od;

revoke: /* REVOKE */
        assert(!NO_REVOKE); /* 4 */
        state   = BREAKING;
        judging = false; /* after the state */
#ifdef BUG_UNLCK_EARLY
        k_unlck_for_good();
#endif
#ifndef BUG_BREAK_EARLY
        membarrier_all();
#endif
#if MEMBERS > 0
        send_break(1);
#endif
#if MEMBERS > 1
        send_break(2);
#endif
#ifdef BUG_BREAK_EARLY
        membarrier_all();
#endif
        drain(HOLDER);
        map[HOLDER] = ANONYMOUS;
#if MEMBERS > 0
        wait_ack(1);
#endif
#if MEMBERS > 1
        wait_ack(2);
#endif
        state = REVOKED;
        k_unlck_for_good();

done: /* Drop the signals that came meanwhile, and decide again. */
        sig = false;
#ifdef BUG_NO_RECHECK
        goto wait;
#endif
        goto decide
    } unless {
        !alive[HOLDER]
    }
}


/* --------------------------------------------------- a member's loop thread */

/* LOCK_EX on the control page's file: wait until the other's LOCK_SH is gone,
 * or until the time limit expires. */
#define OTHER(p) (3 - p)

inline last_one(p)
{
#if MEMBERS > 1
    atomic {
        if
        :: !locked[OTHER(p)]
        :: locked[OTHER(p)] && GIVEN_UP(OTHER(p)) -> excused[OTHER(p)] = true
        fi
    }
#else
    skip
#endif
}

proctype member(byte p) UNLESS_STOPPED(p)
{
    {
#ifdef ATTACHED
        goto end_attached;
#endif
#ifdef JOIN
        /* The process opens and maps the file itself: open(2) ... */
        atomic {
            openers++;
            own[p] = true;
            if
            :: lease != NONE ->
                k_break(TO_UNLCK);
                waits_late++;
                waits_own[p] = true
            :: else
            fi
        }
        atomic {
            lease == NONE ->
            assert(!changed || !alive[HOLDER]); /* 10 */
            if
            :: waits_own[p] -> waits_late--; waits_own[p] = false
            :: else
            fi
        }
#ifdef NEVER_JOINS
        if
        :: p == 1 -> goto end_open
        :: else
        fi;
#endif
#endif
        /* ... and then connects to the holder. */
        atomic {
            joining[p] = true;
            hello[p]   = true
        }
        if
        :: answered[p] == WELCOME
        :: atomic { answered[p] == REFUSED -> goto error }
        :: atomic { !alive[HOLDER] && answered[p] == SILENCE -> goto error }
        fi;

        map[p] = THE_FILE;
#ifdef BUG_LOCK_LATE
        locked[p] = true;
#endif
#ifdef JOIN
#ifndef BUG_KEEPS_OWN
        /* Replace its own mappings and descriptors by the holder's. */
        atomic {
            own[p] = false;
            openers--
        }
#endif
#endif
        /* A member must see HELD before it accesses. */
        if
        :: atomic {
            VIEW(p) == HELD || VIEW(p) == RELEASED ->
            usable[p]  = true;
            joining[p] = false
        }
        :: brk[p]
        :: !alive[HOLDER] -> goto hangup
        fi;

end_attached:
        if
        :: brk[p]
        :: !alive[HOLDER] -> goto hangup
        fi;

        /* BREAK. The state is BREAKING for all processes already, and the
         * holder has made all marks visible. */
#ifdef BUG_ACK_EARLY
        ack[p] = true;
#endif
        drain(p);
        map[p] = ANONYMOUS;
        atomic {
            ack[p]     = true;
            joining[p] = false
        }

end_acked:
        !alive[HOLDER];

hangup: /* The holder is dead, but the lease exists while a member has the
         * description. Others may still copy: the last member unlocks. */
        orphan[p] = true;
        membarrier(p);
        drain(p);
        map[p] = ANONYMOUS;
        atomic {
            locked[p]  = false;
            joining[p] = false
        }
#ifndef BUG_FIRST_ONE_UNLOCKS
        last_one(p);
#endif
        k_unlck_for_good();
        goto out;

error:  joining[p] = false; /* keeps its own description, no access */
#ifdef JOIN
        goto end_open;
end_open:
        false;
#endif
out:    skip
    } unless {
        !alive[p]
    }
}


/* ---------------------------------------------------------------- intruders */

proctype intruder(byte kind)
{
    bool waits;

    atomic {
        openers++;
        if
        :: lease != NONE && kind == NONBLOCK ->
            k_break(TO_UNLCK);
            goto leave /* EAGAIN */
        :: lease != NONE && (kind == READER || kind == TURNER) ->
            k_break(TO_READ);
            waits = true;
            waits_reader++
        :: lease != NONE && kind == WRITER ->
            k_break(TO_UNLCK);
            waits = true;
            waits_writer++
        :: else
        fi
    }

    if
    :: !waits
    :: atomic {
        waits && lease == NONE ->
        if
        :: kind == READER || kind == TURNER -> waits_reader--
        :: else           -> waits_writer--
        fi
    }
#ifdef KILL
    :: atomic {
        waits ->
        if
        :: kind == READER || kind == TURNER -> waits_reader--
        :: else           -> waits_writer--
        fi;
        goto leave
    }
#endif
    fi;

    assert(!changed || !alive[HOLDER]); /* 10 */
    if
    :: kind == WRITER -> /* truncates */
        shrunk = true;
        k_modify()
    :: kind == TURNER -> /* opens for writing: it is in. The size is the same
                          * in the end. */
        shrunk = true;
        k_modify();
        shrunk = false;
        k_modify()
    :: kind == WRITER || kind == TURNER -> /* stores to a mapping */
        stored = stored || state == HELD || state == LENT
    :: true /* reads, or has opened for writing for nothing */
    fi;
    if
    :: kind == WRITER || kind == TURNER -> event = WATCHED /* CLOSE_WRITE */
    :: else
    fi;

leave:
    openers--
}

proctype death(byte p)
{
    if
    :: atomic { alive[p] -> k_exit(p) }
    :: true
    fi
}

/* The kernel takes the lease from a stopped holder. A beat that was young when
 * the break came is not young any more. */
proctype expiry()
{
    if
    :: d_step {
        is_stopped[HOLDER] && K_BREAKING ->
        lease  = NONE;
        setsig = false;
        fresh  = false;
#ifndef BUG_BEAT_BLIND
        beat_valid = false
#endif
    }
    :: beat_valid = false
    :: true
    fi
}

proctype stopper(byte p)
{
    is_stopped[p] = true;
    if
    :: is_stopped[p] = false
#ifdef STOP
    :: true
#endif
    fi
}


init {
    atomic {
        byte i;

        for (i : 0 .. PROCESSES - 1) {
            alive[i]    = true;
            map[i]      = NOTHING;
            slot[i]     = FREE;
            answered[i] = SILENCE;
        }
        map[HOLDER]    = THE_FILE;
        ref[HOLDER]    = true;
        usable[HOLDER] = true;
#ifdef JOIN
        state  = PENDING;
        lease  = NONE;
#else
        state  = HELD;
        lease  = GRANTED;
        setsig = true;
#endif
        run holder();
#ifndef NO_THREAD_0
        run thread(HOLDER);
#endif
#if MEMBERS > 0
        for (i : 1 .. MEMBERS) {
#ifdef ATTACHED
            map[i]      = THE_FILE;
            ref[i]      = true;
            locked[i]   = true;
            usable[i]   = true;
            answered[i] = WELCOME;
            exposed     = true;
#endif
            run member(i);
#ifdef NO_THREAD_2
            if
            :: i != 2 -> run thread(i)
            :: else
            fi
#else
            run thread(i)
#endif
        }
#endif
#if READERS > 0
        for (i : 1 .. READERS) {
            run intruder(READER);
        }
#endif
#if WRITERS > 0
        for (i : 1 .. WRITERS) {
            run intruder(WRITER);
        }
#endif
#if NONBLOCKS > 0
        for (i : 1 .. NONBLOCKS) {
            run intruder(NONBLOCK);
        }
#endif
#if TURNERS > 0
        for (i : 1 .. TURNERS) {
            run intruder(TURNER);
        }
#endif
#ifdef DIES_HOLDER
        run death(HOLDER);
#endif
#ifdef DIES_MEMBER
        run death(1);
#endif
#ifdef STOP
        run stopper(1);
#endif
#ifdef EXPIRE
        run stopper(HOLDER);
        run expiry();
#endif
        i = 0;
    }
}


/* ----------------------------------------------------------------- liveness */
/* With weak fairness: a process that can always go on goes on. The number of
 * intruders is finite, so "again and again no process waits" means "all have
 * gone on". */

/* 2, 3, 6 */
#ifdef STOP /* a stopped late member cannot go on, even if it may */
#define WAITS_ON (waits_reader + waits_writer)
#else
#define WAITS_ON K_WAITS
#endif
ltl breaks_end { []<> (WAITS_ON == 0 && !K_BREAKING) }

/* 4: for configurations without writers */
ltl held_again { <>[] (state == HELD) }

/* 6 */
#if MEMBERS == 0
#define ORPHANED(p) true
#else
#define ORPHANED(p) (!alive[p] || answered[p] != WELCOME || orphan[p])
#endif
#if MEMBERS < 2
#define ALL_ORPHANED ORPHANED(1)
#define NONE_JOINS (!joining[MEMBERS])
#else
#define ALL_ORPHANED (ORPHANED(1) && ORPHANED(2))
#define NONE_JOINS (!joining[1] && !joining[2])
#endif
ltl orphans_end { [] (!alive[HOLDER] -> <> ALL_ORPHANED) }

/* 7 */
ltl joins_end { []<> NONE_JOINS }
