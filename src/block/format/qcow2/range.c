/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* range.c - which guest clusters are in use by requests under way. */
#include "block/format/qcow2/qcow2.h"

#include "base/bytes.h"

#include <stdlib.h>
#include <time.h>

/* Takes out what was released without the lock. */
static void drain_unmapped(struct qcow2 *q)
{
    struct qcow2_range *r = __atomic_exchange_n(&q->unmapped, NULL, __ATOMIC_ACQUIRE);

    while (r != NULL) {
        struct qcow2_range *next = r->next_unmapped;

        list_remove(&r->link);
        free(r);
        r = next;
    }
}

static bool conflicts(struct qcow2 *q, const struct qcow2_range *r)
{
    LIST_FOREACH (&q->ranges, it) {
        const struct qcow2_range *o = CONTAINER_OF(it, struct qcow2_range, link);

        if (o->start < r->end && r->start < o->end && (o->exclusive || r->exclusive)) {
            return true;
        }
    }
    return false;
}

static void set_range(struct qcow2 *q, struct qcow2_range *r, uint64_t off, uint64_t len,
                      bool exclusive)
{
    r->start = qcow2_start_of(q, off);
    r->end = round_up_u64(off + len, q->cluster_size);
    r->exclusive = exclusive;
}

bool qcow2_range_try(struct qcow2 *q, struct qcow2_range *r, uint64_t off, uint64_t len,
                     bool exclusive)
{
    set_range(q, r, off, len, exclusive);
    drain_unmapped(q);
    if (conflicts(q, r)) {
        return false;
    }
    list_append(&q->ranges, &r->link);
    return true;
}

/* Releases by qcow2_unmap() do not signal: they must not wait for the lock. So look again soon. */
void qcow2_range_wait(struct qcow2 *q)
{
    enum { RETRY_NSEC = 5000000 };
    struct timespec ts;

    (void)clock_gettime(CLOCK_REALTIME, &ts);
    ts.tv_nsec += RETRY_NSEC;
    if (ts.tv_nsec >= 1000000000) {
        ts.tv_nsec -= 1000000000;
        ts.tv_sec++;
    }
    (void)pthread_cond_timedwait(&q->range_cond, &q->lock, &ts);
}

void qcow2_range_hold(struct qcow2 *q, struct qcow2_range *r, uint64_t off, uint64_t len,
                      bool exclusive)
{
    while (!qcow2_range_try(q, r, off, len, exclusive)) {
        qcow2_range_wait(q);
    }
}

void qcow2_range_release(struct qcow2 *q, struct qcow2_range *r)
{
    list_remove(&r->link);
    (void)pthread_cond_broadcast(&q->range_cond);
}

void qcow2_unmap(struct block_node *node, void *held)
{
    struct qcow2 *q = qcow2_of(node);
    struct qcow2_range *r = held;

    r->next_unmapped = __atomic_load_n(&q->unmapped, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&q->unmapped, &r->next_unmapped, r, false, __ATOMIC_RELEASE,
                                        __ATOMIC_RELAXED)) {
    }
}
