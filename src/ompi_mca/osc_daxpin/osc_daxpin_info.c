/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/*
 * What MPI_Win_get_info() returns. Open MPI drops a key that the program sets and
 * that no component has subscribed to, also if the info had it before.
 */

#include "osc_daxpin_info.h"

#include "opal/util/info.h"

/* Return the value that the window has already. Open MPI copies it. */
static osc_daxpin_info_char_t *
osc_daxpin_info_keep(opal_infosubscriber_t *object, osc_daxpin_info_char_t *key,
                     osc_daxpin_info_char_t *value)
{
    static _Thread_local char used[OPAL_MAX_INFO_VAL + 1];

    return osc_daxpin_info_get(object->s_info, key, used) ? used : value;
}

void osc_daxpin_info_use(ompi_win_t *win, const char *key, const char *value)
{
    if ((win->super.s_info != NULL) &&
        (opal_info_set(win->super.s_info, (char*)key, (char*)value) ==
         OPAL_SUCCESS)) {
        (void)opal_infosubscribe_subscribe(&win->super, (char*)key,
                                           (char*)value, osc_daxpin_info_keep);
    }
}
