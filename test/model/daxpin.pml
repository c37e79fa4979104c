/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * The protocol of a leased file, for spin. test/model/run checks it.
 *
 * WHO IS IN IT
 *   process 0       the holder: threads that access, and the monitor thread
 *   process 1..     peers: the same, with the holder's description
 *   intruders       readers, writers (open for writing, truncate), pokes
 *                   (O_NONBLOCK): strangers who open the file by its name
 *   the kernel      one lease, /proc/locks, one signal
 *
 * WHERE IT IS IN THE CODE (src/daxpin)
 *   PENDING .. RELEASED   daxpin_state_t in daxpin.h; the control page
 *                         (control.h) has `state`
 *   slot, begin, end      daxpin_access_begin(), _end() in control.h
 *   monitor               monitor.c: signal and sleep; lease.c: what follows
 *   k_*                   the kernel, as lease.c asks it: F_GETLEASE,
 *                         F_SETLEASE, F_UNLCK, /proc/locks
 *   LENT, PENDING         lease.c: let a reader in, let a joiner in
 *   revoke                revoke.c: the one sequence that ends a lease
 *   serve, peer, hang-up  share.c: socket, SCM_RIGHTS, BREAK, ACK, EXPOSE;
 *                         elect.c: who joins; revoke.c: what a hang-up means
 *   fault in thread       fault.c
 *
 * WHAT IS PROMISED (numbers are used below)
 *   1  nothing reaches the file's blocks between the F_UNLCK of a revoke (or
 *      of PENDING) and the next lease                             [assert]
 *   2  an intruder that waits, goes on                      [ltl breaks_end]
 *   3  a broken lease is looked after, whenever it breaks   [ltl breaks_end]
 *   4  readers, pokes: never a revoke, never a failed operation [assert],
 *      and the lease is back in the end                     [ltl held_again]
 *   5  an operation reported done is in the file                  [assert]
 *   6  the holder dies: peers are revoked  [ltl orphans_end]; any process
 *      dies, in the slot or not: breaks end                 [ltl breaks_end]
 *   7  who joins, sees HELD or an error      [ltl joins_end, end states]
 *
 * WHAT IS LEFT OUT
 *   - Expiry of the lease. Here it never expires, as with lease-break-time 0,
 *     so that 2 owes nothing to it. The bounds in the code must sum up to
 *     less than the lease-break-time; else 1 is lost to the kernel's clock.
 *   - The hold (vmsplice), pins, the HOLD policy: they delay, they do not
 *     change the order. Callbacks: a step before REVOKED that does not block.
 *   - A file that shrinks in LENT and grows again before anybody looks:
 *     `shrunk` sticks. The code can come near to that by looking at st_blocks
 *     as well as st_size (the file has no holes when it is opened).
 *
 * CONFIGURATIONS (-D)
 *   PEERS=n            0, 1, 2
 *   READERS, WRITERS, POKES = n
 *   KILL               a waiting intruder may be killed
 *   DIES_HOLDER, DIES_PEER     may die at any step (DIES_PEER: process 1)
 *   JOIN               peers come with a description of their own; the file
 *                      starts PENDING
 *   LIAR               process 1 looks like a joiner, but never joins
 *   PATIENT            the bound of PENDING does not expire
 *   RELEASE, CLOSE     the holder's user may let the lease go, may close
 *   SLOW               every bound may expire at any time. Promised to a
 *                      process that was given up so (`excused`): what it
 *                      reports done was put into the file, under lease or
 *                      not, and no crash. Implies CPU_COPY
 *   STOP               the same, but only for process 1, which may be stopped
 *                      (SIGSTOP) for good: that the bounds are there. (Needs
 *                      spin's partial order reduction off, hence SLOW.)
 *   CPU_COPY           a copy is stopped by replacing the mapping, as for
 *                      loads and stores; without it a copy under way reaches
 *                      the pages it began with (a copy made by the kernel, a
 *                      device): the drain alone must do
 *   ATTACHED           peers are attached from the start (fewer states)
 *   NO_THREAD_0, _2    no accesses in that process (fewer states)
 *   BUG_*              a seeded bug that must be found
 */

#ifndef PEERS
#define PEERS 1
#endif
#ifndef READERS
#define READERS 0
#endif
#ifndef WRITERS
#define WRITERS 0
#endif
#ifndef POKES
#define POKES 0
#endif
#if defined(SLOW) || defined(STOP)
#define CPU_COPY
#endif

#define PROCESSES (PEERS + 1)
#define HOLDER    0

/* In these configurations a revoke is a bug, and a failed operation (4). */
#if (WRITERS == 0) && !defined(JOIN) && !defined(DIES_HOLDER) && \
    !defined(CLOSE)
#define NO_FAILURE true
#define NO_REVOKE  true
#elif (WRITERS == 0) && (PEERS == 1) && defined(PATIENT) && \
      !defined(DIES_HOLDER) && !defined(LIAR)
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
mtype:visitor = { READER, WRITER, POKE };


/* ------------------------------------------------------------- shared state */

/* The control page: written by the holder, seen by all at once. */
mtype:state state;

/* Of each process. */
bool         alive[PROCESSES];
mtype:map    map[PROCESSES];     /* what its mapping of the file shows */
mtype:slot   slot[PROCESSES];    /* of its accessing thread */
bool         usable[PROCESSES];  /* attached and HELD was seen: may access */
bool         orphan[PROCESSES];  /* holder's death seen: own state REVOKED */
bool         joining[PROCESSES]; /* on the way from connect() to HELD */

/* Holder's socket, one connection a peer. Hang-up is !alive[HOLDER]. */
bool          asked[PROCESSES];
mtype:answer  answered[PROCESSES];
bool          brk[PROCESSES];    /* BREAK message, holder to peer */
bool          ack[PROCESSES];    /* its answer */

/* flock() on the control page's file. The holder sends every peer a
 * description of its own with LOCK_SH on it; who has to clean up after the
 * holder's death turns his into LOCK_EX, and gets it after all others did the
 * same, or died. */
bool          locked[PROCESSES];

bool          expose[PROCESSES]; /* EXPOSE message, joined peer to holder */
bool          exposed;           /* holder: a peer may access, that is a late
                                  * writer is not taken for a joiner */
#if PEERS == 0
#define EXPOSE_SENT false
#elif PEERS == 1
#define EXPOSE_SENT (expose[1])
#else
#define EXPOSE_SENT (expose[1] || expose[2])
#endif

/* The process's view of the state: a peer replaces the page when orphaned. */
#define VIEW(p)    (orphan[p] -> REVOKED : state)
#define MAY(s)     ((s) == HELD || (s) == LENT || (s) == RELEASED)

/* What the properties speak of; not in the code. */
bool forbidden;                  /* 1: from F_UNLCK to the next lease */
bool excused[PROCESSES];         /* stopped for longer than the bound */
bool frozen[PROCESSES];

#ifdef STOP
#define UNLESS_FROZEN(p) provided (!frozen[p])
#else
#define UNLESS_FROZEN(p)
#endif

/* Bounds of the waits for a process, and for a slot. */
#if defined(SLOW)
#define GIVEN_UP(p)            alive[p]
#elif defined(STOP)
#define GIVEN_UP(p)            (alive[p] && frozen[p])
#else
#define GIVEN_UP(p)            false
#endif
#if defined(SLOW) || defined(STOP)
#define BOUND_EXPIRES          true
#else
#define BOUND_EXPIRES          false
#endif


/* --------------------------------------------------------------- the kernel */

mtype:lease lease;
bool        setsig;              /* F_SETSIG and owner; F_UNLCK resets both */
bool        sig;                 /* one pending signal, a hint */
byte        openers;             /* others with the file open, or in open(2) */
byte        waits_reader;        /* /proc/locks: who is blocked by the lease */
byte        waits_writer;
byte        waits_joiner;        /* a writer that is one of the same job */
bool        own[PROCESSES];      /* a joiner's own description is open */
bool        waits_own[PROCESSES];
bool        ref[PROCESSES];      /* has the leased description */
bool        shrunk;              /* the file is shorter than it was */

#define K_BREAKING (lease == TO_READ || lease == TO_UNLCK)
#define K_WAITS    (waits_reader + waits_writer + waits_joiner)

/* Somebody opens a leased file: only the first one causes a signal. */
inline k_break(target)
{
    if
    :: lease == GRANTED ->
        assert(setsig); /* or else the signal is SIGIO, which kills */
        sig   = true;
        lease = target
    :: lease == TO_READ && target == TO_UNLCK ->
        lease = TO_UNLCK
    :: else
    fi
}

/* F_SETSIG, F_SETOWN_EX, F_SETLEASE in that order. Fails (blocks, here: the
 * caller tries again) while others have the file open or are about to. */
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

/* F_UNLCK of a revoke: nothing may reach the file any more (1). */
#define REACHES(p) (alive[p] && map[p] == THE_FILE && !excused[p])

inline k_unlck_for_good()
{
    d_step {
        lease     = NONE;
        setsig    = false;
        forbidden = true;
        assert(!REACHES(0));
#if PEERS > 0
        assert(!REACHES(1));
#endif
#if PEERS > 1
        assert(!REACHES(2))
#endif
    }
}

/* The lease lives as long as somebody has the description. */
#if PEERS == 0
#define NO_REFS (!ref[0])
#elif PEERS == 1
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
        asked[p]  = false;
        map[p]    = NOTHING;
        if
        :: waits_own[p] -> waits_joiner--; waits_own[p] = false
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


/* ---------------------------------------------------- an access (control.h) */

#ifdef BUG_NO_SIZE_CHECK
#define SIZE_IS_FINE true
#else
#define SIZE_IS_FINE (!shrunk)
#endif

/*
 * Mark, look, copy, look, clear. The mark is a plain store: it stays in the
 * store buffer (BUFFERED: the monitor reads the slot as free) until a
 * membarrier() of the same process makes it seen.
 */
proctype thread(byte p) UNLESS_FROZEN(p)
{
    mtype:state seen;
    bool        reaches; /* the copy is into the file */
    bool        landed;  /* all of it is in the file */

end_idle: {
        usable[p];
        expose[p] = true; /* no answer is waited for */
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
                /* Copy: first pages are looked up, then bytes go there. */
                reaches = (map[p] == THE_FILE);
                atomic {
#ifdef CPU_COPY
                    reaches = (map[p] == THE_FILE);
#endif
                    assert(!reaches || !forbidden || excused[p]); /* 1 */
                    landed  = reaches && !shrunk; /* shrunk: a fault, made
                                                     good by anonymous memory */
                    reaches = false
                }
                /* Look again, at the size too where no lease protects. */
                atomic {
                    seen = VIEW(p);
                    if
                    :: excused[p] && !landed ->
                        skip
                        /* a fault, or not in the file: the operation has
                         * failed, whatever the state was */
                    :: seen == HELD && !(excused[p] && !landed) ->
                        assert(landed && (!shrunk || excused[p])) /* 5: done */
                    :: (seen == LENT || seen == RELEASED) && SIZE_IS_FINE &&
                       !(excused[p] && !landed) ->
                        assert(landed && !shrunk) /* 5: done */
                    :: else ->
                        assert(!NO_FAILURE) /* 4: reported as failed */
                    fi;
                    landed = false
                }
            :: else ->
                assert(!NO_FAILURE) /* 4 */
            fi;
            atomic {
                slot[p] = FREE;
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

/* The marks in store buffers are seen from now on, and who marks later sees
 * the new state. */
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

/* Wait until nobody of this process is in a slot; or until the bound expires,
 * then replacing the mapping must do. */
inline drain(p)
{
    membarrier(p);
    if
    :: slot[p] != BUSY
    :: slot[p] == BUSY && BOUND_EXPIRES
    fi
}


/* ----------------------------------------- the holder's monitor (lease.c &c) */

/* A client has connected: give it description and control page, or not. The
 * peer counts from now on: it gets BREAK, and its ack is waited for. */
inline serve_one(p)
{
    asked[p] = false;
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

#if PEERS == 0
#define ASKED      false
#elif PEERS == 1
#define ASKED      (asked[1])
#else
#define ASKED      (asked[1] || asked[2])
#endif

inline serve()
{
#if PEERS > 0
    if
    :: asked[1] -> serve_one(1)
#if PEERS > 1
    :: asked[2] -> serve_one(2)
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

/* Ack, or death (the socket hangs up), or the bound. */
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

proctype monitor()
{
    {
#ifdef JOIN
        goto pending;
#else
        goto sleep;
#endif
sleep:
end_sleep:
        if
        :: atomic { sig -> sig = false }
        :: atomic { ASKED -> serve() }
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

look:   /* The signal was a hint. What counts is the lease. */
        if
        :: K_BREAKING -> skip
        :: else       -> goto sleep
        fi;

        /* For whom? One reading of /proc/locks. */
        if
#ifdef BUG_READER_AS_WRITER
        :: K_WAITS > 0 -> goto revoke
#else
        :: waits_writer > 0 -> goto revoke
        :: waits_writer == 0 && waits_joiner > 0 && exposed -> goto revoke
        :: waits_writer == 0 && waits_joiner > 0 && !exposed -> goto pending
#endif
        :: else -> goto lent /* readers, or nobody any more */
        fi;

lent:   /* Let readers in. Accesses go on, and look at the size. */
#ifdef BUG_LENT_LATE
        k_unlck();
        state = LENT;
#elif defined(BUG_REARM_WITHOUT_UNLCK)
        state = LENT; /* F_SETLEASE on a broken lease: 0, and no effect */
        state = HELD;
        goto handled;
#else
        state = LENT;
        k_unlck();
#endif
        goto again;

pending: /* Let one of ours in, who will give his description up. No access
          * until the lease is back, so drain our own; no peer has any. The
          * mapping stays: if the bound expires, only a revoke is left. */
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
        /* An EXPOSE may wait in the socket. Whose is not there by now, sees
         * PENDING before his first access. */
        if
        :: EXPOSE_SENT || exposed -> goto revoke
        :: else
        fi;
#endif
        d_step {
            k_unlck();
            forbidden = true
        }

again:  /* Until the lease is back; the clients are served meanwhile. */
        do
#ifdef BUG_PENDING_DEAF
        :: atomic { state == LENT && ASKED -> serve() }
#else
        :: atomic { ASKED -> serve() }
#endif
        :: shrunk -> goto revoke
#ifdef CLOSE
        :: true -> goto revoke
#endif
#ifndef PATIENT
        :: state == PENDING -> goto revoke /* the bound */
#endif
        :: k_setlease() ->
#ifdef BUG_HELD_BEFORE_SIZE
            state = HELD;
#endif
            if
            :: shrunk -> goto revoke
            :: else   ->
                state = HELD;
                goto handled
            fi
        od;

revoke: assert(!NO_REVOKE); /* 4 */
        state = BREAKING;
#ifdef BUG_UNLCK_EARLY
        k_unlck_for_good();
#endif
#if PEERS > 0
        send_break(1);
#endif
#if PEERS > 1
        send_break(2);
#endif
        drain(HOLDER);
        map[HOLDER] = ANONYMOUS;
#if PEERS > 0
        wait_ack(1);
#endif
#if PEERS > 1
        wait_ack(2);
#endif
        state = REVOKED;
        k_unlck_for_good();

handled: /* What came meanwhile: forget the signals, and look once more. */
        sig = false;
#ifdef BUG_NO_RECHECK
        goto sleep;
#endif
        goto look
    } unless {
        !alive[HOLDER]
    }
}


/* -------------------------------------------- a peer and its monitor thread */

/* LOCK_EX on the control page's file: the other's LOCK_SH is gone, or the
 * bound expires. */
#define OTHER(p) (3 - p)

inline last_one(p)
{
#if PEERS > 1
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

proctype peer(byte p) UNLESS_FROZEN(p)
{
    {
#ifdef ATTACHED
        goto end_attached;
#endif
#ifdef JOIN
        /* It opened and mapped the file by itself: open(2) ... */
        atomic {
            openers++;
            own[p] = true;
            if
            :: lease != NONE ->
                k_break(TO_UNLCK);
                waits_joiner++;
                waits_own[p] = true
            :: else
            fi
        }
        atomic {
            lease == NONE ->
            if
            :: waits_own[p] -> waits_joiner--; waits_own[p] = false
            :: else
            fi
        }
#ifdef LIAR
        if
        :: p == 1 -> goto end_open
        :: else
        fi;
#endif
#endif
        /* ... and now connects to the holder. */
        atomic {
            joining[p] = true;
            asked[p]   = true
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
        /* Own mappings and descriptors became the holder's. */
        atomic {
            own[p] = false;
            openers--
        }
#endif
#endif
        /* HELD must be seen before use. */
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

        /* BREAK. State is BREAKING for everybody already. */
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

hangup: /* The holder is dead; the lease is not, while we have the description.
         * Others may still be copying: the last one out unlocks. */
        orphan[p] = true;
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

error:  joining[p] = false; /* it keeps its own description; no access */
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


/* ----------------------------------------------------------------- intruders */

proctype intruder(byte who)
{
    bool waits;

    atomic {
        openers++;
        if
        :: lease != NONE && who == POKE ->
            k_break(TO_UNLCK);
            goto leave /* EAGAIN */
        :: lease != NONE && who == READER ->
            k_break(TO_READ);
            waits = true;
            waits_reader++
        :: lease != NONE && who == WRITER ->
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
        :: who == READER -> waits_reader--
        :: else           -> waits_writer--
        fi
    }
#ifdef KILL
    :: atomic {
        waits ->
        if
        :: who == READER -> waits_reader--
        :: else           -> waits_writer--
        fi;
        goto leave
    }
#endif
    fi;

    if
    :: who == WRITER -> shrunk = true
    :: true /* looks, or writes within the file */
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

proctype freezer(byte p)
{
    frozen[p] = true;
    if
    :: frozen[p] = false
    :: true
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
        run monitor();
#ifndef NO_THREAD_0
        run thread(HOLDER);
#endif
#if PEERS > 0
        for (i : 1 .. PEERS) {
#ifdef ATTACHED
            map[i]      = THE_FILE;
            ref[i]      = true;
            locked[i]   = true;
            usable[i]   = true;
            answered[i] = WELCOME;
            exposed     = true;
#endif
            run peer(i);
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
#if POKES > 0
        for (i : 1 .. POKES) {
            run intruder(POKE);
        }
#endif
#ifdef DIES_HOLDER
        run death(HOLDER);
#endif
#ifdef DIES_PEER
        run death(1);
#endif
#ifdef STOP
        run freezer(1);
#endif
        i = 0;
    }
}


/* ------------------------------------------------------------------ liveness */
/* With weak fairness: who can always go on, goes on. Intruders come a finite
 * number of times, so "again and again nobody waits" is "all have gone on". */

/* 2, 3, 6 */
#ifdef STOP /* a stopped joiner cannot go on, even if he may */
#define WAITS_ON (waits_reader + waits_writer)
#else
#define WAITS_ON K_WAITS
#endif
ltl breaks_end { []<> (WAITS_ON == 0 && !K_BREAKING) }

/* 4: for configurations without writers */
ltl held_again { <>[] (state == HELD) }

/* 6 */
#if PEERS == 0
#define ORPHANED(p) true
#else
#define ORPHANED(p) (!alive[p] || answered[p] != WELCOME || orphan[p])
#endif
#if PEERS < 2
#define ALL_ORPHANED ORPHANED(1)
#define NOBODY_JOINS (!joining[PEERS])
#else
#define ALL_ORPHANED (ORPHANED(1) && ORPHANED(2))
#define NOBODY_JOINS (!joining[1] && !joining[2])
#endif
ltl orphans_end { [] (!alive[HOLDER] -> <> ALL_ORPHANED) }

/* 7 */
ltl joins_end { []<> NOBODY_JOINS }
