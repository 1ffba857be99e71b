/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * block.h - block nodes: images, the files they lie in, and asynchronous requests on them.
 *
 * A node is one driver with its children: raw over file, qcow2 over file with a backing node.
 * Requests go in at any node:
 *
 *   - a driver that knows where a range lies without blocking says so (map), down to a node with a
 *     descriptor; such requests go straight from the loop to io_uring;
 *   - everything else, and everything where there is no io_uring, is the driver's blocking code
 *     (preadv, pwritev, ...) on the context's worker threads.
 *
 * Threads: nodes are opened, closed and asked for on the loop's thread; requests are submitted
 * there, and complete there, never inside block_submit(). The blocking calls of a driver run on
 * worker threads, several at a time unless the driver locks.
 */
#pragma once

#include "base/err.h"
#include "base/list.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

struct keyval;
struct loop;

struct block_ctx;
struct block_node;

enum block_op { BLOCK_READ, BLOCK_WRITE, BLOCK_WRITE_ZEROES, BLOCK_DISCARD, BLOCK_FLUSH };

enum {
    BLOCK_REQ_FUA = 1 << 0,       /* on stable storage before it completes */
    BLOCK_REQ_MAY_UNMAP = 1 << 1, /* WRITE_ZEROES may free the space */

    BLOCK_MAX_CHILDREN = 8,
    BLOCK_MAX_IOV = 1024,
};

/* The longest of one request; also what a driver needs to prepare for. */
#define BLOCK_MAX_BYTES (1ull << 31)

/* Owned by the caller and untouched by it until done is called. */
struct block_req {
    struct block_node *node;
    enum block_op op;
    unsigned flags;
    uint64_t off; /* bytes; reads and writes keep to the node's alignment when it asks for one */
    uint64_t len; /* of READ and WRITE: the size of iov */
    const struct iovec *iov;
    unsigned n_iov;
    /* On the loop's thread. result: 0 or a negative errno; never a short transfer. */
    void (*done)(struct block_req *req, int result);

    /* The core's. */
    struct list link;
    int result;
    int fd;
    uint64_t fd_off;
    uint64_t progress;
    struct iovec *rest; /* owned: iov less progress, after a short transfer */
};

/* Where a range of a node lies: in a child, or behind a descriptor. */
struct block_map {
    struct block_node *child; /* NULL: in fd */
    int fd;
    uint64_t off;
};

struct block_driver {
    const char *name;
    bool is_protocol; /* reaches the bytes itself; has no children */
    size_t size;      /* of the node's struct, which begins with struct block_node */
    /* Options are taken by keyval_get(); children by block_open_child(). */
    int (*open)(struct block_node *node, struct keyval *opts, struct err **err);
    void (*close)(struct block_node *node);
    /* Bytes of the image, now. Loop's thread. */
    int64_t (*length)(struct block_node *node);

    /* Loop's thread, must not block: 0 when [off, off+len) lies in one piece as *ret says, for that
     * operation (for writes: allocated, no copy needed); -EAGAIN: use the blocking calls. */
    int (*map)(struct block_node *node, enum block_op op, uint64_t off, uint64_t len,
               struct block_map *ret);

    /* Worker threads; 0 or a negative errno, whole transfers. off+len is inside the image. A NULL
     * write_zeroes is done by writing; a NULL discard does nothing. */
    int (*preadv)(struct block_node *node, const struct iovec *iov, unsigned n, uint64_t off);
    int (*pwritev)(struct block_node *node, const struct iovec *iov, unsigned n, uint64_t off);
    int (*write_zeroes)(struct block_node *node, uint64_t off, uint64_t len, unsigned flags);
    int (*discard)(struct block_node *node, uint64_t off, uint64_t len);
    int (*flush)(struct block_node *node);
    int (*truncate)(struct block_node *node, uint64_t len);
};

struct block_node {
    const struct block_driver *drv;
    struct block_ctx *ctx;
    char *name;     /* owned: node-name; NULL when generated nodes need none */
    char *filename; /* owned: for messages and queries */
    struct block_node *children[BLOCK_MAX_CHILDREN]; /* counted */
    unsigned n_children;
    unsigned refs;
    bool read_only;
    bool direct;     /* cache.direct=on */
    bool no_flush;   /* cache.no-flush=on */
    bool discard_on; /* discard=unmap */
    unsigned in_flight;
};

/* One per process or I/O thread. */
int block_ctx_new(struct loop *loop, struct block_ctx **ret, struct err **err) MUST_CHECK;
struct block_ctx *block_ctx_free(struct block_ctx *ctx);
DEFINE_CLEANUP(struct block_ctx, block_ctx_free)
/* Makes the ring and the workers now, before a sandbox forbids it. */
int block_ctx_prepare(struct block_ctx *ctx, struct err **err) MUST_CHECK;

/* opts: "driver" and the driver's, children as "file.driver" or as the name of a node in "file"
 * (found by lookup). The caller gets a reference. */
typedef struct block_node *block_lookup_fn(void *arg, const char *name);
int block_open(struct block_ctx *ctx, struct keyval *opts, block_lookup_fn *lookup, void *arg,
               struct block_node **ret, struct err **err) MUST_CHECK;
struct block_node *block_ref(struct block_node *node);
struct block_node *block_unref(struct block_node *node);
DEFINE_CLEANUP(struct block_node, block_unref)

int64_t block_length(struct block_node *node);
void block_submit(struct block_req *req);
/* Runs the loop's completions until the node (NULL: every node) has no request in flight. */
void block_drain(struct block_ctx *ctx, struct block_node *node);

/* For drivers: the child named by key, from "KEY.*" options or a node's name. */
int block_open_child(struct block_node *node, struct keyval *opts, const char *key,
                     struct block_node **ret, struct err **err) MUST_CHECK;
/* Blocking calls down the graph, on worker threads. */
int block_preadv(struct block_node *node, const struct iovec *iov, unsigned n, uint64_t off);
int block_pwritev(struct block_node *node, const struct iovec *iov, unsigned n, uint64_t off);
int block_write_zeroes(struct block_node *node, uint64_t off, uint64_t len, unsigned flags);
int block_discard(struct block_node *node, uint64_t off, uint64_t len);
int block_flush(struct block_node *node);

extern const struct block_driver *const block_drivers[]; /* registry.c; ends with NULL */
const struct block_driver *block_driver_find(const char *name);
