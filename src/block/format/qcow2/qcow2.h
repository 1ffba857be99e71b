/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * qcow2.h - the inside of the qcow2 driver. The format: QEMU's docs/interop/qcow2.txt, cited as
 * (qcow2, SECTION).
 *
 * Locking. q->lock protects everything in struct qcow2 and is not held while guest data is read or
 * written. Instead each request holds its range of the guest's clusters (range.c): shared when it
 * uses a mapping as it is, exclusive when it changes one. So a cluster never moves or is freed
 * under a request that uses it.
 *
 * Order on disk, so that a crash leaves leaks at worst (tables.c):
 *   1. new refcounts reach the disk before a table that points to the clusters;
 *   2. guest data and tables that a flush promises reach the disk before that flush returns;
 *   3. a cluster that is freed keeps its refcount until the table that pointed to it is on disk
 *      without it (q->pending_free), so that it is not reused before.
 */
#pragma once

#include "block/core/bitmap.h"
#include "block/core/block.h"
#include "block/core/snapshot.h"

#include <pthread.h>

#define QCOW2_MAGIC 0x514649fbu /* "QFI\xfb" */

enum {
    QCOW2_MIN_CLUSTER_BITS = 9,
    QCOW2_MAX_CLUSTER_BITS = 21,
    QCOW2_V2_HEADER = 72,
    QCOW2_V3_HEADER = 104,

    /* 32 MiB of L1 address 2 EiB at 64 KiB clusters and 128 GiB at 512 bytes: QEMU's limits, with
     * which images are made. */
    QCOW2_MAX_L1_BYTES = 32 << 20,
    QCOW2_MAX_REFTABLE_BYTES = 8 << 20,
    QCOW2_MAX_SNAPSHOTS = 65536,
    QCOW2_MAX_SNAPSHOT_BYTES = 64 << 20,
    QCOW2_MAX_SNAPSHOT_EXTRA = 1024,
    QCOW2_MAX_BITMAPS = 65535,
    QCOW2_MAX_BITMAP_DIR = 64 << 20,
    QCOW2_SLICE_MAX = 4096, /* tables are cached in pieces: a miss costs one small read */
};

/* Incompatible, compatible and autoclear features (qcow2, Header). */
#define QCOW2_INCOMPAT_DIRTY       (1ull << 0)
#define QCOW2_INCOMPAT_CORRUPT     (1ull << 1)
#define QCOW2_INCOMPAT_DATA_FILE   (1ull << 2)
#define QCOW2_INCOMPAT_COMPRESSION (1ull << 3)
#define QCOW2_INCOMPAT_EXTL2       (1ull << 4)
#define QCOW2_INCOMPAT_KNOWN       0x1full
#define QCOW2_COMPAT_LAZY          (1ull << 0)
#define QCOW2_AUTOCLEAR_BITMAPS    (1ull << 0)
#define QCOW2_AUTOCLEAR_RAW        (1ull << 1)

/* L1 and L2 entries. */
#define QCOW2_COPIED      (1ull << 63) /* refcount is exactly 1: may be written in place */
#define QCOW2_COMPRESSED  (1ull << 62)
#define QCOW2_ZERO        1ull
#define QCOW2_OFFSET_MASK 0x00fffffffffffe00ull

/* The extended entry's bitmap: low half allocated, high half zero. */
#define QCOW2_EXTL2_SUBCLUSTERS 32

enum qcow2_type {
    QCOW2_UNALLOCATED_PLAIN, /* nothing here: the backing image's */
    QCOW2_UNALLOCATED_ALLOC, /* the cluster is allocated, this subcluster is the backing image's */
    QCOW2_ZERO_PLAIN,
    QCOW2_ZERO_ALLOC,
    QCOW2_NORMAL,
    QCOW2_TYPE_COMPRESSED,
    QCOW2_INVALID,
};

enum { QCOW2_CRYPT_NONE, QCOW2_CRYPT_AES, QCOW2_CRYPT_LUKS };
enum { QCOW2_ZLIB, QCOW2_ZSTD };

struct qcow2_snapshot {
    struct block_snapshot sn;
    uint64_t l1_offset;
    uint32_t l1_size;
    uint8_t *extra; /* owned: extra data that we do not know */
    uint32_t extra_size;
};

/* A cached piece of L2 tables or refcount blocks. */
struct qcow2_slice {
    uint64_t off; /* in the image file */
    struct qcow2_slice *hash_next;
    struct list lru;
    bool dirty;
    uint8_t data[];
};

struct qcow2_cache {
    struct qcow2_slice **hash;
    unsigned hash_size; /* power of two */
    struct list lru;    /* most recent first */
    unsigned n;
    unsigned max;
    unsigned n_dirty;
};

/* A bitmap as the directory on disk has it. */
struct qcow2_stored {
    char *name; /* owned */
    uint64_t table_offset;
    uint32_t table_size;
    uint32_t flags;
    uint8_t granularity_bits;
};

struct qcow2_range {
    struct list link;
    uint64_t start, end;
    bool exclusive;
    struct qcow2_range *next_unmapped;
};

struct qcow2 {
    struct block_node node;
    pthread_mutex_t lock;
    pthread_cond_t range_cond;
    struct list ranges;
    struct qcow2_range *unmapped; /* atomic stack: released without the lock */
    bool peek;                    /* tables that are not cached are -EAGAIN */

    unsigned version;
    unsigned cluster_bits;
    uint64_t cluster_size;
    uint64_t size;
    unsigned l2_entry_size; /* 8 or 16 */
    unsigned l2_bits;       /* entries of a table */
    unsigned subcluster_bits;
    unsigned subclusters; /* of a cluster: 1 or 32 */
    unsigned refcount_order;
    uint64_t refcount_max;
    unsigned block_bits; /* entries of a refcount block */
    uint64_t incompat, compat, autoclear;
    unsigned crypt_method;
    unsigned compression;
    uint32_t header_length;
    bool lazy;
    bool dirty_set; /* the header says that refcounts may be stale, since we opened it */
    bool corrupt_seen;
    bool closing;
    bool sparse_checked; /* sparse says whether allocated clusters may be holes of the file */
    bool sparse;

    uint64_t *l1; /* owned, host's byte order */
    uint32_t l1_size;
    uint64_t l1_offset;
    uint32_t l1_dirty_lo, l1_dirty_hi; /* entries to write; lo >= hi: none */

    uint64_t *rt; /* owned: refcount table */
    uint32_t rt_size;
    uint64_t rt_offset;
    uint32_t rt_clusters;

    unsigned slice_bytes;
    struct qcow2_cache l2_cache;
    struct qcow2_cache rb_cache;

    uint64_t free_hint;     /* no free cluster below this index */
    uint64_t byte_off;      /* where the next compressed cluster goes; 0: nowhere yet */
    uint64_t *pending_free; /* owned: (offset | 0) of clusters to free after the next flush */
    size_t n_pending;
    size_t room_pending;

    struct qcow2_snapshot *snapshots; /* owned */
    unsigned n_snapshots;
    uint64_t snapshots_offset;
    uint64_t snapshots_bytes;

    struct block_node *data_file; /* where guest data lies; node.file when inside */
    bool has_data_file;
    char *data_file_name; /* owned */
    uint32_t n_bitmaps;
    uint64_t bitmap_dir_offset, bitmap_dir_size;
    struct qcow2_stored *stored; /* owned: the bitmaps on disk */
    unsigned n_stored;
    uint64_t crypto_offset, crypto_length;
    struct block_crypto *crypto; /* owned; NULL: not encrypted, or locked */
    uint8_t *unknown_exts;       /* owned: header extensions we do not know, kept */
    size_t unknown_exts_len;
};

static inline struct qcow2 *qcow2_of(struct block_node *node)
{
    return (struct qcow2 *)node;
}

static inline uint64_t qcow2_l2_coverage(const struct qcow2 *q)
{
    return 1ull << (q->l2_bits + q->cluster_bits);
}

static inline uint64_t qcow2_start_of(const struct qcow2 *q, uint64_t off)
{
    return off & ~(q->cluster_size - 1);
}

static inline uint64_t qcow2_clusters(const struct qcow2 *q, uint64_t bytes)
{
    return (bytes >> q->cluster_bits) + ((bytes & (q->cluster_size - 1)) != 0);
}

/* header.c */
int qcow2_read_header(struct qcow2 *q, struct err **err) MUST_CHECK;
int qcow2_write_header(struct qcow2 *q) MUST_CHECK;
/* Is there a table of n entries of that size at off, within limits? */
int qcow2_check_table(struct qcow2 *q, uint64_t off, uint64_t n, unsigned entry, uint64_t max_bytes,
                      const char *name, struct err **err) MUST_CHECK;
/* Marks the image so that nobody else trusts it, and returns -EIO. */
int qcow2_corrupt(struct qcow2 *q, const char *fmt, ...) PRINTF(2, 3);

/* range.c: with the lock held; wait() gives it up meanwhile. */
void qcow2_range_hold(struct qcow2 *q, struct qcow2_range *r, uint64_t off, uint64_t len,
                      bool exclusive);
bool qcow2_range_try(struct qcow2 *q, struct qcow2_range *r, uint64_t off, uint64_t len,
                     bool exclusive);
void qcow2_range_wait(struct qcow2 *q);
void qcow2_range_release(struct qcow2 *q, struct qcow2_range *r);

/* tables.c: cached tables. All with the lock held. */
int qcow2_caches_init(struct qcow2 *q, uint64_t l2_bytes, uint64_t rb_bytes) MUST_CHECK;
void qcow2_caches_done(struct qcow2 *q);
/* The bytes at off of the file, within one slice. Valid until the next call for that cache. */
int qcow2_l2_slice(struct qcow2 *q, uint64_t off, struct qcow2_slice **ret) MUST_CHECK;
int qcow2_rb_slice(struct qcow2 *q, uint64_t off, struct qcow2_slice **ret) MUST_CHECK;
void qcow2_slice_dirty(struct qcow2_cache *cache, struct qcow2_slice *s);
/* New tables: zeroed in the cache, dirty, never read from the file. */
int qcow2_l2_fresh(struct qcow2 *q, uint64_t off) MUST_CHECK;
int qcow2_rb_fresh(struct qcow2 *q, uint64_t off) MUST_CHECK;
/* Forgets what the cache holds of the cluster. */
void qcow2_cache_drop(struct qcow2 *q, struct qcow2_cache *cache, uint64_t off);
void qcow2_cache_drop_all(struct qcow2_cache *cache);
/* Everything in order: refcounts, barrier, tables, and then what may be freed. */
int qcow2_write_tables(struct qcow2 *q) MUST_CHECK;
/* The refcounts alone, with a barrier. */
int qcow2_write_refcounts(struct qcow2 *q) MUST_CHECK;
/* A write barrier on the image file; nothing with cache.no-flush. */
int qcow2_barrier(struct qcow2 *q) MUST_CHECK;

/* refcount.c */
int qcow2_refcount_get(struct qcow2 *q, uint64_t index, uint64_t *ret) MUST_CHECK;
/* Adds delta to each cluster that [off, off+len) touches. */
int qcow2_refcount_add(struct qcow2 *q, uint64_t off, uint64_t len, int delta) MUST_CHECK;
int qcow2_refcount_set(struct qcow2 *q, uint64_t index, uint64_t value) MUST_CHECK;
/* n contiguous clusters, refcount 1. */
int64_t qcow2_alloc(struct qcow2 *q, uint64_t bytes) MUST_CHECK;
/* Up to max contiguous clusters, at least one; *ret_n how many. */
int64_t qcow2_alloc_some(struct qcow2 *q, uint64_t max_clusters, uint64_t *ret_n) MUST_CHECK;
/* Bytes for a compressed cluster, maybe in a cluster with others. */
int64_t qcow2_alloc_bytes(struct qcow2 *q, uint64_t bytes) MUST_CHECK;
/* Gives back at once: nothing on disk points there. */
void qcow2_free_now(struct qcow2 *q, uint64_t off, uint64_t bytes);
/* Gives back when the tables without it are on disk. */
int qcow2_free_later(struct qcow2 *q, uint64_t off, uint64_t bytes) MUST_CHECK;
/* What an L2 entry points to. */
int qcow2_free_entry(struct qcow2 *q, uint64_t entry) MUST_CHECK;
unsigned qcow2_block_get(const struct qcow2 *q, const uint8_t *block, uint64_t i, uint64_t *ret);
void qcow2_block_put(const struct qcow2 *q, uint8_t *block, uint64_t i, uint64_t value);
int qcow2_mark_dirty(struct qcow2 *q) MUST_CHECK;
/* The header's mark that refcounts are to be counted anew, on disk. */
int qcow2_put_dirty(struct qcow2 *q, bool dirty) MUST_CHECK;

/* cluster.c */
struct qcow2_entry {
    uint64_t entry;
    uint64_t bitmap; /* extended: as on disk; else made up from the entry */
};

struct qcow2_entry qcow2_entry_get(const struct qcow2 *q, const uint8_t *table, unsigned i);
void qcow2_entry_put(const struct qcow2 *q, uint8_t *table, unsigned i, struct qcow2_entry e);
enum qcow2_type qcow2_type_of(const struct qcow2 *q, struct qcow2_entry e, unsigned subcluster);
/* The entry of the cluster at off; all zero when there is no table. */
int qcow2_lookup(struct qcow2 *q, uint64_t off, struct qcow2_entry *ret) MUST_CHECK;
int qcow2_store(struct qcow2 *q, uint64_t off, struct qcow2_entry e) MUST_CHECK;
/* A run of like subclusters from off. */
struct qcow2_run {
    enum qcow2_type type;
    uint64_t len;
    uint64_t host;  /* of off; NORMAL, ZERO_ALLOC, UNALLOCATED_ALLOC */
    uint64_t entry; /* compressed: the descriptor */
    bool copied;
};
int qcow2_run_at(struct qcow2 *q, uint64_t off, uint64_t len, struct qcow2_run *ret) MUST_CHECK;
/* Makes room for the L1 table to have n entries. */
int qcow2_grow_l1(struct qcow2 *q, uint64_t n, bool exact) MUST_CHECK;
/* The entry is to be written, after the table that it points to. */
void qcow2_l1_dirty(struct qcow2 *q, uint32_t index);
/* off and len whole clusters but at the end of the image. */
int qcow2_zero_clusters(struct qcow2 *q, uint64_t off, uint64_t len, bool unmap) MUST_CHECK;
int qcow2_discard_clusters(struct qcow2 *q, uint64_t off, uint64_t len, bool full) MUST_CHECK;

/* io.c */
int qcow2_preadv(struct block_node *node, const struct iovec *iov, unsigned n, uint64_t off);
int qcow2_pwritev(struct block_node *node, const struct iovec *iov, unsigned n, uint64_t off);
int qcow2_write_zeroes(struct block_node *node, uint64_t off, uint64_t len, unsigned flags);
int qcow2_discard(struct block_node *node, uint64_t off, uint64_t len);
int qcow2_flush(struct block_node *node);
int qcow2_status(struct block_node *node, uint64_t off, uint64_t len, struct block_extent *ret);
int qcow2_map(struct block_node *node, enum block_op op, uint64_t off, uint64_t len,
              struct block_map *ret);
void qcow2_unmap(struct block_node *node, void *held);
/* Gives [off, off+len) clusters without writing data into them (preallocation). */
int qcow2_preallocate(struct qcow2 *q, uint64_t off, uint64_t len, enum block_prealloc mode,
                      struct err **err) MUST_CHECK;
int qcow2_truncate(struct block_node *node, uint64_t len, enum block_prealloc prealloc,
                   struct err **err);

/* compress.c */
int qcow2_pwrite_compressed(struct block_node *node, const void *buf, size_t len, uint64_t off);
int qcow2_read_compressed(struct qcow2 *q, uint64_t entry, uint8_t *cluster) MUST_CHECK;
void qcow2_compressed_range(const struct qcow2 *q, uint64_t entry, uint64_t *ret_off,
                            uint64_t *ret_len);

/* snapshot.c */
int qcow2_read_snapshots(struct qcow2 *q, struct err **err) MUST_CHECK;
void qcow2_free_snapshots(struct qcow2 *q);
int qcow2_write_snapshots(struct qcow2 *q) MUST_CHECK;
int qcow2_snapshot_list(struct block_node *node, struct block_snapshot **ret, size_t *ret_n);
int qcow2_snapshot_create(struct block_node *node, struct block_snapshot *sn, struct err **err);
int qcow2_snapshot_goto(struct block_node *node, const char *id, struct err **err);
int qcow2_snapshot_delete(struct block_node *node, const char *id, struct err **err);
int qcow2_snapshot_load(struct block_node *node, const char *id, struct err **err);
/* Reads an L1 table that is not the active one; owned by the caller. */
int qcow2_read_l1(struct qcow2 *q, uint64_t off, uint32_t n, uint64_t **ret) MUST_CHECK;

/* bitmap.c */
int qcow2_bitmaps_load(struct qcow2 *q, struct err **err) MUST_CHECK;
void qcow2_bitmaps_done(struct qcow2 *q);
int qcow2_bitmaps_store(struct block_node *node, struct err **err);
int qcow2_bitmap_can_store(struct block_node *node, const char *name, uint64_t granularity,
                           struct err **err);
struct json_object *qcow2_bitmaps_info(struct qcow2 *q);
/* Calls fn for each piece of the file that stored bitmaps take. */
int qcow2_bitmaps_walk(struct qcow2 *q, int (*fn)(void *arg, uint64_t off, uint64_t len), void *arg)
    MUST_CHECK;

/* check.c */
int qcow2_check(struct block_node *node, struct block_check *check, struct err **err);

/* create.c, amend.c */
extern const struct block_opt qcow2_create_opts[];
extern const struct block_opt qcow2_amend_opts[];
int qcow2_create(struct block_ctx *ctx, struct block_node *file, const char *filename,
                 struct keyval *opts, struct err **err);
int qcow2_measure(struct keyval *opts, struct block_node *in, struct block_measure *ret,
                  struct err **err);
int qcow2_amend(struct block_node *node, struct keyval *opts, bool force, struct err **err);
int qcow2_make_empty(struct block_node *node);
