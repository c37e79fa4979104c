/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * A model of the hand-over, for spin: what happens to a leased file when its
 * holder ends. test/model/run checks it. daxpin.pml has the protocol between one
 * holder and its members, of which this model has only what a hand-over needs.
 *
 * PROCESSES
 *   process 0       the first holder: its loop thread, and a thread that accesses
 *   process 1, 2    members: the same
 *   newcomer        opens the file by its path, and competes for the address
 *   intruders       readers, writers, turners (readers that then write)
 *   the kernel      one lease with the process that took it; one inotify queue
 *                   for each holder, whose watch lives as long as a member does
 *
 * WHERE IT IS IN THE CODE (src/daxpin)
 *   page, turn      the control page of each holder: os/control.h; os/roster.h
 *   address         os/address.c: the lock that elects the holder
 *   on_roster       os/roster.c, with the turn of each process
 *   orphan          file/handover.c: take, ask, follow, fail
 *   INHERITED       daxpin_lease_phase_t in file/decide.h; daxpin_holder_renew()
 *   sure            control->sure_until, file->lease.lost_until
 *   revoke, fail    file/revoke.c
 *
 * PROPERTIES
 *   1  Nothing reaches the file after the F_UNLCK of a revoke.       [assert]
 *   2  If a synchronisation succeeds, no outsider had changed the content.
 *                                                                    [assert]
 *   3  Without writers there is no revoke.                           [assert]
 *   4  A newcomer never opens the file by its path as long as a process uses
 *      it.                                                           [assert]
 *   5  Each intruder, newcomer and member goes on in the end: it is in, follows
 *      a holder, or has ended its accesses.                      [end states]
 *   6  HELD is entered only if no outsider has changed the content.  [assert]
 *
 * CONFIGURATIONS (-D)
 *   DEATHS=n           so many holders may die, at any step
 *   READERS, WRITERS, TURNERS = n
 *   NEWCOMER           there is one
 *   CANNOT_FOLLOW      process 2 may fail to follow (no descriptor)
 *   SLOW               a process may be stopped: times after which it is no
 *                      longer sure expire, and it is `excused` from (1), but
 *                      not from (2)
 *   EXPIRE             a break may expire after those times
 *   BUG_*              a seeded bug that spin must find
 */

#ifndef DEATHS
#define DEATHS 1
#endif
#ifndef READERS
#define READERS 0
#endif
#ifndef WRITERS
#define WRITERS 0
#endif
#ifndef TURNERS
#define TURNERS 0
#endif

#define N     3
#define TURNS 3
#define NONE  7

#if (WRITERS + TURNERS == 0) && !defined(CANNOT_FOLLOW) && !defined(SLOW)
#define NO_REVOKE true
#else
#define NO_REVOKE false
#endif

mtype:state = { HELD, LENT, BREAKING, REVOKED };
mtype:lease = { GRANTED, TO_READ, TO_UNLCK, NO_LEASE };
mtype:intruder_kind = { READER, WRITER, TURNER };

typedef page_t {
    mtype:state state;
    bool        judging;
    bool        sure;    /* the time until which its members may be sure */
    bool        watched; /* its holder's watch is in place */
    bool        event;   /* that queue is not empty */
    byte        holder;
};

page_t page[TURNS];
byte   turn[N];       /* whose page a process has */
bool   alive[N];
bool   on_roster[N];
bool   gone[N];       /* has closed the description */
bool   seceded[N];    /* has a page of its own: REVOKED */
bool   reach[N];      /* its mapping shows the file */
bool   busy[N];       /* its slot */
bool   ack[N];
bool   excused[N];
byte   address = NONE;
bool   listens;       /* the process that has the address */
byte   deaths  = DEATHS;

mtype:lease lease = GRANTED;
byte        owner;    /* of the lease */
byte        openers;
byte        readers;  /* that wait */
byte        writers;
bool        wrote;
bool        forbidden;

#define VIEW(p)     (seceded[p] -> REVOKED : page[turn[p]].state)
#define MAY(s)      ((s) == HELD || (s) == LENT)
#define HOLDER_OF(p) (page[turn[p]].holder)

#define OTHERS(p) \
    ((p != 0 && on_roster[0]) || (p != 1 && on_roster[1]) || \
     (p != 2 && on_roster[2]))
#define EARLIER(p) \
    ((on_roster[0] && turn[0] < turn[p]) || \
     (on_roster[1] && turn[1] < turn[p]) || \
     (on_roster[2] && turn[2] < turn[p]))
#define LATER(p) \
    ((on_roster[0] && turn[0] > turn[p]) || \
     (on_roster[1] && turn[1] > turn[p]) || \
     (on_roster[2] && turn[2] > turn[p]))
/* On the roster, with the page of the same holder */
#define FELLOWS(p) \
    ((p != 0 && on_roster[0] && turn[0] == turn[p]) || \
     (p != 1 && on_roster[1] && turn[1] == turn[p]) || \
     (p != 2 && on_roster[2] && turn[2] == turn[p]))
#define UNACKED(p, q) \
    (p != q && alive[q] && on_roster[q] && turn[q] == turn[p] && !ack[q])
#define WAITS_FOR_ACKS(p) \
    (UNACKED(p, 0) || UNACKED(p, 1) || UNACKED(p, 2))

/* Members of earlier holders rely on their pages only as long as they may be
 * sure. */
#define SURE (page[0].sure || page[1].sure)
#ifdef SLOW
#define LOST(p) (EARLIER(p) && SURE)
#else
#define LOST(p) (EARLIER(p))
#endif

/* The description exists as long as a process has it. */
#define NO_REFS \
    ((!alive[0] || gone[0]) && (!alive[1] || gone[1]) && (!alive[2] || gone[2]))

inline excuse()
{
#ifdef SLOW
    excused[0] = excused[0] || !SURE;
    excused[1] = excused[1] || !SURE;
    excused[2] = excused[2] || !SURE
#else
    skip
#endif
}

#define REACHES(p) (alive[p] && reach[p] && !excused[p])

inline unlck_for_good()
{
    d_step {
        lease     = NO_LEASE;
        forbidden = true;
        assert(!REACHES(0) && !REACHES(1) && !REACHES(2)) /* 1 */
    }
}

inline drain(p)
{
    !busy[p];
    reach[p] = false
}

inline leave_address(p)
{
    d_step {
        if
        :: address == p -> address = NONE; listens = false
        :: else
        fi
    }
}


/* An access, and the synchronisation after it */
proctype thread(byte p)
{
    mtype:state seen;

end_idle: {
        do
        :: atomic {
            MAY(VIEW(p)) -> busy[p] = true
        }
            atomic {
                seen = VIEW(p);
                assert(!reach[p] || !MAY(seen) || !forbidden || excused[p])
            }
            busy[p] = false;
            /* Synchronise */
            if
            :: VIEW(p) == HELD ->
                if
                :: atomic {
                    page[turn[p]].sure || lease == GRANTED ->
                    if
                    :: VIEW(p) == HELD -> assert(!wrote || !MAY(seen)) /* 2 */
                    :: else
                    fi
                }
                :: else
                fi
            :: VIEW(p) == LENT && !page[turn[p]].judging ->
                if
                :: atomic {
                    !page[turn[p]].event && !page[turn[p]].judging &&
                    VIEW(p) == LENT ->
                    assert(!wrote || !MAY(seen)) /* 2 */
                }
                :: else
                fi
            :: else
            fi
        :: !MAY(VIEW(p)) -> break
        od
    } unless {
        !alive[p]
    }
}


/* The loop thread. p is a member unless it is the holder of its page. */
proctype loop(byte p)
{
    bool there, calm;
    byte old;
    {
        if
        :: p == 0 -> goto whole
        :: else   -> goto member
        fi;

/* ------------------------------------------------------------ the holder */
whole:
end_whole:
        if
        :: lease == TO_READ && owner == p -> goto lend
        :: lease == TO_UNLCK && owner == p && writers > 0 -> goto revoke
        :: lease == TO_UNLCK && owner == p && writers == 0 -> goto lend
        :: (lease == TO_READ || lease == TO_UNLCK) && owner != p ->
            goto revoke /* UNSEEN */
        :: lease == NO_LEASE -> goto revoke /* it has expired */
        fi;

lend:
        page[turn[p]].state = LENT;
        lease = NO_LEASE;

lent:
end_lent:
        if
        :: page[turn[p]].event ->
            page[turn[p]].judging = true;
            page[turn[p]].event   = false;
            goto revoke
        :: atomic {
            openers == 0 ->
            if
            :: lease == NO_LEASE -> owner = p
            :: else /* the one that is there, with its owner */
            fi;
            lease = GRANTED
        }
            if
            :: page[turn[p]].event -> /* read only if there is one */
                page[turn[p]].judging = true;
                page[turn[p]].event   = false;
                goto revoke
            :: else
            fi;
            atomic {
                page[turn[p]].state = HELD;
                assert(!wrote) /* 6 */
            }
            goto whole
        fi;

inherited: /* INHERITED: the lease is that of a process that has ended. */
#ifndef BUG_RENEW_EARLY
        !LOST(p);
#endif
        page[turn[p]].state = LENT;
        atomic {
            there = lease != NO_LEASE;
            lease = NO_LEASE
        }
        calm = !page[turn[p]].event && !page[old].event;
        if
        :: !there && !calm -> goto revoke
        :: there || calm   -> goto lent
        fi;

revoke:
        assert(!NO_REVOKE); /* 3 */
        page[turn[p]].state   = BREAKING;
        page[turn[p]].judging = false;
        if
        :: !EARLIER(p) -> leave_address(p)
        :: else
        fi;
        drain(p);
        atomic {
            !WAITS_FOR_ACKS(p) &&
#if !defined(BUG_REVOKE_NO_LOST)
            !LOST(p) ->
#else
            true ->
#endif
            excuse();
            page[turn[p]].state = REVOKED;
            unlck_for_good()
        }
        on_roster[p] = false;
        leave_address(p);
        goto out;

/* ------------------------------------------------------------- a member */
member:
end_member:
        if
        :: page[turn[p]].state == BREAKING || page[turn[p]].state == REVOKED ->
            drain(p);
            atomic { ack[p] = true; on_roster[p] = false }
            goto acked
        :: !alive[HOLDER_OF(p)] -> goto orphan
        fi;

acked:
end_acked:
        !alive[HOLDER_OF(p)]; /* it may not have come to F_UNLCK */
        atomic {
            if
            :: !OTHERS(p) -> excuse(); unlck_for_good()
            :: else
            fi
        }
        goto out;

orphan:
        if
        :: !MAY(page[turn[p]].state) -> goto fail
        :: else
        fi;
        do
        :: atomic { address == NONE -> address = p; listens = false }
            if
            :: LATER(p) -> leave_address(p)
            :: !LATER(p) -> break /* take */
            fi
        :: atomic { /* ask, and follow */
            address != NONE && address != p && listens ->
            if
            :: MAY(page[turn[address]].state) && turn[address] > turn[p] ->
                turn[p] = turn[address];
                goto member
            :: else -> goto fail /* STALE */
            fi
        }
#ifdef CANNOT_FOLLOW
        :: p == 2 && address != NONE && listens -> goto fail
#endif
#ifdef SLOW
        :: true -> goto fail /* the time limit */
#endif
        od;

        /* Watch first: from here on nothing is missed */
        old = turn[p];
#ifndef BUG_WATCH_LATE
        d_step {
            page[old + 1].watched = true;
            page[old + 1].event   = false
        }
#endif
#ifndef BUG_NO_CALM
        if
        :: page[old].state == LENT && (page[old].event || page[old].judging) ->
            leave_address(p);
            goto fail
        :: else
        fi;
#endif
#ifdef BUG_WATCH_LATE
        d_step {
            page[old + 1].watched = true;
            page[old + 1].event   = false
        }
#endif
        d_step {
            page[old + 1].state   = page[old].state;
            page[old + 1].judging = false;
            page[old + 1].sure    = true;
            page[old + 1].holder  = p;
            turn[p]               = old + 1
        }
        listens = true;
        if
        :: page[turn[p]].state == HELD -> goto inherited
        :: else
        fi;
#ifndef BUG_LEASE_KEPT
        lease = NO_LEASE;
#endif
        goto lent;

fail:
        assert(!NO_REVOKE); /* 3 */
        seceded[p] = true;
        drain(p);
        atomic {
            on_roster[p] = false;
            if
#ifdef BUG_ROSTER_OF_PAGE
            :: !FELLOWS(p) ->
#else
            :: !OTHERS(p) ->
#endif
                excuse();
                unlck_for_good()
            :: else
            fi
        }

out:    gone[p] = true /* closes the description */
    } unless {
        !alive[p]
    }
}

proctype newcomer()
{
    do
    :: atomic {
        address == NONE ->
#ifndef BUG_NEWCOMER_TAKES
        if
        :: on_roster[0] || on_roster[1] || on_roster[2] -> skip
        :: else ->
            goto opens
        fi
#else
        goto opens
#endif
    }
        /* It tries again, when something has changed */
        (address != NONE || !(on_roster[0] || on_roster[1] || on_roster[2]))
    :: atomic { address != NONE && listens && alive[address] &&
                MAY(page[turn[address]].state) -> goto out }
    od;
opens:
    assert(!(alive[0] && MAY(VIEW(0))) && !(alive[1] && MAY(VIEW(1))) &&
           !(alive[2] && MAY(VIEW(2)))); /* 4 */
out: skip
}

inline change()
{
    d_step {
        wrote = wrote || !forbidden;
        page[0].event = page[0].watched;
        page[1].event = page[1].watched || page[1].event;
        page[2].event = page[2].watched || page[2].event
    }
}

proctype intruder(byte kind)
{
    bool waits;

    atomic {
        openers++;
        if
        :: lease != NO_LEASE && kind != WRITER ->
            if
            :: lease == GRANTED -> lease = TO_READ
            :: else
            fi;
            readers++;
            waits = true
        :: lease != NO_LEASE && kind == WRITER ->
            lease = TO_UNLCK;
            writers++;
            waits = true
        :: else
        fi
    }
    atomic {
        !waits || lease == NO_LEASE || NO_REFS ->
        if
        :: waits && kind == WRITER -> writers--
        :: waits && kind != WRITER -> readers--
        :: else
        fi
    }
    if
    :: kind != READER -> change()
    :: else
    fi;
    openers--
}

/* A holder dies, at any step, or a process that is about to be one. */
#define IS_HOLDER(p) (alive[p] && (HOLDER_OF(p) == p || address == p))

inline k_exit(p)
{
    deaths--;
    alive[p]     = false;
    on_roster[p] = false;
    busy[p]      = false;
    leave_address(p)
}

proctype death()
{
    do
    :: atomic { deaths > 0 && IS_HOLDER(0) -> k_exit(0) }
    :: atomic { deaths > 0 && IS_HOLDER(1) -> k_exit(1) }
    :: atomic { deaths > 0 && IS_HOLDER(2) -> k_exit(2) }
    :: true -> break
    od
}

proctype clock()
{
#ifdef SLOW
    if
    :: !alive[page[0].holder] -> page[0].sure = false
    :: true
    fi;
    if
    :: !alive[page[1].holder] && page[1].holder != page[0].holder ->
        page[1].sure = false
    :: true
    fi;
#endif
#ifdef EXPIRE
    if
    :: atomic {
        (lease == TO_READ || lease == TO_UNLCK) && !alive[owner] && !SURE ->
        lease = NO_LEASE
    }
    :: true
    fi;
#endif
    skip
}

init {
    atomic {
        byte i;

        for (i : 0 .. N - 1) {
            alive[i]     = true;
            on_roster[i] = true;
            reach[i]     = true;
        }
        page[0].state   = HELD;
        page[0].sure    = true;
        page[0].watched = true;
        address         = 0;
        listens         = true;
        for (i : 0 .. N - 1) {
            run loop(i);
        }
        run thread(2);
        run death();
        run clock();
#ifdef NEWCOMER
        run newcomer();
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
#if TURNERS > 0
        for (i : 1 .. TURNERS) {
            run intruder(TURNER);
        }
#endif
        i = 0;
    }
}
