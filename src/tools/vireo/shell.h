/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * shell.h - virsh's commands: each is a row of its group's table, one file a group.
 *
 * What a command takes is one text of words:
 *      NAME!   a required value      NAME    a value that may be left out
 *      NAME#   a number              NAME*   all values that are left
 *      NAME=   a value that is only given by name
 *      --NAME  a switch
 * Values are given by --NAME VALUE, --NAME=VALUE, or by their place. An alias, "--OLD>NAME", is
 * another name.
 */
#pragma once

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <vireo/vireo.h>

struct shell {
    struct vireo_connect *conn; /* NULL: not open yet */
    char *uri;                  /* owned; NULL: the default */
    bool readonly, quiet, timing, interactive, quit;
    char escape; /* of consoles: Ctrl and this */
};

struct shell_command;

enum { ARGS_MAX = 96, VALUES_MAX = 64 };

/* A command's words, after parsing. */
struct args {
    const struct shell_command *command;
    struct shell *sh;
    struct {
        const char *name;  /* borrowed from names */
        const char *value; /* borrowed from the words; NULL: a switch */
    } given[ARGS_MAX];
    unsigned n_given;
    const char *rest[VALUES_MAX]; /* of NAME* */
    unsigned n_rest;
    char *names; /* owned: the command's words, cut */
};

struct shell_command {
    const char *name;
    const char *takes;
    int (*run)(struct shell *sh, struct args *a); /* 0, or -1 after an error was said */
    const char *summary;
    bool offline; /* needs no connection */
};

struct shell_group {
    const char *keyword, *title;
    const struct shell_command *commands; /* ends with a name of NULL */
};

extern const struct shell_group *const shell_groups[]; /* ends with NULL */
const struct shell_command *shell_find(const char *name);

/* One line, which may hold several commands: their exit status. */
int shell_line(struct shell *sh, const char *line);
/* Words that are one command (a shell has taken the quotes away). */
int shell_words(struct shell *sh, char **words, int n);
int shell_interactive(struct shell *sh);
/* Opens the connection when that has not happened. */
int shell_connect(struct shell *sh);

/* ---- for the handlers ---- */

bool arg_set(const struct args *a, const char *name);
const char *arg(const struct args *a, const char *name); /* NULL: not given */
/* 1: given, 0: not, -1 after an error was said. */
int arg_uint(const struct args *a, const char *name, unsigned *ret);
int arg_int(const struct args *a, const char *name, int *ret);
int arg_ull(const struct args *a, const char *name, unsigned long long *ret);
/* With a unit ("1G"); scale: of a bare number. */
int arg_size(const struct args *a, const char *name, unsigned long long scale,
             unsigned long long *ret);
/* Says so when two are given. */
int arg_exclusive(const struct args *a, const char *x, const char *y);
/* Needs y when x is given. */
int arg_requires(const struct args *a, const char *x, const char *y);

/* A switch's bit among a call's flags. */
struct flag {
    const char *name;
    uint32_t bit;
};
uint32_t arg_flags(const struct args *a, const struct flag *flags);
/* --config, --live, --current, checked against one another; -1 after an error. persistent: virsh's
 * older --persistent means both. */
int arg_affect(const struct args *a, uint32_t *ret);

/* Says what failed, then the library's reason; returns -1. */
int fail(const char *fmt, ...) PRINTF(1, 2);
/* Only the library's reason. */
int fail_last(void);
/* Our own error. */
int error(const char *fmt, ...) PRINTF(1, 2);
/* Output that --quiet drops. */
void extra(const struct shell *sh, const char *fmt, ...) PRINTF(2, 3);

/* A whole file, owned; NULL after an error was said. */
char *read_file(const char *path);
/* The user edits the text; *ret owned, NULL when nothing was changed. -1 after an error. */
int edit_text(const char *text, char **ret);

#define AUTO_RET __attribute__((cleanup(ret_freep)))
static inline void ret_freep(void *pp)
{
    vireo_free(*(void **)pp);
}

/* Objects by what the user says: *ret lives in *keep, which the caller frees. */
int find_domain(struct args *a, struct vireo_domain *ret, void **keep);
int find_domain_named(struct args *a, const char *name, struct vireo_domain *ret, void **keep);
int find_network(struct args *a, struct vireo_network *ret, void **keep);
int find_pool(struct args *a, const char *option, struct vireo_storage_pool *ret, void **keep);
int find_volume(struct args *a, const char *option, const char *pool_option,
                struct vireo_storage_vol *ret, void **keep);
int find_secret(struct args *a, struct vireo_secret *ret, void **keep);
int find_interface(struct args *a, struct vireo_interface *ret, void **keep);
int find_nwfilter(struct args *a, struct vireo_nwfilter *ret, void **keep);

#define DOMAIN(a, d)                     \
    AUTO_RET void *d##_keep = NULL;      \
    struct vireo_domain d;               \
    if (find_domain(a, &d, &d##_keep)) { \
        return -1;                       \
    }

void uuid_text(const uint8_t uuid[16], char text[37]);
bool uuid_read(const char *text, uint8_t ret[16]);
/* "running", "shut off" ... and why. */
const char *state_text(int state);
const char *state_reason(int state, int reason);
/* 1.000 GiB */
double pretty_size(unsigned long long v, const char **ret_unit);
/* A document, or the parts that --xpath names. */
int print_xml(struct args *a, const char *xml);

/* ---- tables ---- */

struct table;
struct table *table_new(const char *first, ...) __attribute__((sentinel));
/* Cells up to the number of columns. */
void table_row(struct table *t, const char *first, ...);
/* Prints and frees it. */
void table_print(struct table *t, const struct shell *sh, bool header);

/* ---- XML by hand ---- */

/* Escaped for an attribute or text, owned. */
char *xml_quote(const char *s);
