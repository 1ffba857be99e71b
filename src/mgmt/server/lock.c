/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mgmt/server/lock.h"

#include <time.h>

static pthread_mutex_t the_lock = PTHREAD_MUTEX_INITIALIZER;

void lock_enter(void)
{
    pthread_mutex_lock(&the_lock);
}

void lock_leave(void)
{
    pthread_mutex_unlock(&the_lock);
}

void lock_enter_arg(void *arg)
{
    (void)arg;
    lock_enter();
}

void lock_leave_arg(void *arg)
{
    (void)arg;
    lock_leave();
}

void lock_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t a;

    pthread_condattr_init(&a);
    pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &a);
    pthread_condattr_destroy(&a);
}

bool lock_wait(pthread_cond_t *cond, uint64_t at_usec)
{
    struct timespec t = { .tv_sec = (time_t)(at_usec / 1000000),
                          .tv_nsec = (long)(at_usec % 1000000) * 1000 };

    if (at_usec == UINT64_MAX) {
        pthread_cond_wait(cond, &the_lock);
        return true;
    }
    return pthread_cond_timedwait(cond, &the_lock, &t) == 0;
}
