/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

#ifndef DAXPIN_TOOLS_JSON_H_
#define DAXPIN_TOOLS_JSON_H_

#include <stdio.h>

/* Writes JSON, without line ends. key: of a member of an object; NULL in an
 * array and at the top. */
typedef struct daxpin_json {
    FILE *stream;
    int  more; /* something stands before what comes next */
} daxpin_json_t;

/* bracket: '{' or '[', and the one that ends it */
void daxpin_json_open(daxpin_json_t *json, const char *key, char bracket);
void daxpin_json_close(daxpin_json_t *json, char bracket);

/* NULL is null. Bytes that are no UTF-8 become U+FFFD. */
void daxpin_json_string(daxpin_json_t *json, const char *key,
                        const char *value);
void daxpin_json_number(daxpin_json_t *json, const char *key, long long value);
/* Negative: null */
void daxpin_json_count(daxpin_json_t *json, const char *key, long long value);
void daxpin_json_bool(daxpin_json_t *json, const char *key, int value);

/* A path or another foreign string as text: what could be taken for the end
 * of a line or control a terminal is written in octal, as the kernel does */
void daxpin_text_put(FILE *stream, const char *text);

#endif
