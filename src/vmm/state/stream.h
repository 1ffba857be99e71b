/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * stream.h - a machine's state as bytes: to and from a descriptor, or the machine-state area of an
 * image. A record is a name and a length before its bytes; numbers are little-endian.
 */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct block_node;

enum { STATE_BUFFER = 1 << 16, STATE_NAME_MAX = 127, STATE_RECORD_MAX = 64 << 20 };

struct state_stream {
    int fd;                  /* borrowed; -1: image */
    struct block_node *node; /* borrowed */
    uint64_t off;            /* in the image's area */
    uint64_t total;          /* bytes moved */
    int error;               /* the first, negative errno; everything after it does nothing */
    uint8_t buf[STATE_BUFFER];
    size_t pos, len;
};

void state_stream_fd(struct state_stream *s, int fd);
void state_stream_node(struct state_stream *s, struct block_node *node);

void state_put(struct state_stream *s, const void *p, size_t len);
void state_flush(struct state_stream *s);
void state_put_record(struct state_stream *s, const char *name, const void *p, size_t len);

void state_get(struct state_stream *s, void *p, size_t len);
/* The next record's name and length; its bytes follow. */
void state_get_head(struct state_stream *s, char name[STATE_NAME_MAX + 1], uint64_t *ret_len);
/* The next record, which must have that name and length. */
void state_get_record(struct state_stream *s, const char *name, void *p, size_t len);
