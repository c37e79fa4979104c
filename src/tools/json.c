/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Output: JSON, and foreign strings as text */

#include "json.h"

#include <string.h>

/* Return the length of the UTF-8 character at p; 0: there is none */
static size_t json_character(const unsigned char *p)
{
    size_t length, i;

    if (p[0] < 0x80) {
        return 1;
    }
    length = (p[0] < 0xc2) ? 0 : (p[0] < 0xe0) ? 2 : (p[0] < 0xf0) ? 3 :
             (p[0] < 0xf5) ? 4 : 0;
    for (i = 1; i < length; ++i) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    if (((p[0] == 0xe0) && (p[1] < 0xa0)) || /* a longer form than needed */
        ((p[0] == 0xf0) && (p[1] < 0x90)) ||
        ((p[0] == 0xed) && (p[1] > 0x9f)) || /* half of a surrogate pair */
        ((p[0] == 0xf4) && (p[1] > 0x8f))) {
        return 0;
    }
    return length;
}

/* Write what stands for a character. Return 0 if that is the character itself. */
typedef int (*json_escape_t)(FILE *stream, unsigned char character);

static int json_escape(FILE *stream, unsigned char character)
{
    if ((character == '"') || (character == '\\')) {
        return fprintf(stream, "\\%c", character);
    } else if ((character < 0x20) || (character == 0x7f)) {
        return fprintf(stream, "\\u%04x", character);
    }
    return 0;
}

static int json_escape_label(FILE *stream, unsigned char character)
{
    if (character == '\n') {
        return fprintf(stream, "\\n");
    } else if ((character == '"') || (character == '\\')) {
        return fprintf(stream, "\\%c", character);
    }
    return 0;
}

/* Write a text in quotes; replacement: for what is no UTF-8. */
static void json_put(FILE *stream, const char *text, const char *replacement,
                     json_escape_t escape)
{
    const unsigned char *p = (const unsigned char*)text;
    size_t length;

    fputc('"', stream);
    for (; *p != '\0'; p += (length > 0) ? length : 1) {
        length = json_character(p);
        if (length == 0) {
            fputs(replacement, stream);
        } else if (escape(stream, *p) == 0) {
            fwrite(p, 1, length, stream);
        }
    }
    fputc('"', stream);
}

static void json_quote(FILE *stream, const char *text)
{
    json_put(stream, text, "\\ufffd", json_escape);
}

void daxpin_label_put(FILE *stream, const char *text)
{
    json_put(stream, text, "\xef\xbf\xbd", json_escape_label); /* U+FFFD */
}

static void json_begin(daxpin_json_t *json, const char *key)
{
    if (json->more) {
        fputc(',', json->stream);
    }
    if (key != NULL) {
        json_quote(json->stream, key);
        fputc(':', json->stream);
    }
    json->more = 1;
}

void daxpin_json_open(daxpin_json_t *json, const char *key, char bracket)
{
    json_begin(json, key);
    fputc(bracket, json->stream);
    json->more = 0;
}

void daxpin_json_close(daxpin_json_t *json, char bracket)
{
    fputc(bracket, json->stream);
    json->more = 1;
}

void daxpin_json_string(daxpin_json_t *json, const char *key,
                        const char *value)
{
    json_begin(json, key);
    if (value != NULL) {
        json_quote(json->stream, value);
    } else {
        fputs("null", json->stream);
    }
}

void daxpin_json_number(daxpin_json_t *json, const char *key, long long value)
{
    json_begin(json, key);
    fprintf(json->stream, "%lld", value);
}

void daxpin_json_unsigned(daxpin_json_t *json, const char *key,
                          unsigned long long value)
{
    json_begin(json, key);
    fprintf(json->stream, "%llu", value);
}

void daxpin_json_count(daxpin_json_t *json, const char *key, long long value)
{
    if (value < 0) {
        daxpin_json_string(json, key, NULL);
    } else {
        daxpin_json_number(json, key, value);
    }
}

void daxpin_json_bool(daxpin_json_t *json, const char *key, int value)
{
    json_begin(json, key);
    fputs(value ? "true" : "false", json->stream);
}

/* Return whether a terminal shows the character at p, which has this length. Some
 * take U+0080 to U+009F for commands. */
static int text_shows(const unsigned char *p, size_t length)
{
    return (length > 0) && (*p >= 0x20) && (*p != 0x7f) && (*p != '\\') &&
           ((p[0] != 0xc2) || (p[1] >= 0xa0));
}

void daxpin_text_put(FILE *stream, const char *text)
{
    const unsigned char *p = (const unsigned char*)text;
    size_t length;

    while (*p != '\0') {
        length = json_character(p);
        if (text_shows(p, length)) {
            fwrite(p, 1, length, stream);
            p += length;
        } else {
            fprintf(stream, "\\%03o", *p++);
        }
    }
}
