/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * blkdebug.c - a filter that makes requests fail, for tests (QEMU's options where they mean the
 * same here).
 *
 *   image=                   what lies below
 *   inject-error.N.event=    read_aio, write_aio or flush_to_disk: the requests that count
 *   inject-error.N.iotype=   read, write, write-zeroes, discard, flush
 *   inject-error.N.errno=    5 (EIO) by default
 *   inject-error.N.sector=   only where this sector of 512 bytes takes part
 *   inject-error.N.once=on   the first time only
 *   inject-error.N.state=    only in that state (1 at first)
 *   set-state.N.event=, .state=, .new_state=
 *   x-fail-from=N            all requests but reads fail from the N-th on, the N-th after half of
 * it x-fail-only=N            the same of the N-th alone x-fail-errno=            28 (ENOSPC) by
 * default
 *
 * Events that QEMU's formats raise from inside (l2_update ...) are not raised here.
 */
#include "block/filter/pass.h"

#include "base/bytes.h"
#include "base/str.h"
#include "block/core/iov.h"
#include "codec/keyval.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { MAX_RULES = 64 };

enum event { EVENT_READ, EVENT_WRITE, EVENT_FLUSH, EVENT_ANY };

struct rule {
    bool sets_state;
    enum event event;
    int op; /* enum block_op; -1: any */
    int error;
    bool has_sector;
    uint64_t sector;
    bool once;
    bool spent;
    unsigned state; /* 0: any */
    unsigned new_state;
};

struct blkdebug {
    struct block_node node;
    struct rule rules[MAX_RULES];
    unsigned n_rules;
    pthread_mutex_t lock; /* what follows, and spent */
    unsigned state;
    uint64_t n_changes; /* requests but reads so far */
    uint64_t fail_from; /* 0: never */
    uint64_t fail_only;
    int fail_errno;
};

static int parse_event(const char *text, enum event *ret, struct err **err)
{
    *ret = EVENT_ANY;
    if (text == NULL || str_eq(text, "none")) {
        return 0;
    }
    if (str_eq(text, "read_aio")) {
        *ret = EVENT_READ;
    } else if (str_eq(text, "write_aio") || str_eq(text, "pwritev")) {
        *ret = EVENT_WRITE;
    } else if (str_eq(text, "flush_to_disk") || str_eq(text, "flush_to_os")) {
        *ret = EVENT_FLUSH;
    } else {
        return err_set(err, EINVAL,
                       "blkdebug: event '%s' is not raised here: use read_aio, write_aio or "
                       "flush_to_disk",
                       text);
    }
    return 0;
}

static int parse_iotype(const char *text, int *ret, struct err **err)
{
    static const char *const names[] = { "read", "write", "write-zeroes", "discard", "flush" };

    *ret = -1;
    for (int i = 0; text != NULL && i < 5; i++) {
        if (str_eq(text, names[i])) {
            *ret = i;
            return 0;
        }
    }
    return text == NULL ? 0 : err_set(err, EINVAL, "blkdebug: unknown iotype '%s'", text);
}

/* "PREFIX.N.KEY", or NULL. */
static const char *sub(struct keyval *opts, const char *prefix, unsigned i, const char *key)
{
    char name[64];

    (void)snprintf(name, sizeof(name), "%s.%u.%s", prefix, i, key);
    return keyval_get(opts, name);
}

static int number(const char *text, uint64_t dflt, uint64_t *ret, struct err **err)
{
    *ret = dflt;
    return text == NULL || str_to_u64(text, 0, ret) == 0
               ? 0
               : err_set(err, EINVAL, "blkdebug: '%s' is no number", text);
}

static int parse_rule(struct blkdebug *b, struct keyval *opts, const char *prefix, unsigned i,
                      bool sets_state, struct err **err)
{
    const char *event = sub(opts, prefix, i, "event");
    const char *sector = sub(opts, prefix, i, "sector");
    const char *once = sub(opts, prefix, i, "once");
    struct rule *rule = &b->rules[b->n_rules];
    uint64_t error = EIO;
    uint64_t state = 0;
    uint64_t new_state = 0;
    int r = parse_event(event, &rule->event, err);

    (void)sub(opts, prefix, i, "immediately");
    if (r == 0) {
        r = parse_iotype(sub(opts, prefix, i, "iotype"), &rule->op, err);
    }
    if (r == 0) {
        r = number(sub(opts, prefix, i, "errno"), EIO, &error, err);
    }
    if (r == 0) {
        r = number(sector, 0, &rule->sector, err);
    }
    if (r == 0) {
        r = number(sub(opts, prefix, i, "state"), 0, &state, err);
    }
    if (r == 0) {
        r = number(sub(opts, prefix, i, "new_state"), 0, &new_state, err);
    }
    if (r == 0 && once != NULL && str_to_bool(once, &rule->once) < 0) {
        r = err_set(err, EINVAL, "blkdebug: once takes on or off, not '%s'", once);
    }
    if (r == 0 && (error == 0 || error > 4095)) {
        r = err_set(err, EINVAL, "blkdebug: errno is 1 to 4095");
    }
    rule->sets_state = sets_state;
    rule->error = (int)error;
    rule->has_sector = sector != NULL;
    rule->state = (unsigned)state;
    rule->new_state = (unsigned)new_state;
    b->n_rules++;
    return r;
}

static int parse_rules(struct blkdebug *b, struct keyval *opts, struct err **err)
{
    static const char *const prefixes[] = { "inject-error", "set-state" };
    int r = 0;

    for (int k = 0; r == 0 && k < 2; k++) {
        for (unsigned i = 0; r == 0 && i < MAX_RULES && b->n_rules < MAX_RULES; i++) {
            if (sub(opts, prefixes[k], i, "event") != NULL ||
                sub(opts, prefixes[k], i, "iotype") != NULL) {
                r = parse_rule(b, opts, prefixes[k], i, k == 1, err);
            }
        }
    }
    return r;
}

static int blkdebug_open(struct block_node *node, struct keyval *opts, struct err **err)
{
    struct blkdebug *b = (struct blkdebug *)node;
    unsigned long long from = 0;
    unsigned long long only = 0;
    unsigned long long error = ENOSPC;
    int r = parse_rules(b, opts, err);

    (void)pthread_mutex_init(&b->lock, NULL);
    b->state = 1;
    if (r == 0) {
        r = keyval_get_u64(opts, "x-fail-from", 0, &from, err);
    }
    if (r == 0) {
        r = keyval_get_u64(opts, "x-fail-only", 0, &only, err);
    }
    if (r == 0) {
        r = keyval_get_u64(opts, "x-fail-errno", ENOSPC, &error, err);
    }
    b->fail_from = from;
    b->fail_only = only;
    b->fail_errno = (int)min_u64(error, 4095);
    return r == 0 ? pass_open(node, opts, "image", err) : r;
}

static void blkdebug_close(struct block_node *node)
{
    (void)pthread_mutex_destroy(&((struct blkdebug *)node)->lock);
}

static bool matches(const struct blkdebug *b, const struct rule *rule, enum block_op op,
                    uint64_t off, uint64_t len)
{
    enum event event = op == BLOCK_READ    ? EVENT_READ
                       : op == BLOCK_FLUSH ? EVENT_FLUSH
                                           : EVENT_WRITE;
    uint64_t at = rule->sector * BLOCK_SECTOR;

    return !rule->spent && (rule->event == EVENT_ANY || rule->event == event) &&
           (rule->op < 0 || rule->op == (int)op) && (rule->state == 0 || rule->state == b->state) &&
           (!rule->has_sector || (at + BLOCK_SECTOR > off && at < off + len));
}

/* What the request is to fail with, and whether half of it is done before. */
static int judge(struct blkdebug *b, enum block_op op, uint64_t off, uint64_t len, bool *ret_half)
{
    unsigned state;
    int r = 0;

    *ret_half = false;
    (void)pthread_mutex_lock(&b->lock);
    if (op != BLOCK_READ) {
        b->n_changes++;
        if (b->n_changes == b->fail_only || (b->fail_from != 0 && b->n_changes >= b->fail_from)) {
            *ret_half = b->n_changes == b->fail_only || b->n_changes == b->fail_from;
            r = -b->fail_errno;
        }
    }
    state = b->state;
    for (unsigned i = 0; i < b->n_rules; i++) {
        struct rule *rule = &b->rules[i];

        if (!matches(b, rule, op, off, len)) {
            continue;
        }
        if (rule->sets_state) {
            state = rule->new_state;
        } else if (r == 0) {
            r = -rule->error;
            rule->spent = rule->once;
        }
    }
    b->state = state;
    (void)pthread_mutex_unlock(&b->lock);
    return r;
}

static int blkdebug_preadv(struct block_node *node, const struct iovec *iov, unsigned n,
                           uint64_t off)
{
    bool half;
    int r = judge((struct blkdebug *)node, BLOCK_READ, off, iov_len(iov, n), &half);

    return r == 0 ? pass_preadv(node, iov, n, off) : r;
}

static int blkdebug_pwritev(struct block_node *node, const struct iovec *iov, unsigned n,
                            uint64_t off)
{
    size_t len = iov_len(iov, n);
    bool half;
    int r = judge((struct blkdebug *)node, BLOCK_WRITE, off, len, &half);

    if (r < 0 && half && len > BLOCK_SECTOR) {
        AUTO_FREE struct iovec *part = calloc(n + 1, sizeof(*part));

        if (part != NULL) {
            (void)pass_pwritev(
                node, part, iov_part(iov, n, 0, round_down_u64(len / 2, BLOCK_SECTOR), part), off);
        }
    }
    return r == 0 ? pass_pwritev(node, iov, n, off) : r;
}

static int blkdebug_write_zeroes(struct block_node *node, uint64_t off, uint64_t len,
                                 unsigned flags)
{
    bool half;
    int r = judge((struct blkdebug *)node, BLOCK_WRITE_ZEROES, off, len, &half);

    return r == 0 ? pass_write_zeroes(node, off, len, flags) : r;
}

static int blkdebug_discard(struct block_node *node, uint64_t off, uint64_t len)
{
    bool half;
    int r = judge((struct blkdebug *)node, BLOCK_DISCARD, off, len, &half);

    return r == 0 ? pass_discard(node, off, len) : r;
}

static int blkdebug_flush(struct block_node *node)
{
    bool half;
    int r = judge((struct blkdebug *)node, BLOCK_FLUSH, 0, UINT64_MAX, &half);

    return r == 0 ? pass_flush(node) : r;
}

/* A change of the length counts as a write, as it may find no space either. */
static int blkdebug_truncate(struct block_node *node, uint64_t len, enum block_prealloc prealloc,
                             struct err **err)
{
    bool half;
    int r = judge((struct blkdebug *)node, BLOCK_WRITE, len, 0, &half);

    return r == 0 ? pass_truncate(node, len, prealloc, err)
                  : err_set(err, -r, "injected: %s", strerror(-r));
}

/* "blkdebug:[CONFIG]:IMAGE"; files of rules are not read: rules are options. */
static int parse_filename(const char *filename, struct keyval *opts, struct err **err)
{
    const char *config = filename + strlen("blkdebug:");
    const char *image = strchr(config, ':');

    if (image == NULL || image != config) {
        return err_set(err, EINVAL, "'%s': write blkdebug::IMAGE, and give rules as options",
                       filename);
    }
    return keyval_add(opts, "image.filename", image + 1);
}

static const char *const schemes[] = { "blkdebug", NULL };

const struct block_driver block_blkdebug = {
    .name = "blkdebug",
    .is_filter = true,
    .size = sizeof(struct blkdebug),
    .schemes = schemes,
    .parse_filename = parse_filename,
    .open = blkdebug_open,
    .close = blkdebug_close,
    .length = pass_length,
    .preadv = blkdebug_preadv,
    .pwritev = blkdebug_pwritev,
    .write_zeroes = blkdebug_write_zeroes,
    .discard = blkdebug_discard,
    .flush = blkdebug_flush,
    .truncate = blkdebug_truncate,
    .status = pass_status,
};
