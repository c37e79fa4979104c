/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * A model of the connections between two processes, for spin: how a file comes to
 * the socket that another file has brought, and how it leaves. test/model/run
 * checks it. What the messages are for is in daxpin.pml and handover.pml.
 *
 * PROCESSES
 *   holder     its loop thread; holds the files OLD and NEW, may revoke or close
 *              each at any step
 *   thread     of the member: joins NEW, gives up or not, leaves at any step
 *   loop       of the member: reads the sockets; leaves OLD at any step
 *   death      of one of the two processes, at any step
 *
 * WHERE IT IS IN THE CODE (src/daxpin/file)
 *   shared     the socket by which OLD was joined: daxpin_channel_t, channel.c
 *   fresh      the socket on which the HELLO of NEW goes: join.c
 *   record     what the member has of NEW before the WELCOME:
 *              daxpin_share_prepare()
 *   wait       messages for which there is no room: daxpin_conn_send()
 *
 * PROPERTIES, when nothing can happen any more                       [assert]
 *   1  The holder has a member of a file if and only if the member has it.
 *   2  A member that the holder still has, and has sent BREAK to, has noted that.
 *   3  No socket is open that no file uses.
 *
 * CONFIGURATIONS (-D)
 *   DEATHS=n   so many processes may die
 *   BUG_*      a seeded bug that spin must find
 */

#ifndef DEATHS
#define DEATHS 0
#endif

#define OLD  0
#define NEW  1
#define NONE 0 /* not a member */
#define ON_SHARED 1
#define ON_FRESH  2

mtype = { HELLO, WELCOME_SHARED, WELCOME_FRESH, BREAK, LEAVE, ACK };

/* What is in the sockets, on the way to the holder and to the member */
chan shared_h = [1] of { mtype, byte };
chan shared_m = [1] of { mtype, byte };
chan fresh_h  = [2] of { mtype, byte };
chan fresh_m  = [2] of { mtype, byte };

/* Who has closed its end */
bool h_shared = true, m_shared = true; /* open */
bool h_fresh, m_fresh;
bool h_alive = true, m_alive = true;

byte h_has[2];        /* where the holder has a member */
bool h_sent[2];       /* BREAK */
bool h_waits_break[2], h_waits_leave[2];

byte m_has[2];        /* where the member has the file */
bool m_noted[2];      /* BREAK */
bool m_waits_leave[2], m_waits_ack[2];
bool record, record_break, record_gone;
bool record_done;     /* the thread does nothing any more */

bool h_ends[2];       /* the holder is to close the file at some time */
bool m_leaves;        /* the member is to close OLD at some time */

/* Close the end that reads from a socket: what is in it is lost. */
inline empty_out(socket)
{
    do
    :: nempty(socket) -> socket?_,_
    :: empty(socket) -> break
    od
}

/* ---------------------------------------------------------------- the holder */

inline h_close_shared()
{
    h_shared = false;
    empty_out(shared_h);
    h_waits_break[0] = false; h_waits_break[1] = false;
    h_waits_leave[0] = false; h_waits_leave[1] = false;
    if :: h_has[OLD] == ON_SHARED -> h_has[OLD] = NONE :: else fi;
    if :: h_has[NEW] == ON_SHARED -> h_has[NEW] = NONE :: else fi
}

/* A socket stays as long as a file needs it. Its end is as good as a LEAVE. */
inline h_close_if_unused()
{
    if
    :: h_shared && h_has[OLD] != ON_SHARED && h_has[NEW] != ON_SHARED ->
        h_close_shared()
    :: else
    fi
}

/* End a membership at the holder: the file was closed, or revoked */
inline h_end(f)
{
    if
    :: h_has[f] == ON_SHARED ->
        h_has[f]         = NONE;
        h_waits_break[f] = false;
        if
        :: m_shared && full(shared_m) -> h_waits_leave[f] = true
        :: m_shared && nfull(shared_m) -> shared_m!LEAVE,f
        :: !m_shared
        fi;
        h_close_if_unused()
    :: h_has[f] == ON_FRESH -> 
        h_has[f] = NONE; h_fresh = false; empty_out(fresh_h)
    :: else
    fi
}

inline h_break(f)
{
    h_sent[f] = true;
    if
    :: h_has[f] == ON_FRESH ->
        if :: m_fresh -> fresh_m!BREAK,f :: else fi
    :: h_has[f] == ON_SHARED && m_shared && full(shared_m) ->
        h_waits_break[f] = true
    :: h_has[f] == ON_SHARED && m_shared && nfull(shared_m) -> shared_m!BREAK,f
    :: h_has[f] == ON_SHARED && !m_shared
    fi
}

/* named: the member names the shared socket */
inline h_hello(named)
{
    if
    :: named && h_shared ->
        if
        :: m_fresh -> h_has[NEW] = ON_SHARED; fresh_m!WELCOME_SHARED,NEW
        :: else
        fi;
        h_fresh = false;
        empty_out(fresh_h)
    :: else ->
        if
        :: m_fresh -> h_has[NEW] = ON_FRESH; fresh_m!WELCOME_FRESH,NEW
        :: else -> h_fresh = false; empty_out(fresh_h)
        fi
    fi
}

proctype holder()
{
    byte f, named;
    {
end_holder:
        do
        :: atomic { fresh_h?HELLO,named -> h_hello(named) }
        :: atomic { fresh_h?ACK,f }
        :: atomic { h_fresh && !m_fresh && empty(fresh_h) ->
            h_fresh = false;
            if :: h_has[NEW] == ON_FRESH -> h_has[NEW] = NONE :: else fi
        }
        :: atomic { shared_h?LEAVE,f ->
            if
            :: h_has[f] == ON_SHARED ->
                h_has[f] = NONE; h_waits_break[f] = false;
                h_close_if_unused()
            :: else
            fi
        }
        :: atomic { shared_h?ACK,f }
        :: atomic { h_shared && !m_shared && empty(shared_h) ->
            h_close_shared()
        }
        /* there is room again */
        :: atomic { h_shared && m_shared && nfull(shared_m) &&
            h_waits_break[OLD] -> h_waits_break[OLD] = false;
            shared_m!BREAK,OLD }
        :: atomic { h_shared && m_shared && nfull(shared_m) &&
            h_waits_break[NEW] -> h_waits_break[NEW] = false;
            shared_m!BREAK,NEW }
        :: atomic { h_shared && m_shared && nfull(shared_m) &&
            h_waits_leave[OLD] -> h_waits_leave[OLD] = false;
            shared_m!LEAVE,OLD; h_close_if_unused() }
        :: atomic { h_shared && m_shared && nfull(shared_m) &&
            h_waits_leave[NEW] -> h_waits_leave[NEW] = false;
            shared_m!LEAVE,NEW; h_close_if_unused() }
        /* what it may do with each file */
        :: atomic { h_has[OLD] != NONE && !h_sent[OLD] -> h_break(OLD) }
        :: atomic { h_has[NEW] != NONE && !h_sent[NEW] -> h_break(NEW) }
        :: atomic { h_has[OLD] != NONE && h_ends[OLD] ->
            h_end(OLD) }
        :: atomic { h_has[NEW] != NONE && h_ends[NEW] ->
            h_end(NEW) }
        od
    } unless {
        !h_alive
    }
}

/* ---------------------------------------------------------------- the member */

inline m_close_shared()
{
    m_shared = false;
    empty_out(shared_m);
    m_waits_leave[0] = false; m_waits_leave[1] = false;
    m_waits_ack[0]   = false; m_waits_ack[1]   = false;
    if :: m_has[OLD] == ON_SHARED -> m_has[OLD] = NONE :: else fi;
    if :: m_has[NEW] == ON_SHARED -> m_has[NEW] = NONE :: else fi;
    record_gone = record_gone || record
}

inline m_close_if_unused()
{
    if
    :: m_shared && m_has[OLD] != ON_SHARED && m_has[NEW] != ON_SHARED &&
       !record -> m_close_shared()
    :: else
    fi
}

inline m_send_leave(f)
{
    m_waits_ack[f] = false;
    if
    :: m_shared && h_shared && full(shared_h) -> m_waits_leave[f] = true
    :: m_shared && h_shared && nfull(shared_h) -> shared_h!LEAVE,f
    :: !m_shared || !h_shared
    fi
}

inline m_leave(f)
{
    if
    :: m_has[f] == ON_SHARED ->
        m_has[f] = NONE;
        m_send_leave(f);
        m_close_if_unused()
    :: m_has[f] == ON_FRESH ->
        m_has[f] = NONE; m_fresh = false; empty_out(fresh_m)
    :: else
    fi
}

/* BREAK has come, and is answered */
inline m_note_break(f)
{
    if
    :: m_has[f] != NONE ->
        m_noted[f] = true;
        if
        :: m_has[f] == ON_FRESH && h_fresh -> fresh_h!ACK,f
        :: m_has[f] == ON_SHARED && h_shared && full(shared_h) ->
            m_waits_ack[f] = true
        :: m_has[f] == ON_SHARED && h_shared && nfull(shared_h) ->
            shared_h!ACK,f
        :: (m_has[f] == ON_FRESH && !h_fresh) ||
           (m_has[f] == ON_SHARED && !h_shared)
        fi
#ifndef BUG_NO_RECORD
    :: m_has[f] == NONE && f == NEW && record -> record_break = true
#endif
    :: else /* it has left */
    fi
}

inline m_note_leave(f)
{
    if
    :: m_has[f] == ON_SHARED -> m_has[f] = NONE; m_waits_ack[f] = false
    :: m_has[f] == NONE && f == NEW && record -> record_gone = true
    :: else
    fi;
    m_close_if_unused()
}

proctype thread()
{
    bool named, was_named;
    byte f;
    {
        atomic { /* connect */
            if
            :: h_alive -> m_fresh = true; h_fresh = true
            :: else -> goto done
            fi
        }
        atomic { record = m_shared; named = m_shared; was_named = named }
        atomic {
            if :: h_fresh -> fresh_h!HELLO,named :: else fi
        }
        if
        :: atomic { fresh_m?WELCOME_SHARED,f ->
            m_fresh = false; empty_out(fresh_m);
            record  = false;
            if
            :: m_shared && !record_gone ->
                m_has[NEW] = ON_SHARED;
                if :: record_break -> m_note_break(NEW) :: else fi
            :: else -> m_close_if_unused()
            fi
        }
        :: atomic { fresh_m?WELCOME_FRESH,f ->
            record     = false;
            m_has[NEW] = ON_FRESH;
#ifdef BUG_NOTES_OF_OTHER
            if :: record_gone -> m_has[NEW] = NONE :: else fi;
#endif
            m_close_if_unused()
        }
        :: atomic { m_fresh && !h_fresh && empty(fresh_m) ->
            m_fresh = false; record = false;
            if :: was_named -> m_send_leave(NEW) :: else fi;
            m_close_if_unused()
        }
        :: skip -> /* it gives up */
#ifdef BUG_LEAVE_FIRST
            atomic {
                if :: was_named -> m_send_leave(NEW) :: else fi;
                record = false
            }
            atomic { m_fresh = false; empty_out(fresh_m) }
            atomic { m_close_if_unused() }
#else
            atomic { m_fresh = false; empty_out(fresh_m) }
            atomic {
                record = false;
#ifndef BUG_NO_LEAVE
                if :: was_named -> m_send_leave(NEW) :: else fi;
#endif
                m_close_if_unused()
            }
#endif
        fi;
        if
        :: atomic { m_has[NEW] != NONE -> m_leave(NEW) }
        :: skip
        fi;
done:   record_done = true
    } unless {
        !m_alive
    }
}

proctype loop()
{
    byte f;
    {
end_loop:
        do
        :: atomic { shared_m?BREAK,f -> m_note_break(f) }
        :: atomic { shared_m?LEAVE,f -> m_note_leave(f) }
        :: atomic { m_shared && !h_shared && empty(shared_m) ->
            m_close_shared() }
        :: atomic { fresh_m?BREAK,f ->
            m_note_break(f) }
        :: atomic { m_has[NEW] == ON_FRESH && !h_fresh && empty(fresh_m) ->
            m_fresh = false; m_has[NEW] = NONE }
        :: atomic { m_shared && h_shared && nfull(shared_h) &&
            m_waits_ack[OLD] -> m_waits_ack[OLD] = false; shared_h!ACK,OLD }
        :: atomic { m_shared && h_shared && nfull(shared_h) &&
            m_waits_ack[NEW] -> m_waits_ack[NEW] = false; shared_h!ACK,NEW }
        :: atomic { m_shared && h_shared && nfull(shared_h) &&
            m_waits_leave[OLD] -> m_waits_leave[OLD] = false;
            shared_h!LEAVE,OLD; m_close_if_unused() }
        :: atomic { m_shared && h_shared && nfull(shared_h) &&
            m_waits_leave[NEW] -> m_waits_leave[NEW] = false;
            shared_h!LEAVE,NEW; m_close_if_unused() }
        :: atomic { m_has[OLD] != NONE && m_leaves -> m_leave(OLD) }
        od
    } unless {
        !m_alive
    }
}

/* A process that ends closes all that it has. */
proctype death()
{
    do
    :: atomic { DEATHS > 0 && h_alive && m_alive ->
        h_alive = false; h_shared = false; h_fresh = false;
        empty_out(shared_h); empty_out(fresh_h);
        h_has[OLD] = NONE; h_has[NEW] = NONE; break }
    :: atomic { DEATHS > 0 && h_alive && m_alive ->
        m_alive = false; m_shared = false; m_fresh = false; record = false;
        empty_out(shared_m); empty_out(fresh_m);
        m_has[OLD] = NONE; m_has[NEW] = NONE; break }
    :: break
    od
}

#define AGREE(f) ((h_has[f] == NONE) == (m_has[f] == NONE))

proctype judge()
{
end_judge:
    atomic {
        timeout;
        assert(record_done || !m_alive);
        assert(AGREE(OLD) && AGREE(NEW)); /* 1 */
        assert(!h_alive || !m_alive ||
               ((h_has[OLD] == NONE || !h_sent[OLD] || m_noted[OLD]) &&
                (h_has[NEW] == NONE || !h_sent[NEW] || m_noted[NEW]))); /* 2 */
        assert(h_shared == (h_has[OLD] == ON_SHARED ||
                            h_has[NEW] == ON_SHARED));
        assert(m_shared == (m_has[OLD] == ON_SHARED ||
                            m_has[NEW] == ON_SHARED));
        assert(h_fresh == (h_has[NEW] == ON_FRESH) &&
               m_fresh == (m_has[NEW] == ON_FRESH)) /* 3 */
    }
}

init {
    atomic {
        h_has[OLD] = ON_SHARED;
        m_has[OLD] = ON_SHARED;
        if :: h_ends[OLD] = true :: skip fi;
        if :: h_ends[NEW] = true :: skip fi;
        if :: m_leaves = true :: skip fi;
        run holder();
        run thread();
        run loop();
        run death();
        run judge()
    }
}
