/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * block.h - block nodes: images, the files they lie in, and requests on them.
 *
 * A node is one driver with its children: raw over file, qcow2 over file with a backing node.
 * There are two ways in, at any node:
 *
 *   - block_submit(): asynchronous, from the loop's thread. A driver that knows where a range lies
 *     without blocking says so (map), down to a node with a descriptor, and the request goes
 *     straight to io_uring. Everything else, and everything where there is no io_uring, is done by
 *     the blocking calls on the context's worker threads.
 *   - block_preadv() and its family: blocking, from any thread but the loop's of a running machine.
 *     Tools and jobs use these.
 *
 * Threads: nodes are opened, closed and asked for on the loop's thread; requests are submitted
 * there, and complete there, never inside block_submit(). The blocking calls of a driver run on
 * any thread, several at a time; a driver that has state of its own locks it.
 */
#pragma once

#include "base/err.h"
#include "base/list.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

struct block_bitmap;
struct block_check;
struct block_ctx;
struct block_measure;
struct block_node;
struct block_snapshot;
struct block_limiter;
struct json_object;
struct keyval;
struct loop;

enum block_op { BLOCK_READ, BLOCK_WRITE, BLOCK_WRITE_ZEROES, BLOCK_DISCARD, BLOCK_FLUSH };

enum {
    BLOCK_REQ_FUA = 1 << 0,         /* on stable storage before it completes */
    BLOCK_REQ_MAY_UNMAP = 1 << 1,   /* WRITE_ZEROES may free the space */
    BLOCK_REQ_NO_FALLBACK = 1 << 2, /* WRITE_ZEROES: -ENOTSUP rather than write buffers of zeroes */

    BLOCK_MAX_CHILDREN = 4096, /* a split vmdk has one for every 2 GiB */
    BLOCK_MAX_IOV = 1024,
    /* Backing chains and other graphs deeper than this are taken for loops. */
    BLOCK_MAX_DEPTH = 200,
    BLOCK_SECTOR = 512,
};

/* The longest of one request; also what a driver needs to prepare for. */
#define BLOCK_MAX_BYTES (1ull << 31)
/* Images are smaller than this, so that offsets within them never wrap. */
#define BLOCK_MAX_LENGTH (INT64_MAX - (1ll << 32))

enum { BLOCK_N_OPS = BLOCK_FLUSH + 1 };

/* What was submitted at a node and is over. */
struct block_stats {
    uint64_t ops[BLOCK_N_OPS], bytes[BLOCK_N_OPS], ns[BLOCK_N_OPS], failed[BLOCK_N_OPS];
    uint64_t highest; /* end of the last byte written */
};

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
    uint64_t begun_ns;
    int result;
    int fd;
    uint64_t fd_off;
    uint64_t progress;
    struct iovec *rest;           /* owned: iov less progress, after a short transfer */
    struct block_node *held_node; /* whose driver pinned the range */
    void *held;
};

/* Where a range of a node lies: in a child, or behind a descriptor. */
struct block_map {
    struct block_node *child; /* NULL: in fd */
    int fd;
    uint64_t off;
    void *held; /* not NULL: the driver keeps the range in its place until unmap(held) */
};

/* What a range of a node holds (block_status). */
enum {
    BLOCK_DATA = 1 << 0,      /* something is stored for it */
    BLOCK_ZERO = 1 << 1,      /* it reads as zeroes */
    BLOCK_ALLOCATED = 1 << 2, /* this node decides its content, not the backing node */
    BLOCK_OFFSET = 1 << 3,    /* it lies at host_off of host, byte for byte */
    BLOCK_COMPRESSED = 1 << 4,
    BLOCK_RECURSE = 1 << 5, /* host knows more about zeroes in it */
    BLOCK_EOF = 1 << 6,     /* it ends at the end of the image */
};

struct block_extent {
    uint64_t len;
    unsigned flags;
    uint64_t host_off;
    struct block_node *host; /* borrowed */
};

enum block_prealloc {
    BLOCK_PREALLOC_OFF,
    BLOCK_PREALLOC_METADATA,
    BLOCK_PREALLOC_FALLOC,
    BLOCK_PREALLOC_FULL
};

enum block_opt_type { BLOCK_OPT_STR, BLOCK_OPT_SIZE, BLOCK_OPT_NUM, BLOCK_OPT_BOOL };

/* An option of creation or amendment, as "-o help" shows it. */
struct block_opt {
    const char *name; /* NULL ends a table */
    enum block_opt_type type;
    const char *help;
    const char *dflt; /* shown in the "Formatting" line even when not given; or NULL */
};

/* What info says beside the generic. */
struct block_info {
    uint64_t cluster_size; /* 0: the format has none */
    bool has_dirty;        /* dirty means something */
    bool dirty;
    bool encrypted;
    uint64_t vm_state_offset; /* where machine states begin; 0: there is no room for them */
    bool needs_compressed;    /* whole images are to be written compressed */
};

struct block_driver {
    const char *name;
    bool is_protocol;   /* reaches the bytes itself; has no children */
    bool is_filter;     /* content is the child's; skipped where the user's image is meant */
    bool no_probe_read; /* protocol: content is no image (nbd to raw) */
    bool supports_backing;
    size_t size; /* of the node's struct, which begins with struct block_node */

    /* Formats: 0 to 100, how sure it is that these are the first bytes of an image of its kind. */
    int (*probe)(const uint8_t *head, size_t len, const char *filename);
    /* Protocols: the options that a file name of the form SCHEME:... stands for. */
    const char *const *schemes;
    int (*parse_filename)(const char *filename, struct keyval *opts, struct err **err);

    /* Options are taken by keyval_get(); children by block_open_child(). */
    int (*open)(struct block_node *node, struct keyval *opts, struct err **err);
    void (*close)(struct block_node *node);
    /* Between read-only and writable, with no request under way: node->read_only is still the old
     * state; children are changed before it becomes writable and after it becomes read-only. */
    int (*reopen)(struct block_node *node, bool read_only, struct err **err);
    /* Protocols with locks: whether others may write while we read. NULL: no locks. */
    int (*share_writes)(struct block_node *node, bool share, struct err **err);
    /* Bytes of the image, now. Loop's thread. */
    int64_t (*length)(struct block_node *node);

    /* Loop's thread, must not block: 0 when [off, off+len) lies in one piece as *ret says, for that
     * operation (for writes: allocated, no copy needed); -EAGAIN: use the blocking calls. */
    int (*map)(struct block_node *node, enum block_op op, uint64_t off, uint64_t len,
               struct block_map *ret);
    /* The request that map() allowed is over. Loop's thread. */
    void (*unmap)(struct block_node *node, void *held);

    /* Blocking, any thread; 0 or a negative errno, whole transfers. off+len is inside the image. A
     * NULL write_zeroes is done by writing; a NULL discard does nothing. */
    int (*preadv)(struct block_node *node, const struct iovec *iov, unsigned n, uint64_t off);
    int (*pwritev)(struct block_node *node, const struct iovec *iov, unsigned n, uint64_t off);
    int (*write_zeroes)(struct block_node *node, uint64_t off, uint64_t len, unsigned flags);
    int (*discard)(struct block_node *node, uint64_t off, uint64_t len);
    int (*flush)(struct block_node *node);
    /* len bytes at a multiple of the cluster size, compressed; len is a cluster, or reaches the
     * end. */
    int (*pwrite_compressed)(struct block_node *node, const void *buf, size_t len, uint64_t off);
    int (*truncate)(struct block_node *node, uint64_t len, enum block_prealloc prealloc,
                    struct err **err);

    /* Fills *ret for a range that begins at off and is at most len (> 0) bytes long. Without it all
     * is data. */
    int (*status)(struct block_node *node, uint64_t off, uint64_t len, struct block_extent *ret);

    /* Names and sizes. */
    const struct block_opt *create_opts;
    const struct block_opt *amend_opts;
    /* Formats: writes an empty image into file. Protocols: makes the file (file is NULL). */
    int (*create)(struct block_ctx *ctx, struct block_node *file, const char *filename,
                  struct keyval *opts, struct err **err);
    int (*amend)(struct block_node *node, struct keyval *opts, bool force, struct err **err);
    int (*measure)(struct keyval *opts, struct block_node *in, struct block_measure *ret,
                   struct err **err);
    void (*info)(struct block_node *node, struct block_info *ret);
    /* The "data" of ImageInfoSpecific, owned by the caller; NULL: none. */
    struct json_object *(*specific)(struct block_node *node);
    int64_t (*allocated)(struct block_node *node); /* bytes on the host; NULL: the file child's */
    int (*check)(struct block_node *node, struct block_check *check, struct err **err);

    int (*change_backing)(struct block_node *node, const char *file, const char *fmt,
                          struct err **err);
    int (*make_empty)(struct block_node *node);

    /* See snapshot.h. */
    int (*snapshot_list)(struct block_node *node, struct block_snapshot **ret, size_t *ret_n);
    int (*snapshot_create)(struct block_node *node, struct block_snapshot *sn, struct err **err);
    int (*snapshot_goto)(struct block_node *node, const char *id, struct err **err);
    int (*snapshot_delete)(struct block_node *node, const char *id, struct err **err);
    /* From now on reads give the snapshot's content; the node must be read-only. */
    int (*snapshot_load)(struct block_node *node, const char *id, struct err **err);
    int (*vmstate_pread)(struct block_node *node, void *buf, size_t len, uint64_t off);
    int (*vmstate_pwrite)(struct block_node *node, const void *buf, size_t len, uint64_t off);

    /* Whether a persistent bitmap of that name and granularity could be stored (bitmap.h). */
    int (*bitmap_can_store)(struct block_node *node, const char *name, uint64_t granularity,
                            struct err **err);
    /* Writes what is persistent now; otherwise close does. */
    int (*bitmap_store)(struct block_node *node, struct err **err);
};

struct block_child {
    struct block_node *node; /* counted */
    char *name;              /* owned: "file", "backing" ... */
};

struct block_node {
    const struct block_driver *drv;
    struct block_ctx *ctx;
    char *name;                   /* owned: node-name; generated names begin with '#' */
    char *filename;               /* owned: for messages and queries */
    struct block_child *children; /* owned */
    unsigned n_children;
    struct block_node *file; /* borrowed from children: where the bytes lie */
    struct block_node
        *backing;       /* borrowed from children: what is read where nothing is allocated */
    char *backing_file; /* owned: as the image names it, or NULL */
    char *backing_fmt;  /* owned */
    unsigned refs;
    bool opened; /* the driver's open() has succeeded */
    bool read_only;
    bool direct;        /* cache.direct=on */
    bool no_flush;      /* cache.no-flush=on */
    bool discard_on;    /* discard=unmap */
    bool detect_zeroes; /* detect-zeroes=on */
    bool detect_unmap;  /* detect-zeroes=unmap */
    bool force_share;   /* force-share=on */
    bool no_backing;    /* open without the backing node */
    bool no_io;         /* only metadata will be asked for */
    bool for_check;     /* opened to be checked: no repair at open, no complaint about flags */
    bool probed;        /* the format was guessed */
    bool is_backing;    /* opened as another's backing node */
    bool shares_writes; /* file: the parent does not mind other writers (raw) */
    unsigned in_flight;
    struct block_stats stats;
    struct block_limiter *limiter; /* owned; NULL: no limits */
    struct block_node *given_file; /* borrowed, during open: the child that probing opened */
    struct list hooks;             /* of struct block_hook (hook.h) */
    struct list bitmaps;           /* of struct block_bitmap */
    struct list ctx_link;
};

/* One per process or I/O thread. loop may be NULL for a program that only uses blocking calls. */
int block_ctx_new(struct loop *loop, struct block_ctx **ret, struct err **err) MUST_CHECK;
struct block_ctx *block_ctx_free(struct block_ctx *ctx);
DEFINE_CLEANUP(struct block_ctx, block_ctx_free)
/* Makes the ring and the workers now, before a sandbox forbids it. */
int block_ctx_prepare(struct block_ctx *ctx, struct err **err) MUST_CHECK;

/* Secrets that options name ("encrypt.key-secret"): bytes owned by the caller, or an error. */
typedef int block_secret_fn(void *arg, const char *id, uint8_t **ret, size_t *ret_len,
                            struct err **err);
void block_ctx_set_secrets(struct block_ctx *ctx, block_secret_fn *fn, void *arg);
int block_secret(struct block_ctx *ctx, const char *id, uint8_t **ret, size_t *ret_len,
                 struct err **err) MUST_CHECK;
/* TLS credentials that options name ("tls-creds"): the folder they lie in, borrowed, or NULL. */
typedef const char *block_tls_fn(void *arg, const char *id);
void block_ctx_set_tls(struct block_ctx *ctx, block_tls_fn *fn, void *arg);
const char *block_tls_folder(struct block_ctx *ctx, const char *id);

/* opts: "driver" and the driver's, children as "file.driver" or as the name of a node in "file"
 * (found by lookup). Without "driver" the format is found by looking at the file, and "filename"
 * may be anything that block_open_image() takes. The caller gets a reference. */
typedef struct block_node *block_lookup_fn(void *arg, const char *name);
int block_open(struct block_ctx *ctx, struct keyval *opts, block_lookup_fn *lookup, void *arg,
               struct block_node **ret, struct err **err) MUST_CHECK;
/* An image by file name: a path, "json:{...}", "nbd://...", "SCHEME:...". fmt: NULL to guess.
 * opts: more options, or NULL; errors name the file. */
int block_open_image(struct block_ctx *ctx, const char *filename, const char *fmt,
                     struct keyval *opts, struct block_node **ret, struct err **err) MUST_CHECK;
/* Puts the options that a file name stands for into opts: "driver" and more. */
int block_parse_filename(const char *filename, struct keyval *opts, struct err **err) MUST_CHECK;
/* True when the name is SCHEME:... and not a path. */
bool block_has_protocol(const char *filename);
/* name as seen from the folder of base; owned by the caller. */
char *block_path_combine(const char *base, const char *name);
struct block_node *block_ref(struct block_node *node);
struct block_node *block_unref(struct block_node *node);
DEFINE_CLEANUP(struct block_node, block_unref)

/* Image, or protocol that holds no image: never below 0 but when the node fails. */
int64_t block_length(struct block_node *node);
void block_submit(struct block_req *req);
/* Runs the loop's completions until the node (NULL: every node) has no request in flight. */
void block_drain(struct block_ctx *ctx, struct block_node *node);

/* The node without the filters above it. */
struct block_node *block_skip_filters(struct block_node *node);
/* The first backing node below that is not a filter, or NULL. */
struct block_node *block_backing(struct block_node *node);
/* Replaces the backing node (NULL: none). Takes its own reference. */
int block_set_backing(struct block_node *node, struct block_node *backing);
/* Puts to (counted by it) in place of child of parent, or of nothing. */
int block_replace_child(struct block_node *parent, struct block_node *from, struct block_node *to);
/* Makes an open image writable, or read-only again. No request may be under way. */
int block_set_read_only(struct block_node *node, bool read_only, struct err **err);
/* Rewrites what the image says of its backing file. */
int block_change_backing_file(struct block_node *node, const char *file, const char *fmt,
                              struct err **err);
/* The name of the backing file as a path that can be opened from here, owned; NULL: none. */
char *block_full_backing_name(struct block_node *node);
/* What would open the node again: a file name or "json:{...}", owned by the caller. */
char *block_reopen_name(struct block_node *node);

/* For drivers: the child named by key, from "KEY.*" options or a node's name. */
int block_open_child(struct block_node *node, struct keyval *opts, const char *key,
                     struct block_node **ret, struct err **err) MUST_CHECK;
/* The same as the node's file; sets node->file and inherits its name and read-only state. */
int block_open_file_child(struct block_node *node, struct keyval *opts, struct err **err)
    MUST_CHECK;
/* The backing node from "backing" or "backing.*" options, else from node->backing_file. */
int block_open_backing(struct block_node *node, struct keyval *opts, struct err **err) MUST_CHECK;

/* Blocking calls down the graph. A read behind the end of the node gives zeroes. */
int block_preadv(struct block_node *node, const struct iovec *iov, unsigned n, uint64_t off);
int block_pwritev(struct block_node *node, const struct iovec *iov, unsigned n, uint64_t off);
int block_pread(struct block_node *node, void *buf, size_t len, uint64_t off);
int block_pwrite(struct block_node *node, const void *buf, size_t len, uint64_t off);
int block_pwrite_sync(struct block_node *node, const void *buf, size_t len, uint64_t off);
int block_write_zeroes(struct block_node *node, uint64_t off, uint64_t len, unsigned flags);
int block_discard(struct block_node *node, uint64_t off, uint64_t len);
int block_flush(struct block_node *node);
int block_pwrite_compressed(struct block_node *node, const void *buf, size_t len, uint64_t off);
int block_truncate(struct block_node *node, uint64_t len, enum block_prealloc prealloc,
                   struct err **err);
int64_t block_allocated_size(struct block_node *node);

/* What the node itself says of a range; *ret covers 1 to len bytes from off. */
int block_status(struct block_node *node, uint64_t off, uint64_t len, struct block_extent *ret);
/* The same through the backing chain down to, not including, base (NULL: all of it). *ret_depth:
 * 0 for the node, 1 for its backing node ... */
int block_status_above(struct block_node *node, struct block_node *base, uint64_t off, uint64_t len,
                       struct block_extent *ret, unsigned *ret_depth);
/* Is the range allocated in a node above base? 1, 0, or a negative errno; *ret_len: how far. */
int block_allocated_above(struct block_node *node, struct block_node *base, bool include_base,
                          uint64_t off, uint64_t len, uint64_t *ret_len);

/* For drivers: reads what lies behind an unallocated range; zeroes where there is nothing. */
int block_read_backing(struct block_node *node, const struct iovec *iov, unsigned n, uint64_t off);

extern const struct block_driver *const block_drivers[]; /* registry.c; ends with NULL */
const struct block_driver *block_driver_find(const char *name);
const struct block_driver *block_driver_for_scheme(const char *filename);
/* The format of these first bytes; "raw" when nothing knows them. */
const struct block_driver *block_probe(const uint8_t *head, size_t len, const char *filename);
