/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Structures of parameters in daxpin.h */

#include "params.h"

#include "daxpin/os/log.h"

#include <errno.h>
#include <string.h>

/* Up to the last member of 0.1, the first release with a size */
#define DAXPIN_PARAMS_SIZE_MIN \
    (offsetof(daxpin_params_t, any_fs) + sizeof(int))
#define DAXPIN_OWNER_SIZE_MIN (offsetof(daxpin_owner_t, fd) + sizeof(int))

static int daxpin_is_zero(const char *bytes, size_t length)
{
    size_t i;

    for (i = 0; i < length; ++i) {
        if (bytes[i] != 0) {
            return 0;
        }
    }
    return 1;
}

/* given begins with its size; 0: that of the first release. */
static int daxpin_struct_copy(const char *name, const void *given,
                              size_t least, void *copy, size_t known)
{
    size_t size = 0;

    memset(copy, 0, known);
    if (given == NULL) {
        return 0;
    }
    memcpy(&size, given, sizeof(size));
    size = (size == 0) ? least : size;
    if (size < least) {
        return daxpin_error(EINVAL, "cannot use %s of %zu bytes: its member "
                            "size has to be sizeof(%s)", name, size, name);
    }
    if ((size > known) &&
        !daxpin_is_zero((const char*)given + known, size - known)) {
        return daxpin_error(EINVAL, "cannot use %s of %zu bytes: daxpin %s "
                            "knows its first %zu only, and more is set; use "
                            "the library that the program was built for", name,
                            size, daxpin_version(), known);
    }
    memcpy(copy, given, (size < known) ? size : known);
    return 0;
}

int daxpin_params_copy(const daxpin_params_t *given, daxpin_params_t *params)
{
    return daxpin_struct_copy("daxpin_params_t", given, DAXPIN_PARAMS_SIZE_MIN,
                              params, sizeof(*params));
}

int daxpin_owner_copy(const daxpin_owner_t *given, daxpin_owner_t *owner)
{
    return daxpin_struct_copy("daxpin_owner_t", given, DAXPIN_OWNER_SIZE_MIN,
                              owner, sizeof(*owner));
}
