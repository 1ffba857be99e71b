/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * img.h - what the commands of vireo-img share: a const table entry each, options, images, output.
 */
#pragma once

#include "block/core/block.h"
#include "tools/image/objects.h"

#include <getopt.h>

#define IMG_COMMON_LONGS                                                                          \
    { "help", no_argument, 0, 'h' }, { "object", required_argument, 0, OPT_OBJECT },              \
        { "image-opts", no_argument, 0, OPT_IMAGE_OPTS }, { "force-share", no_argument, 0, 'U' }, \
        { "format", required_argument, 0, 'f' },                                                  \
    {                                                                                             \
        "output", required_argument, 0, OPT_OUTPUT                                                \
    }

struct keyval;

/* Set up by main(). */
struct img {
    struct block_ctx *ctx;
    struct objects *objects;
    const char *command;
};

struct img_command {
    const char *name;
    const char *usage; /* what follows the name, as qemu-img --help shows it */
    /* argv[0] is the command's name. The exit status. */
    int (*run)(struct img *img, int argc, char **argv);
};

extern const struct img_command *const img_commands[]; /* ends with NULL */

/* Long options that several commands have; values above any character. */
enum {
    OPT_OBJECT = 256,
    OPT_IMAGE_OPTS,
    OPT_OUTPUT,
    OPT_BACKING_CHAIN,
    OPT_FORCE_SHARE = 'U',
    OPT_FIRST_OWN = 300,
};

/* "vireo-img: TEXT" on stderr; returns 1. */
int img_fail(const char *fmt, ...) PRINTF(1, 2);
/* The same with the error's text. */
int img_fail_err(struct err *err, int r);
/* "Try 'vireo-img --help'": a usage error. */
int img_usage(const char *fmt, ...) PRINTF(1, 2);
/* What getopt_long() returned and the command does not know. */
int img_bad_option(int c, char **argv);
/* --object: 0, or 1 after a message. */
int img_object(struct img *img, const char *text);
/* --output=: 0 human, 1 json, -1 after a message. */
int img_output(const char *text);

/* How an image is to be opened. */
struct img_open {
    const char *fmt;
    bool image_opts; /* the name is options, "driver=...,..." */
    bool write;
    bool no_backing;
    bool no_io;
    bool check;
    bool force_share;
    const char *cache; /* NULL: writeback */
    bool quiet;
};

/* Handles the options that most commands have (-f -U -q -T, --object, --image-opts, --output):
 * false when c is none of them; *ret is 1 after a message. */
bool img_common_option(struct img *img, int c, struct img_open *how, int *json, int *ret);

/* NULL after a message. */
struct block_node *img_open(struct img *img, const char *name, const struct img_open *how);
/* 0, or 1 after a message. */
int img_cache_check(const char *cache);
bool img_cache_writethrough(const char *cache);

/* Bytes with a suffix; 0, or 1 after a message that names what. */
int img_size(const char *what, const char *text, uint64_t *ret);

/* Progress as qemu-img -p shows it. */
void img_progress_begin(bool on);
void img_progress(double percent);
void img_progress_end(void);

/* ImageInfo and its members for people, indented. */
struct json_object;
void img_dump_info(struct json_object *info);
void img_dump_snapshots(struct json_object *snapshots);
/* JSON as qemu-img writes it. */
void img_print_json(struct json_object *o);
/* "-o help" or "?". */
bool img_is_help(const char *options);
int img_print_create_options(const char *fmt, const char *filename);
int img_print_amend_options(const char *fmt);
/* Adds "-o" text to kv; 0 or 1 after a message. */
int img_add_options(struct keyval *kv, const char *text);
