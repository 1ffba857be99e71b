/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mgmt/server/worker.h"

#include "base/list.h"
#include "mgmt/server/lock.h"
#include "os/loop.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

enum { IDLE_USEC = 10000000, STACK_BYTES = 512 << 10 };

struct job {
    struct list link;
    worker_fn *fn;
    void *arg;
};

struct pool {
    struct list jobs;
    unsigned queued, n, idle, max;
    pthread_cond_t ready;
    bool ready_init;
};

/* Ordinary calls, and those that must get through when all threads of the first are taken. */
static struct pool pools[2] = {
    { .jobs = LIST_INIT(pools[0].jobs), .max = 20 },
    { .jobs = LIST_INIT(pools[1].jobs), .max = 5 },
};

static void *work(void *arg)
{
    struct pool *p = arg;

    lock_enter();
    for (;;) {
        struct job *j;

        if (list_empty(&p->jobs)) {
            bool more;

            p->idle++;
            more = lock_wait(&p->ready, loop_now_usec() + IDLE_USEC);
            p->idle--;
            if (list_empty(&p->jobs)) {
                if (more) {
                    continue;
                }
                break;
            }
        }
        j = CONTAINER_OF(p->jobs.next, struct job, link);
        list_remove(&j->link);
        p->queued--;
        j->fn(j->arg);
        free(j);
    }
    p->n--;
    lock_leave();
    return NULL;
}

static int thread_new(struct pool *p)
{
    pthread_attr_t a;
    pthread_t t;
    int r;

    pthread_attr_init(&a);
    pthread_attr_setdetachstate(&a, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&a, STACK_BYTES);
    r = pthread_create(&t, &a, work, p);
    pthread_attr_destroy(&a);
    return -r;
}

int worker_run(worker_fn *fn, void *arg, bool high)
{
    struct pool *p = &pools[0];
    struct job *j;

    if (high && p->idle <= p->queued && p->n >= p->max) {
        p = &pools[1];
    }
    if (!p->ready_init) {
        lock_cond_init(&p->ready);
        p->ready_init = true;
    }
    if (p->idle <= p->queued && p->n < p->max) {
        if (thread_new(p) == 0) {
            p->n++;
        } else if (p->n == 0) {
            return -EAGAIN;
        }
    }
    j = calloc(1, sizeof(*j));
    if (j == NULL) {
        return -ENOMEM;
    }
    j->fn = fn;
    j->arg = arg;
    list_append(&p->jobs, &j->link);
    p->queued++;
    pthread_cond_signal(&p->ready);
    return 0;
}

void worker_get(struct worker_params *ret)
{
    *ret = (struct worker_params) {
        .max = pools[0].max,
        .max_high = pools[1].max,
        .n = pools[0].n,
        .n_high = pools[1].n,
        .n_idle = pools[0].idle,
        .queued = pools[0].queued + pools[1].queued,
    };
}

void worker_set(unsigned max, unsigned max_high)
{
    pools[0].max = max;
    pools[1].max = max_high;
}
