/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Output: JSON, and foreign strings as text */

#ifndef DAXPIN_TOOLS_JSON_H_
#define DAXPIN_TOOLS_JSON_H_

#include <stdio.h>

/* A writer of JSON, without line ends. key, below: the name of a member of an
 * object; NULL in an array and at the top. */
typedef struct daxpin_json {
    FILE *stream;
    int  more; /* the next value needs a comma before it */
} daxpin_json_t;

/* bracket: '{' or '[', and '}' or ']' */
void daxpin_json_open(daxpin_json_t *json, const char *key, char bracket);
void daxpin_json_close(daxpin_json_t *json, char bracket);

/* NULL becomes null. Bytes that are not UTF-8 become U+FFFD. */
void daxpin_json_string(daxpin_json_t *json, const char *key,
                        const char *value);
void daxpin_json_number(daxpin_json_t *json, const char *key, long long value);
void daxpin_json_unsigned(daxpin_json_t *json, const char *key,
                          unsigned long long value);
/* A negative value becomes null */
void daxpin_json_count(daxpin_json_t *json, const char *key, long long value);
void daxpin_json_bool(daxpin_json_t *json, const char *key, int value);

/* Write a quoted label of Prometheus: it has three escapes, and UTF-8. */
void daxpin_label_put(FILE *stream, const char *text);

/* Write a path or another foreign string as text. A byte that ends a line or
 * controls a terminal is written in octal, as the kernel does. */
void daxpin_text_put(FILE *stream, const char *text);

#endif
