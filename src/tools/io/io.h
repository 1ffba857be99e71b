/* SPDX-License-Identifier: GPL-2.0-or-later */
/* io.h - vireo-io's commands, and the image that they work on. */
#pragma once

#include "block/core/block.h"

struct io {
    struct block_ctx *ctx;
    struct block_node *node; /* owned; NULL: no image is open */
    bool read_only;
    bool writethrough;
    const char *fmt;
    const char *cache;
    const char *discard;
    bool force_share;
    bool image_opts;
};

struct io_command {
    const char *name;
    const char *alias; /* or NULL */
    const char *args;
    const char *help;
    int min_args, max_args; /* -1: any */
    bool needs_image;
    /* 0; -errno when it failed, which it said; 1: leave the program. */
    int (*run)(struct io *io, int argc, char **argv);
};

extern const struct io_command io_rw_commands[];    /* end with a NULL name */
extern const struct io_command io_query_commands[];

/* Opens it with the options of io. 0, or -errno after a message. */
int io_open(struct io *io, const char *name);
/* A size; negative after a message. */
int64_t io_number(const char *text);
/* "64 KiB", "2.938 MiB": qemu-io's way to write sizes. */
const char *io_size_text(double bytes, char buf[32]);
/* "wrote 512/512 bytes at offset 0", and how fast. short_form: -C. */
void io_report(const char *verb, double secs, uint64_t off, uint64_t count, uint64_t total, bool short_form);
