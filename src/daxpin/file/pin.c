/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Registered ranges of a file and their owners */

#include "pin.h"

#include "daxpin/os/clock.h"
#include "daxpin/os/log.h"
#include "daxpin/os/loop.h"
#include "file.h"
#include "module.h"
#include "report.h"

#include <errno.h>
#include <stdlib.h>

struct daxpin_pin {
    daxpin_pin_t           *left;
    daxpin_pin_t           *right;
    uint64_t               offset;
    uint64_t               end;
    uint64_t               max_end;  /* of this node and all below */
    uint32_t               priority; /* a heap: the root has the greatest */
    daxpin_file_t          *file;
    daxpin_report_record_t *record;  /* NULL: omitted */
    unsigned               life;     /* of the report that has it */
    daxpin_module_pin_t    *module;  /* NULL: without */
};

/* xorshift: balance, not secrecy */
static uint32_t daxpin_pin_priority(void)
{
    static uint32_t x = 2463534242u;

    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return x;
}

static void daxpin_pin_update(daxpin_pin_t *pin)
{
    pin->max_end = pin->end;
    if ((pin->left != NULL) && (pin->left->max_end > pin->max_end)) {
        pin->max_end = pin->left->max_end;
    }
    if ((pin->right != NULL) && (pin->right->max_end > pin->max_end)) {
        pin->max_end = pin->right->max_end;
    }
}

/* Equal offsets are told apart by address, so that any one can be removed */
static int daxpin_pin_before(const daxpin_pin_t *a, const daxpin_pin_t *b)
{
    return (a->offset != b->offset) ? (a->offset < b->offset) :
                                      ((uintptr_t)a < (uintptr_t)b);
}

static daxpin_pin_t *daxpin_pins_merge(daxpin_pin_t *a, daxpin_pin_t *b)
{
    if ((a == NULL) || (b == NULL)) {
        return (a != NULL) ? a : b;
    }
    if (a->priority > b->priority) {
        a->right = daxpin_pins_merge(a->right, b);
        daxpin_pin_update(a);
        return a;
    }
    b->left = daxpin_pins_merge(a, b->left);
    daxpin_pin_update(b);
    return b;
}

static void daxpin_pins_split(daxpin_pin_t *root, const daxpin_pin_t *at,
                              daxpin_pin_t **before_p, daxpin_pin_t **after_p)
{
    if (root == NULL) {
        *before_p = *after_p = NULL;
    } else if (daxpin_pin_before(root, at)) {
        daxpin_pins_split(root->right, at, &root->right, after_p);
        daxpin_pin_update(root);
        *before_p = root;
    } else {
        daxpin_pins_split(root->left, at, before_p, &root->left);
        daxpin_pin_update(root);
        *after_p = root;
    }
}

static void daxpin_pins_insert(daxpin_pins_t *pins, daxpin_pin_t *pin)
{
    daxpin_pin_t *before, *after;

    daxpin_pins_split(pins->root, pin, &before, &after);
    pins->root = daxpin_pins_merge(daxpin_pins_merge(before, pin), after);
    ++pins->count;
}

static daxpin_pin_t *daxpin_pins_cut(daxpin_pin_t *root,
                                     const daxpin_pin_t *pin)
{
    if (root == pin) {
        return daxpin_pins_merge(root->left, root->right);
    }
    if (daxpin_pin_before(pin, root)) {
        root->left = daxpin_pins_cut(root->left, pin);
    } else {
        root->right = daxpin_pins_cut(root->right, pin);
    }
    daxpin_pin_update(root);
    return root;
}

/* And not revoked, or that of a parent */
static int daxpin_pin_is_in_module(const daxpin_pin_t *pin)
{
    return (pin->module != NULL) && (pin->module->addr != NULL) &&
           !pin->module->revoked;
}

static void daxpin_pins_add_module(daxpin_pins_t *pins, daxpin_pin_t *pin)
{
    if (pin->module == NULL) {
        return;
    }
    if (pin->module->refs == 1) {
        daxpin_module_watch(pin->module, pin->file->holder && !pins->watched);
        pins->watched |= pin->module->event != 0;
    }
    ++pins->modules;
}

static void daxpin_pins_remove_module(daxpin_pins_t *pins, daxpin_pin_t *pin)
{
    if (daxpin_pin_is_in_module(pin)) {
        pins->watched &= (pin->module->event == 0) || (pin->module->refs > 1);
        --pins->modules;
    }
}

static void daxpin_pins_for_each(daxpin_pin_t *root,
                                 void (*func)(daxpin_module_pin_t *pin))
{
    if (root != NULL) {
        daxpin_pins_for_each(root->left, func);
        if (root->module != NULL) {
            func(root->module);
        }
        daxpin_pins_for_each(root->right, func);
    }
}

void daxpin_pins_revoke(daxpin_pins_t *pins)
{
    daxpin_pins_for_each(pins->root, daxpin_module_revoke);
    pins->modules = 0;
    pins->watched = 0;
}

void daxpin_pins_fork(daxpin_pins_t *pins)
{
    daxpin_pins_for_each(pins->root, daxpin_module_fork);
    pins->modules = 0;
    pins->watched = 0;
}

static daxpin_pin_t *daxpin_pins_overlap(daxpin_pin_t *root, uint64_t offset,
                                         uint64_t end)
{
    while (root != NULL) {
        if ((root->left != NULL) && (root->left->max_end > offset)) {
            /* If none on the left overlaps although one ends late enough,
             * that one begins at or after end, and so do all on the right */
            root = root->left;
        } else if ((root->offset < end) && (root->end > offset)) {
            return root;
        } else {
            root = root->right;
        }
        if ((root != NULL) && (root->max_end <= offset)) {
            return NULL;
        }
    }
    return NULL;
}

static int daxpin_pins_walk(const daxpin_pin_t *root, daxpin_pin_func_t func,
                            void *arg)
{
    return (root == NULL) ||
           (daxpin_pins_walk(root->left, func, arg) &&
            func(root->offset, root->end, arg) &&
            daxpin_pins_walk(root->right, func, arg));
}

int daxpin_pins_each(const daxpin_pins_t *pins, daxpin_pin_func_t func,
                     void *arg)
{
    return daxpin_pins_walk(pins->root, func, arg);
}

/* One that the module has pinned, and that has all of the range */
static daxpin_pin_t *daxpin_pins_cover(daxpin_pin_t *root, uint64_t offset,
                                       uint64_t end)
{
    daxpin_pin_t *pin;

    if ((root == NULL) || (root->max_end < end)) {
        return NULL;
    }
    pin = daxpin_pins_cover(root->left, offset, end);
    if ((pin != NULL) || (root->offset > offset)) {
        return pin;
    }
    if ((root->end >= end) && daxpin_pin_is_in_module(root)) {
        return root;
    }
    return daxpin_pins_cover(root->right, offset, end);
}

/* NULL: the module has to pin it for this one */
static daxpin_module_pin_t *daxpin_pins_share_module(daxpin_file_t *file,
                                                     uint64_t offset,
                                                     uint64_t end)
{
    daxpin_module_pin_t *module = NULL;
    daxpin_pin_t *pin           = NULL;

    pthread_mutex_lock(&daxpin_lock);
    if ((file->pins.modules > 0) && !daxpin_module_is_off()) {
        pin = daxpin_pins_cover(file->pins.root, offset, end);
    }
    if (pin != NULL) {
        module = pin->module;
        ++module->refs;
    }
    pthread_mutex_unlock(&daxpin_lock);
    return module;
}

/* For a moment the lease is away while a rank that comes late maps the file.
 * Not for the library's thread, which is who takes it again. */
static void daxpin_pin_await_lease(daxpin_file_t *file, uint64_t deadline)
{
    if ((daxpin_file_state(file) == DAXPIN_STATE_PENDING) &&
        !daxpin_monitor_is_self()) {
        (void)daxpin_file_wait(file, deadline);
    }
}

/* In the module, if it is wanted. May sleep for as long as a reader is let in */
static int daxpin_pin_in_module(daxpin_pin_t *pin, uint64_t deadline)
{
    daxpin_pin_await_lease(pin->file, deadline);
    pin->module = daxpin_pins_share_module(pin->file, pin->offset, pin->end);
    return (pin->module != NULL) ?
                   0 :
                   daxpin_module_pin(pin->file, pin->offset,
                                     pin->end - pin->offset, &pin->module);
}

/* Among those of its file, if that is under lease still; or away with it */
static int daxpin_pin_add(daxpin_pin_t *pin, const daxpin_owner_t *owner,
                          uint64_t deadline)
{
    daxpin_file_t *file = pin->file;
    size_t length       = pin->end - pin->offset;
    int ret             = 0;

    daxpin_pin_await_lease(file, deadline);
    pthread_mutex_lock(&daxpin_lock);
    if ((daxpin_file_state(file) != DAXPIN_STATE_HELD) &&
        (daxpin_file_state(file) != DAXPIN_STATE_LENT)) {
        ret = daxpin_error(EPERM,
                           "%s: cannot pin %zu bytes at offset %lu: no lease "
                           "is held (it is %s); open the file again to take a "
                           "new one", daxpin_file_path(file), length,
                           pin->offset,
                           daxpin_state_name(daxpin_file_state(file)));
        daxpin_module_unpin(pin->module);
        goto out;
    }
    pin->priority = daxpin_pin_priority();
    daxpin_pins_insert(&file->pins, pin);
    daxpin_pins_add_module(&file->pins, pin);
    pin->record = daxpin_report_add(file, owner, length);
    pin->life   = daxpin_report_get_life();
    daxpin_guard_add(file, pin->offset, pin->end);
    daxpin_guard_wait(file);
out:
    pthread_mutex_unlock(&daxpin_lock);
    return ret;
}

int daxpin_pin(daxpin_file_t *file, uint64_t offset, size_t length,
               const daxpin_owner_t *owner, daxpin_pin_t **pin_p)
{
    const daxpin_owner_t process = {.type = DAXPIN_OWNER_PROCESS, .fd = -1};
    uint64_t deadline = daxpin_now() + DAXPIN_TIMEOUT_DEFAULT_MS * DAXPIN_MSEC;
    daxpin_pin_t *pin;
    uint64_t end;
    int ret;

    *pin_p = NULL;
    if ((length == 0) || __builtin_add_overflow(offset, length, &end) ||
        (end > daxpin_file_length(file))) {
        return daxpin_error(EINVAL,
                            "%s: cannot pin %zu bytes at offset %lu: the file "
                            "has %zu bytes", daxpin_file_path(file), length,
                            offset, daxpin_file_length(file));
    }
    pin = calloc(1, sizeof(*pin));
    if (pin == NULL) {
        return daxpin_error(ENOMEM, "%s: cannot pin: out of memory",
                            daxpin_file_path(file));
    }
    pin->offset  = offset;
    pin->end     = end;
    pin->max_end = end;
    pin->file    = file;
    ret          = daxpin_pin_in_module(pin, deadline);
    if (ret != 0) {
        goto err_free;
    }
    ret = daxpin_pin_add(pin, (owner != NULL) ? owner : &process, deadline);
    if (ret != 0) {
        goto err_free;
    }
    *pin_p = pin;
    return 0;

err_free:
    free(pin);
    return ret;
}

void daxpin_unpin(daxpin_pin_t *pin)
{
    daxpin_file_t *file;
    int in_module;

    if (pin == NULL) {
        return;
    }
    file = pin->file;
    pthread_mutex_lock(&daxpin_lock);
    file->pins.root = daxpin_pins_cut(file->pins.root, pin);
    --file->pins.count;
    in_module = daxpin_pin_is_in_module(pin);
    daxpin_pins_remove_module(&file->pins, pin);
    daxpin_module_unpin(pin->module);
    daxpin_guard_remove(file, pin->offset, pin->end);
    daxpin_guard_wait(file);
    if (pin->life == daxpin_report_get_life()) {
        daxpin_report_remove(pin->record, pin->end - pin->offset);
        if (in_module) {
            daxpin_report_update(file); /* was it the last one? */
        }
    }
    pthread_mutex_unlock(&daxpin_lock);
    free(pin);
}

daxpin_pin_t *daxpin_pin_find(daxpin_file_t *file, uint64_t offset,
                              size_t length)
{
    daxpin_pin_t *pin;
    uint64_t end;

    if (__builtin_add_overflow(offset, length, &end)) {
        end = UINT64_MAX;
    }
    pthread_mutex_lock(&daxpin_lock);
    pin = daxpin_pins_overlap(file->pins.root, offset, end);
    pthread_mutex_unlock(&daxpin_lock);
    return pin;
}

void *daxpin_pin_alias(const daxpin_pin_t *pin)
{
    char *addr = NULL;

    pthread_mutex_lock(&daxpin_lock);
    if (daxpin_pin_is_in_module(pin)) {
        addr = (char*)pin->module->addr + (pin->offset - pin->module->offset);
    }
    pthread_mutex_unlock(&daxpin_lock);
    return addr;
}

void daxpin_pin_range(const daxpin_pin_t *pin, uint64_t *offset_p,
                      size_t *length_p)
{
    *offset_p = pin->offset;
    *length_p = pin->end - pin->offset;
}
