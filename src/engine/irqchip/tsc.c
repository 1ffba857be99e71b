/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * tsc.c - finds the TSC's frequency.
 *
 * The kernel knows it exactly and shows it, as a multiplier from ticks to nanoseconds, in the page
 * of any perf event that has a user-space clock. Where perf is not allowed, the counter is compared
 * with CLOCK_MONOTONIC_RAW for ten milliseconds.
 */
#include "engine/irqchip/tsc.h"

#include <linux/perf_event.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static uint32_t khz;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static uint32_t from_perf(void)
{
    struct perf_event_attr attr = { .type = PERF_TYPE_SOFTWARE,
                                    .size = sizeof(attr),
                                    .config = PERF_COUNT_SW_DUMMY,
                                    .exclude_kernel = 1,
                                    .exclude_hv = 1 };
    int fd = (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
    const struct perf_event_mmap_page *page;
    uint32_t ret = 0;

    if (fd < 0) {
        return 0;
    }
    page = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    (void)close(fd);
    if (page == MAP_FAILED) {
        return 0;
    }
    if (page->cap_user_time != 0 && page->time_mult != 0) {
        /* ns = ticks * mult >> shift */
        ret = (uint32_t)((1000000ull << page->time_shift) / page->time_mult);
    }
    (void)munmap((void *)(uintptr_t)page, 4096);
    return ret;
}

static uint64_t raw_nsec(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC_RAW, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void measure(void)
{
    uint64_t t0;
    uint64_t c0;
    uint64_t t1;

    khz = from_perf();
    if (khz != 0) {
        return;
    }
    t0 = raw_nsec();
    c0 = tsc_read();
    do {
        t1 = raw_nsec();
    } while (t1 - t0 < 10000000);
    khz = (uint32_t)((tsc_read() - c0) * 1000000u / (t1 - t0));
}

uint32_t tsc_khz(void)
{
    (void)pthread_once(&once, measure);
    return khz;
}
